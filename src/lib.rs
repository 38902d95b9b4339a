//! waypost: an MCP gateway.

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
