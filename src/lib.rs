//! waypost: an MCP gateway.

pub mod base;
pub mod proto;
pub mod telemetry;
