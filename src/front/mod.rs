//! Who talks to us: over HTTP, over a connection that began as HTTP, over stdio. All make the same
//! calls.

pub mod asks;
pub mod auth;
pub mod batch;
pub mod body;
pub mod conn;
pub mod guard;
mod http;
pub mod intake;
pub mod latch;
pub mod mcp;
pub mod member;
pub mod memory;
pub mod message;
pub mod negotiate;
pub mod notes;
mod opener;
pub mod outbox;
pub mod parting;
pub mod patience;
pub mod pipe;
pub mod pressure;
pub mod replay;
mod running;
pub mod session;
pub mod spec;
mod sse_legacy;
pub mod stdio;
pub mod subscribe;
mod ws;

pub use conn::{HttpFront, Operator, Rules};
