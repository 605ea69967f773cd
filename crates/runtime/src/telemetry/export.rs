//! The way of spans to a collector: OTLP over gRPC, or as protobuf in HTTP requests.
//!
//! HTTP is one request on a connection of its own per batch: a batch goes every few seconds, and a pool would be a second one beside
//! the upstreams'. gRPC keeps its connection. Invariant: nothing here is called by the path of a client's call; an export runs in the
//! outbox's task and ends at its deadline.

use std::error::Error as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use prost::Message as _;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint as Dialled};
use tonic::{Code, Status};

use super::chain;
use super::outbox::Pace;
use crate::{tasks, tls};

/// How long a collector may take for one batch when nothing is said of it (OTLP exporter specification).
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read; a collector has next to nothing to say.
const LONGEST_ANSWER: usize = 256 << 10;
/// Where the service takes spans (opentelemetry-proto, `trace_service.proto`).
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// An OTLP collector, as the operator says it; what is `None` is as the specification has it.
#[derive(Debug, Clone)]
pub struct Collector {
    /// Where it is.
    pub endpoint: Endpoint,
    /// File of certificate authorities (PEM) that it may have besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// The protocol: `grpc` or `http/protobuf`.
    pub protocol: Option<String>,
    /// How long a batch may take, in milliseconds; `None` is ten seconds.
    pub timeout_ms: Option<String>,
    /// Headers of each request: `name=value` with commas between, values percent-encoded.
    pub headers: Option<Headers>,
    /// The encoding of batches: `gzip` or `none`.
    pub compression: Option<String>,
    /// The longest that a span waits for others, in milliseconds; `None` is five seconds.
    pub every_ms: Option<String>,
    /// The most spans of a batch, and of all that wait; `None` is 2,048 and 65,536.
    pub batch: Option<String>,
    /// The most spans that wait.
    pub waiting: Option<String>,
}

/// Headers as the operator says them; they hold secrets, so that nothing shows them.
#[derive(Clone)]
pub struct Headers(String);

impl Headers {
    /// Takes the text of a variable.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    fn read(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for pair in self.0.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            // What was meant as a value may stand where a name belongs: neither is repeated.
            let wrong =
                || "its headers are no list of `name=value` with commas between, values percent-encoded".to_owned();
            let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
            let value = percent_decode_str(value.trim()).decode_utf8().map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.append(HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?, value);
        }
        Ok(headers)
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Headers(hidden)")
    }
}

/// The address of a collector, `http://…` or `https://…`.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// Of all signals: over HTTP, traces go below it to `v1/traces`.
    Base(String),
    /// Of traces alone: used as it is.
    Traces(String),
}

/// Why a batch did not get through.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The reason, for a person.
    pub(super) reason: String,
    /// Whether the collector may take the same batch later.
    pub(super) is_for_now: bool,
    /// How many of its spans were refused; `None` is all.
    pub(super) n_refused: Option<u64>,
}

impl Refusal {
    fn for_now(reason: String) -> Self {
        Self { reason, is_for_now: true, n_refused: None }
    }
}

/// The way to a collector.
pub(super) enum Way {
    Grpc { client: Grpc<Channel>, metadata: MetadataMap, timeout: Duration },
    Http(Courier),
}

/// Makes the way to a collector and reads when batches go; call inside the tokio runtime, through which it connects.
///
/// Errors: why the collector cannot be used, for a person.
pub(super) fn way_to(collector: &Collector) -> Result<(Way, Pace), String> {
    let milliseconds = |text: &Option<String>, what: &str, otherwise: Duration| match text {
        None => Ok(otherwise),
        Some(text) => (text.parse().map(Duration::from_millis))
            .map_err(|_| format!("{what} is `{text}`, which is no number of milliseconds")),
    };
    let timeout = milliseconds(&collector.timeout_ms, "its timeout", TIMEOUT)?;
    let usual = Pace::default();
    let count = |text: &Option<String>, what: &str, otherwise: usize| match text {
        None => Ok(otherwise),
        Some(text) => (text.parse().ok().filter(|n| *n > 0))
            .ok_or_else(|| format!("{what} is `{text}`, which is no number of spans above zero")),
    };
    let every = milliseconds(&collector.every_ms, "the delay of its batches", usual.every)?;
    let pace = Pace {
        batch: count(&collector.batch, "the size of its batches", usual.batch)?,
        waiting: count(&collector.waiting, "the size of its queue", usual.waiting)?,
        // A span that is to wait for none still leaves in turns: a timer needs a time.
        every: every.max(Duration::from_millis(1)),
    };
    let headers = collector.headers.as_ref().map(Headers::read).transpose()?.unwrap_or_default();
    let is_gzip = match collector.compression.as_deref() {
        None | Some("none" | "") => false,
        Some("gzip") => true,
        Some(other) => return Err(format!("its compression is `{other}`; `gzip` and `none` are spoken here")),
    };
    let way = match collector.protocol.as_deref() {
        None | Some("grpc") => over_grpc(collector, timeout, headers, is_gzip)?,
        Some("http/protobuf") => over_http(collector, timeout, headers, is_gzip)?,
        Some(other) => {
            return Err(format!(
                "its protocol is `{other}`; `grpc` (usually port 4317) and `http/protobuf` (usually port 4318) are spoken here"
            ));
        }
    };
    Ok((way, pace))
}

