//! What the bytes mean: JSON-RPC envelopes, MCP methods, both eras. No I/O, no clock, no async.

pub mod answer;
pub mod envelope;
pub mod era;
pub mod error;
pub mod frame;
pub mod headers;
pub mod id;
pub mod ladder;
pub mod legacy;
pub mod members;
pub mod meta;
pub mod method;
pub mod modern;
pub mod scan;
pub mod splice;

pub use envelope::{Envelope, Shape};
pub use era::{Era, Version};
pub use method::Method;
pub use scan::Span;
