//! Who talks to us: the HTTP front and the stdio front. Both make the same calls.

pub mod asks;
pub mod auth;
pub mod batch;
pub mod body;
pub mod conn;
pub mod guard;
pub mod latch;
pub mod mcp;
pub mod member;
pub mod memory;
pub mod message;
pub mod negotiate;
pub mod notes;
pub mod parting;
pub mod patience;
pub mod pressure;
pub mod replay;
mod running;
pub mod session;
pub mod spec;
pub mod stdio;
pub mod subscribe;

pub use conn::{HttpFront, Operator, Rules};