fn over_grpc(collector: &Collector, timeout: Duration, headers: HeaderMap, is_gzip: bool) -> Result<Way, String> {
    let (Endpoint::Base(endpoint) | Endpoint::Traces(endpoint)) = &collector.endpoint;
    let uri = address(endpoint)?;
    let tls = tls_to(collector, b"h2")?;
    // TLS is the connector's affair; of the address, requests show what the operator wrote.
    let dialled = Dialled::from_static("http://collector").origin(uri.clone()).connect_timeout(timeout);
    let channel = dialled.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let (tls, uri) = (Arc::clone(&tls), uri.clone());
        async move { connect(&tls, &uri).await.map(TokioIo::new).map_err(std::io::Error::other) }
    }));
    let mut client = Grpc::new(channel);
    if is_gzip {
        client = client.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip);
    }
    Ok(Way::Grpc { client, metadata: MetadataMap::from_headers(headers), timeout })
}

fn over_http(collector: &Collector, timeout: Duration, headers: HeaderMap, is_gzip: bool) -> Result<Way, String> {
    let endpoint = match &collector.endpoint {
        Endpoint::Base(base) => format!("{}/v1/traces", base.trim_end_matches('/')),
        Endpoint::Traces(exact) => exact.clone(),
    };
    Ok(Way::Http(Courier { uri: address(&endpoint)?, tls: tls_to(collector, b"http/1.1")?, timeout, headers, is_gzip }))
}

fn address(endpoint: &str) -> Result<Uri, String> {
    let uri: Uri = endpoint.parse().map_err(|error| format!("its endpoint `{endpoint}` is no address: {error}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
        return Err(format!("its endpoint `{endpoint}` is no address that begins with http:// or https://"));
    }
    Ok(uri)
}

fn tls_to(collector: &Collector, protocol: &'static [u8]) -> Result<Arc<ClientConfig>, String> {
    let roots = tls::public_roots(collector.ca_file.as_deref());
    let tls = roots.and_then(|roots| tls::client_config(roots, None, &[protocol])).map_err(|error| chain(&error))?;
    Ok(Arc::new(tls))
}

impl Way {
    /// Sends an `ExportTraceServiceRequest` and reads what becomes of it.
    pub(super) async fn send(&self, request: Bytes) -> Result<(), Refusal> {
        let answer = match self {
            Self::Grpc { client, metadata, timeout } => {
                call(client.clone(), metadata.clone(), *timeout, request).await?
            }
            Self::Http(courier) => courier.send(request).await?,
        };
        let partial = Answer::decode(answer).unwrap_or_default().partial.unwrap_or_default();
        match u64::try_from(partial.n_refused) {
            Ok(n) if n > 0 => Err(Refusal {
                reason: format!("it refused {n} of them: {}", partial.reason),
                is_for_now: false,
                n_refused: Some(n),
            }),
            _ => Ok(()),
        }
    }
}

/// `ExportTraceServiceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    partial: Option<Partial>,
}

/// `ExportTracePartialSuccess`.
#[derive(Clone, PartialEq, prost::Message)]
struct Partial {
    #[prost(int64, tag = "1")]
    n_refused: i64,
    #[prost(string, tag = "2")]
    reason: String,
}

