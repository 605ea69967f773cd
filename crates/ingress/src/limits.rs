//! Bounds on what clients may send, and on how many of them at a time.
//!
//! Not here: who keeps to them (the gateway). Invariant: whatever a request can make large has a bound here.

use serde::Deserialize;

/// Bounds on what clients may send.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest request body, compressed and decompressed.
    pub max_body_bytes: usize,
    /// Largest ratio of decompressed to compressed size, once past `COMPRESSION_ALLOWANCE` bytes.
    pub max_compression_ratio: usize,
    /// Largest request head.
    pub max_header_bytes: usize,
    /// Most header lines of one request.
    pub max_headers: usize,
    /// Most open client connections of the node.
    pub max_connections: usize,
    /// Most calls in flight on the node.
    pub max_in_flight: usize,
    /// Most calls in flight of one virtual key on the node.
    pub max_in_flight_per_key: usize,
    /// Longest time from the first byte of a request's head to its last.
    pub header_read_ms: u64,
    /// How long a connection is kept that sends no request, or takes nothing of its answer.
    pub idle_ms: u64,
    /// Longest time for a whole request body.
    pub body_read_ms: u64,
    /// Most concurrent streams of one HTTP/2 connection.
    pub max_h2_streams: u32,
    /// Largest file or batch that is sent on as it arrives; what Anthropic takes at most.
    pub max_upload_bytes: usize,
    /// Largest answer of an upstream that is read as a whole.
    pub max_answer_bytes: usize,
    /// Most pictures and documents that are fetched for one call.
    pub max_fetches: usize,
    /// Most bytes that are fetched for one call.
    pub max_fetched_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 * 1024 * 1024,
            max_compression_ratio: 100,
            max_header_bytes: 32 * 1024,
            max_headers: 100,
            max_connections: 20_000,
            max_in_flight: 10_000,
            max_in_flight_per_key: 5_000,
            header_read_ms: 15_000,
            // Longer than the 60 s after which common load balancers drop a connection, so that they are the first to.
            idle_ms: 75_000,
            body_read_ms: 60_000,
            max_h2_streams: 250,
            max_upload_bytes: 256 * 1024 * 1024,
            max_answer_bytes: 64 * 1024 * 1024,
            max_fetches: 16,
            max_fetched_bytes: 20 * 1024 * 1024,
        }
    }
}
