//! waypost: an MCP gateway.
#![doc = include_str!("ARCHITECTURE.md")]

// In the order of their floors: each imports lower ones only.

pub mod base;

pub mod proto;
pub mod telemetry;

pub mod egress;
pub mod store;

pub mod catalog;
pub mod upstream;

pub mod builtin;
pub mod fleet;

pub mod gateway;

pub mod admin;
pub mod front;

pub mod config;

pub mod app;

// What a program that embeds the gateway uses most.
pub use fleet::RetryPolicy;
pub use gateway::{CallError, Coordinator};
