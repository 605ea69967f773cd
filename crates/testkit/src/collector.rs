//! A trace collector: takes what a process exports over OTLP (gRPC) and keeps it.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tonic::transport::server::{Server, TcpIncoming};
use tonic::{Request, Response, Status};

/// A running collector; it stops with the test's runtime.
#[derive(Debug, Clone)]
pub struct Collector {
    port: u16,
    kept: Kept,
}

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts one on a free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding the collector")?;
        let port = listener.local_addr()?.port();
        let kept = Kept::default();
        let serving = Server::builder()
            .add_service(TraceServiceServer::new(kept.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        runtime::tasks::spawn("testkit.collector", serving);
        Ok(Self { port, kept })
    }

    /// Returns its address, for `--otlp-endpoint`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns all spans of a name that came so far.
    #[must_use]
    pub fn spans(&self, name: &str) -> Vec<Span> {
        let kept = self.kept.0.lock();
        let scopes = kept.iter().flat_map(|request| &request.resource_spans).flat_map(|it| &it.scope_spans);
        scopes.flat_map(|it| &it.spans).filter(|span| span.name == name).cloned().collect()
    }

    /// Returns everything that came so far as text, to look for what must not be there.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{:?}", self.kept.0.lock())
    }
}

/// Returns an attribute of a span as text; absent is empty.
#[must_use]
pub fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()).and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// Writes an id of a span as hexadecimal digits.
#[must_use]
pub fn hex(id: &[u8]) -> String {
    use std::fmt::Write as _;
    id.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}