async fn call(
    mut client: Grpc<Channel>,
    metadata: MetadataMap,
    timeout: Duration,
    request: Bytes,
) -> Result<Bytes, Refusal> {
    let asking = async {
        // A channel wants to be asked whether it is ready before each call.
        client.ready().await.map_err(|error| Refusal::for_now(chain(&error)))?;
        let request = tonic::Request::from_parts(metadata, http::Extensions::new(), request);
        client.unary(request, PathAndQuery::from_static(EXPORT), Raw).await.map_err(|status| refused(&status))
    };
    match tokio::time::timeout(timeout, asking).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Refusal::for_now(format!("no answer within {timeout:?}"))),
    }
}

/// What a status says of the batch (OTLP specification, "Failures").
fn refused(status: &Status) -> Refusal {
    let is_for_now = matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
            // What lies below HTTP/2 has no status of its own.
            | Code::Unknown
    );
    Refusal { reason: said(status), is_for_now, n_refused: None }
}

/// Says a status in a sentence; its own text is that of its fields, for debugging.
fn said(status: &Status) -> String {
    let mut text = status.code().to_string();
    let causes = status.source().map(chain);
    for more in [status.message().to_owned()].into_iter().chain(causes) {
        if !more.is_empty() && !text.contains(&more) {
            text = format!("{text}: {more}");
        }
    }
    text
}

/// Messages as the bytes they are.
#[derive(Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Takes requests to a collector over HTTP.
pub(super) struct Courier {
    uri: Uri,
    tls: Arc<ClientConfig>,
    timeout: Duration,
    headers: HeaderMap,
    is_gzip: bool,
}

impl Courier {
    async fn send(&self, request: Bytes) -> Result<Bytes, Refusal> {
        let body = if self.is_gzip { compress(request).await.map_err(Refusal::for_now)? } else { request };
        let sent = tokio::time::timeout(self.timeout, Box::pin(self.ask(body))).await;
        let answer = match sent {
            Ok(answer) => answer.map_err(|error| Refusal::for_now(chain(error.as_ref())))?,
            Err(_) => return Err(Refusal::for_now(format!("no answer within {:?}", self.timeout))),
        };
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        // OTLP specification, "Retryable response codes".
        let is_for_now = matches!(
            answer.status(),
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        Err(Refusal { reason: format!("it answered {}", answer.status()), is_for_now, n_refused: None })
    }

    /// Connects, asks and reads the whole answer.
    async fn ask(&self, body: Bytes) -> Result<Response<Bytes>, Failure> {
        let authority = self.uri.authority().ok_or("the collector's address has no host")?;
        // An origin server wants the path alone, and the host apart from it.
        let named = authority.as_str().rsplit('@').next().unwrap_or_default();
        let mut request =
            Request::post(self.uri.path_and_query().map_or("/", PathAndQuery::as_str)).body(Full::new(body))?;
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        headers.insert(header::HOST, HeaderValue::from_str(named)?);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if self.is_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let stream = connect(&self.tls, &self.uri).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the sender, at the end of this function or of its deadline.
        tasks::spawn("telemetry.export.connection", connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

async fn compress(body: Bytes) -> Result<Bytes, String> {
    let compressed = tasks::blocking("telemetry.compress", move || {
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
        encoder.write_all(&body).and_then(|()| encoder.finish())
    });
    match compressed.await {
        Some(Ok(bytes)) => Ok(bytes.into()),
        Some(Err(error)) => Err(format!("compressing: {error}")),
        None => Err("compressing was given up".to_owned()),
    }
}

/// Why a request got no answer.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One connection, with or without TLS.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

async fn connect(tls: &Arc<ClientConfig>, uri: &Uri) -> Result<Box<dyn Io>, Failure> {
    let authority: &Authority = uri.authority().ok_or("the collector's address has no host")?;
    let is_secure = uri.scheme() == Some(&Scheme::HTTPS);
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    if !is_secure {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(host)?;
    Ok(Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_said_in_a_sentence_and_its_cause_once() {
        let plain = Status::unavailable("the collector restarts");
        assert_eq!(said(&plain), "The service is currently unavailable: the collector restarts");
        let away = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "nobody listens there");
        let text = said(&Status::from_error(Box::new(away)));
        assert_eq!(text.matches("nobody listens there").count(), 1, "{text}");
        assert!(!text.contains("source") && !text.contains('{') && !text.contains("Custom"), "{text}");
    }
}
