//! What we see: metric names and handles, and the log. Handles are bound once by the part that
//! counts; nothing is looked up while a call runs.

pub mod log;
pub mod meters;
pub mod names;
pub mod spec;

pub use meters::{Meters, PoolMeters, ReplicaMeters, ToolMeters};
pub use names::Status;
