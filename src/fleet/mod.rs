//! Which replica, whether, how often: a pool is an upstream's replicas and the rules over them.

pub mod pick;
pub mod pool;
pub mod retry;
pub mod spec;

pub use pool::Pool;
