//! The integration tests: one binary, a module for each subject.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "the helpers of a test may fail as the test may"
)]

mod abandoned;
mod abilities;
mod apps;
mod asks;
mod asks_beside;
mod bad_upstreams;
mod batch;
mod bounds;
mod bridge;
mod catalog;
mod children;
mod collisions;
mod completion;
mod coordination;
mod demo_fleet;
mod door;
mod duplex;
mod failover;
mod fallback;
mod fidelity;
mod freshness;
mod gates;
mod handshakes;
mod hanging_list;
mod hidden;
mod idle;
mod inflight;
mod isolation;
mod key_verbs;
mod keys;
mod known_clients;
mod ladder;
mod large;
mod late;
mod leaks;
mod logs;
mod lost_sessions;
mod matrix;
mod memory;
mod names;
mod odd_wire;
mod pagination;
mod params;
mod parked;
mod probing;
mod reload;
mod remembered;
mod results;
mod resume;
mod resumed;
mod reuse;
mod rmcp_peers;
mod rounds;
mod sent_away;
mod sessions;
mod shares;
mod skew;
mod slow_reader;
mod smoke;
mod sse_front;
mod sse_upstream;
mod states;
mod stdio_front;
mod support;
mod tasks;
mod told;
mod unlisted;
mod verbs;
mod websocket;
