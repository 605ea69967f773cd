//! The way of spans to a collector: OTLP over gRPC, or as protobuf in HTTP requests.
//!
//! What the environment says of any OTLP exporter (headers, compression) the exporter itself reads. HTTP is one request on a
//! connection of its own per batch: a batch goes every few seconds, and a pool would be a second one beside the upstreams'.
//! Invariant: nothing here is called by the path of a client's call; an export runs as a task and ends at its deadline.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;

use super::chain;
use crate::{tasks, tls};

/// How long a collector may take for one batch when nothing is said of it (OTLP exporter specification).
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read; a collector has next to nothing to say.
const LONGEST_ANSWER: usize = 256 << 10;

/// An OTLP collector.
#[derive(Debug, Clone)]
pub struct Collector {
    /// Where it is.
    pub endpoint: Endpoint,
    /// File of certificate authorities (PEM) that it may have besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// The protocol as asked for: `grpc`, which `None` is, too, or `http/protobuf`.
    pub protocol: Option<String>,
    /// How long a batch may take, in milliseconds as asked for; `None` is ten seconds.
    pub timeout_ms: Option<String>,
}

/// The address of a collector, `http://…` or `https://…`.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// Of all signals: over HTTP, traces go below it to `v1/traces`.
    Base(String),
    /// Of traces alone: used as it is.
    Traces(String),
}

/// Why the last batch did not get through; the exporter itself keeps only that it did not.
pub(super) type LastFailure = Arc<Mutex<Option<String>>>;

/// Makes the exporter to a collector; call inside the tokio runtime, through which it connects.
///
/// Errors: why the collector cannot be used, for a person.
pub(super) fn exporter_to(collector: &Collector) -> Result<(SpanExporter, LastFailure), String> {
    let timeout = match &collector.timeout_ms {
        None => TIMEOUT,
        Some(text) => text
            .parse()
            .map(Duration::from_millis)
            .map_err(|_| format!("its timeout is `{text}`, which is no number of milliseconds"))?,
    };
    let failure = LastFailure::default();
    let exporter = match collector.protocol.as_deref() {
        None | Some("grpc") => over_grpc(collector, timeout)?,
        Some("http/protobuf") => over_http(collector, timeout, Arc::clone(&failure))?,
        Some(other) => {
            return Err(format!(
                "its protocol is `{other}`; `grpc` (usually port 4317) and `http/protobuf` (usually port 4318) are spoken here"
            ));
        }
    };
    Ok((exporter, failure))
}

fn over_grpc(collector: &Collector, timeout: Duration) -> Result<SpanExporter, String> {
    let (Endpoint::Base(endpoint) | Endpoint::Traces(endpoint)) = &collector.endpoint;
    let mut exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(timeout);
    if endpoint.starts_with("https:") {
        let mut tls = ClientTlsConfig::new().with_webpki_roots();
        if let Some(file) = &collector.ca_file {
            let pem = std::fs::read(file).map_err(|error| format!("reading {}: {error}", file.display()))?;
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        exporter = exporter.with_tls_config(tls);
    }
    exporter.build().map_err(|error| chain(&error))
}

fn over_http(collector: &Collector, timeout: Duration, failure: LastFailure) -> Result<SpanExporter, String> {
    let endpoint = match &collector.endpoint {
        Endpoint::Base(base) => format!("{}/v1/traces", base.trim_end_matches('/')),
        Endpoint::Traces(exact) => exact.clone(),
    };
    let uri: Uri = endpoint.parse().map_err(|error| format!("its endpoint `{endpoint}` is no address: {error}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(format!("its endpoint `{endpoint}` is no address that begins with http:// or https://"));
    }
    let roots = tls::public_roots(collector.ca_file.as_deref());
    let tls = roots.and_then(|roots| tls::client_config(roots, None, &[b"http/1.1"])).map_err(|error| chain(&error))?;
    let courier = Courier { tls: Arc::new(tls), timeout, runtime: Handle::current(), failure };
    let exporter = SpanExporter::builder().with_http().with_http_client(courier).with_protocol(Protocol::HttpBinary);
    exporter.with_endpoint(endpoint).with_timeout(timeout).build().map_err(|error| chain(&error))
}

/// Takes requests to a collector.
struct Courier {
    tls: Arc<ClientConfig>,
    timeout: Duration,
    runtime: Handle,
    failure: LastFailure,
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl HttpClient for Courier {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let (tls, timeout) = (Arc::clone(&self.tls), self.timeout);
        // Batches are exported by a thread that is none of the runtime's, where sockets would have no one to wake them.
        let task = {
            let _inside = self.runtime.enter();
            tasks::spawn("telemetry.export", async move {
                let sent = tokio::time::timeout(timeout, Box::pin(send(tls, request))).await;
                sent.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}").into()))
            })
        };
        Box::pin(async move {
            let answered = match task.await {
                Ok(Some(answered)) => answered,
                Ok(None) | Err(_) => Err("the export was given up".into()),
            };
            let failed = answered.as_ref().err().map(|error| chain(error.as_ref()));
            *self.failure.lock() = failed;
            answered
        })
    }
}

/// Connects, asks and reads the whole answer.
async fn send(tls: Arc<ClientConfig>, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let uri = request.uri().clone();
    let authority: &Authority = uri.authority().ok_or("the collector's address has no host")?;
    let is_secure = uri.scheme() == Some(&Scheme::HTTPS);
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    // An origin server wants the path alone, and the host apart from it.
    let named = authority.as_str().rsplit('@').next().unwrap_or_default();
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(named)?);
    *request.uri_mut() = uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    if !is_secure {
        return ask(stream, request).await;
    }
    let name = ServerName::try_from(host)?;
    ask(TlsConnector::from(tls).connect(name, stream).await?, request).await
}

async fn ask<S>(stream: S, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender, at the end of this function or of its deadline.
    tasks::spawn("telemetry.export.connection", connection);
    let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
    let body = Limited::new(body, LONGEST_ANSWER).collect().await?.to_bytes();
    Ok(Response::from_parts(head, body))
}
