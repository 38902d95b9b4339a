//! What the bytes mean: JSON-RPC envelopes, MCP methods, both eras. No I/O, no clock, no async.

pub mod abilities;
pub mod annotate;
pub mod answer;
pub mod batch;
mod carry;
pub mod complete;
pub mod envelope;
pub mod era;
pub mod error;
pub mod extensions;
pub mod frame;
pub mod headers;
pub mod id;
pub mod ladder;
pub mod legacy;
pub mod level;
pub mod listen;
pub mod mapping;
pub mod members;
pub mod meta;
pub mod method;
pub mod modern;
pub mod offers;
pub mod passage;
pub mod scan;
pub mod splice;

pub use abilities::Abilities;
pub use envelope::{Envelope, Shape};
pub use era::{Era, Version};
pub use extensions::Extensions;
pub use level::Level;
pub use method::Method;
pub use offers::{Lists, Offers};
pub use scan::Span;
