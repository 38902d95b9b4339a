//! waypost: an MCP gateway.

pub mod base;
