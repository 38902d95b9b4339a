//! What every floor may use: facts about failures, checked names, who calls, rates, time, chance and
//! owned tasks.

pub mod bucket;
pub mod clock;
pub mod fault;
pub mod hash;
pub mod name;
pub mod principal;
pub mod rng;
pub mod seal;
pub mod secret;
pub mod task;
pub mod together;

pub use bucket::Bucket;
pub use fault::{Fault, Kind, Sent, Side};
pub use name::{PrincipalName, ReplicaName, UpstreamName};
pub use principal::Principal;
pub use seal::Sealer;
pub use secret::Secret;
pub use task::Tasks;
pub use together::together;
