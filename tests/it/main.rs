//! The integration tests: one binary, a module for each subject.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "the helpers of a test may fail as the test may"
)]

mod abilities;
mod asks;
mod bad_upstreams;
mod batch;
mod bounds;
mod bridge;
mod catalog;
mod children;
mod door;
mod failover;
mod fidelity;
mod handshakes;
mod inflight;
mod ladder;
mod late;
mod leaks;
mod logs;
mod matrix;
mod params;
mod probing;
mod results;
mod rmcp_peers;
mod sessions;
mod smoke;
mod stdio_front;
mod support;
mod verbs;
