//! What every floor may use: facts about failures, checked names, rates, time, chance
//! and owned tasks.

pub mod bucket;
pub mod clock;
pub mod fault;
pub mod name;
pub mod rng;
pub mod secret;
pub mod task;

pub use bucket::Bucket;
pub use fault::{Fault, Kind, Sent, Side};
pub use name::{ReplicaName, UpstreamName};
pub use secret::Secret;
pub use task::Tasks;
