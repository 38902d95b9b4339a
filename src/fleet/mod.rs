//! Which replica, whether, how often: a pool is an upstream's replicas and the rules over them.

mod admit;
mod attempt;
pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod checks;
pub mod effect;
mod hedge;
pub mod load;
pub mod member;
pub mod outcome;
pub mod pace;
pub mod pick;
pub mod pool;
pub mod private;
pub mod queue;
pub mod retry;
mod seats;
pub mod spec;
pub mod throttle;
mod tries;
pub mod vital;
pub mod window;

pub use effect::Effect;
pub use member::Member;
pub use pace::Pace;
pub use pool::Pool;
pub use tries::Terms;
