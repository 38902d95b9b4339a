//! How bytes reach a server: one task per replica keeps it up, and every request is an exchange.

pub mod ask;
pub mod backoff;
pub mod changes;
pub mod connect;
pub mod events;
pub mod exchange;
pub mod ghosts;
pub mod greet;
pub mod http;
pub mod idle;
pub mod keeper;
pub mod large;
pub mod launch;
pub mod listing;
pub mod lobby;
mod look;
pub mod messages;
pub mod mux;
pub mod nap;
pub mod place;
pub mod pulse;
pub mod replica;
pub mod report;
pub mod sort;
pub mod spec;
pub mod stderr;
pub mod stdio;
pub mod supervisor;
pub mod tree;
pub mod watch;

pub use ask::{Answerer, Ask};
pub use exchange::{Caller, Done, Exchange, Frame, Mirrored, Request, Subject, Told};
pub use place::{Place, ReplicaId, UpstreamId};
pub use replica::{Live, Replica};
