//! A trace collector: takes what a process exports over OTLP, by gRPC or by HTTP, and keeps it.

use std::convert::Infallible;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
pub use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::{Server, TcpIncoming};
use tonic::transport::{Identity, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// A running collector; it stops with the test's runtime.
#[derive(Debug, Clone)]
pub struct Collector {
    port: u16,
    scheme: &'static str,
    kept: Kept,
    asked: Asked,
}

/// Path and headers of each request that came over HTTP.
type Asked = Arc<Mutex<Vec<(String, HeaderMap)>>>;

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
        Self::serve(Server::builder(), "http").await
    }

    /// Starts one that speaks TLS, with a certificate of its own making; also returns that certificate as PEM.
    pub async fn start_tls() -> Result<(Self, String)> {
        runtime::tls::install_crypto_provider();
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).context("making a certificate")?;
        let certificate = own.cert.pem();
        let identity = Identity::from_pem(&certificate, own.signing_key.serialize_pem());
        let server = Server::builder().tls_config(ServerTlsConfig::new().identity(identity)).context("TLS")?;
        Ok((Self::serve(server, "https").await?, certificate))
    }

    /// Starts one at an address that was free before.
    pub async fn start_at(address: SocketAddr) -> Result<Self> {
        Self::serve_on(TcpListener::bind(address).await.context("binding the collector")?, Server::builder(), "http")
    }

    async fn serve(server: Server, scheme: &'static str) -> Result<Self> {
        Self::serve_on(TcpListener::bind("127.0.0.1:0").await.context("binding the collector")?, server, scheme)
    }

    fn serve_on(listener: TcpListener, mut server: Server, scheme: &'static str) -> Result<Self> {
        let port = listener.local_addr()?.port();
        let kept = Kept::default();
        let serving =
            server.add_service(TraceServiceServer::new(kept.clone())).serve_with_incoming(TcpIncoming::from(listener));
        runtime::tasks::spawn("testkit.collector", serving);
        Ok(Self { port, scheme, kept, asked: Asked::default() })
    }

    /// Starts one that speaks HTTP.
    pub async fn start_http() -> Result<Self> {
        Self::serve_http(None, "http").await
    }

    /// Starts one that speaks HTTP over TLS, with a certificate of its own making; also returns that certificate as PEM.
    pub async fn start_https() -> Result<(Self, String)> {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).context("making a certificate")?;
        let certificate = own.cert.pem();
        let slot = runtime::tls::CertificateSlot::from_pem(&certificate, &own.signing_key.serialize_pem())?;
        let tls = runtime::tls::server_config(slot, runtime::tls::ClientCertificates::None, &[b"http/1.1"])?;
        Ok((Self::serve_http(Some(TlsAcceptor::from(Arc::new(tls))), "https").await?, certificate))
    }

    async fn serve_http(tls: Option<TlsAcceptor>, scheme: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding the collector")?;
        let (kept, asked) = (Kept::default(), Asked::default());
        let started = Self { port: listener.local_addr()?.port(), scheme, kept, asked };
        let own = started.clone();
        runtime::tasks::spawn("testkit.collector", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (own, tls) = (own.clone(), tls.clone());
                runtime::tasks::spawn("testkit.collector.connection", async move {
                    match tls {
                        None => own.converse(stream).await,
                        // Who does not trust the certificate goes away.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                own.converse(stream).await;
                            }
                        }
                    }
                });
            }
        });
        Ok(started)
    }

    async fn converse(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let service = service_fn(|request: http::Request<Incoming>| async {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let status = match read_spans(&head.headers, &body) {
                Ok(spans) => {
                    self.asked.lock().push((head.uri.to_string(), head.headers));
                    self.kept.0.lock().push(spans);
                    StatusCode::OK
                }
                Err(_) => StatusCode::BAD_REQUEST,
            };
            let answer = http::Response::builder().status(status).header("content-type", "application/x-protobuf");
            Ok::<_, Infallible>(answer.body(Full::new(Bytes::new())).expect("a head of constants is valid"))
        });
        // A connection that breaks is its client's affair.
        drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
    }

    /// Returns path and headers of each request that came over HTTP.
    #[must_use]
    pub fn asked(&self) -> Vec<(String, HeaderMap)> {
        self.asked.lock().clone()
    }

    /// Returns its address, for `--otlp-endpoint`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// Returns all spans of a name that came so far.
    #[must_use]
    pub fn spans(&self, name: &str) -> Vec<Span> {
        let kept = self.kept.0.lock();
        let scopes = kept.iter().flat_map(|request| &request.resource_spans).flat_map(|it| &it.scope_spans);
        scopes.flat_map(|it| &it.spans).filter(|span| span.name == name).cloned().collect()
    }

    /// Throws away what came so far, and says how many spans that were.
    pub fn forget(&self) -> usize {
        let gone = std::mem::take(&mut *self.kept.0.lock());
        let scopes = gone.iter().flat_map(|request| &request.resource_spans).flat_map(|it| &it.scope_spans);
        scopes.map(|it| it.spans.len()).sum()
    }

    /// Returns everything that came so far as text, to look for what must not be there.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{:?}", self.kept.0.lock())
    }
}

/// Reads the body of a request over HTTP.
fn read_spans(headers: &HeaderMap, body: &[u8]) -> Result<ExportTraceServiceRequest> {
    let is = |name: header::HeaderName, value: &str| headers.get(name).is_some_and(|found| found == value);
    ensure!(is(header::CONTENT_TYPE, "application/x-protobuf"), "{headers:?}");
    let mut plain = body.to_vec();
    if is(header::CONTENT_ENCODING, "gzip") {
        plain.clear();
        flate2::read::GzDecoder::new(body).read_to_end(&mut plain)?;
    }
    Ok(ExportTraceServiceRequest::decode(plain.as_slice())?)
}

/// Returns an attribute of a span as text; absent is empty.
#[must_use]
pub fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    text_of(found.and_then(|attribute| attribute.value.as_ref()))
}

/// Writes a value as text; absent is empty.
#[must_use]
pub fn text_of(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(is)) => is.to_string(),
        Some(Value::ArrayValue(values)) => {
            let texts: Vec<String> = values.values.iter().map(|value| text_of(Some(value))).collect();
            format!("[{}]", texts.join(", "))
        }
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
