//! The port through which the client reaches a server: `fetch` in the console, HTTP in tests and tools, the router in process.

use std::future::Future;

use crate::operation::Method;

/// A request, complete but for the address and the proof of who asks (cookie or bearer token), which the transport adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Path and query, beginning with [`crate::BASE`].
    pub path_and_query: String,
    /// Headers beyond content type.
    pub headers: Vec<(&'static str, String)>,
    /// JSON text.
    pub body: Option<String>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The body as text; empty for 204.
    pub body: String,
}

/// Carries requests. Not `Send`-bound, because a browser's futures are not.
pub trait Transport {
    /// Why no answer came.
    type Error: std::fmt::Display;

    /// Sends one request and reads the whole answer.
    fn send(&self, request: Request) -> impl Future<Output = Result<Response, Self::Error>>;
}
