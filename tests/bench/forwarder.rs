//! The baseline: a reverse proxy that does nothing but forward. Kept honest (pooled connections, no copies, no delay on small
//! writes, one thread) and simple; a gateway cannot cost less than this and still be a proxy.

use std::convert::Infallible;

use anyhow::{Context as _, Result};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

type Pool = Client<HttpConnector, Incoming>;

/// Serves on a free port, which is printed, and forwards every request to `upstream` (`host:port`).
#[expect(
    clippy::disallowed_methods,
    reason = "the baseline shares nothing with the product, neither its client nor its tasks"
)]
pub(crate) async fn serve(upstream: &str) -> Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let pool: Pool = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(4_096).build(connector);
    let listener = TcpListener::bind("127.0.0.1:0").await.context("opening a port")?;
    eprintln!("listening {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (pool, upstream) = (pool.clone(), upstream.to_owned());
        tokio::spawn(async move {
            let service = service_fn(|request| forward(&pool, &upstream, request));
            // A client that goes away in the middle ends its connection; that is no news here.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn forward(
    pool: &Pool,
    upstream: &str,
    mut request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, Infallible> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Ok(uri) = format!("http://{upstream}{path}").parse::<Uri>() else { return Ok(failure()) };
    *request.uri_mut() = uri;
    request.headers_mut().remove(http::header::HOST);
    request.headers_mut().remove(http::header::CONNECTION);
    Ok(match pool.request(request).await {
        Ok(answer) => answer.map(BodyExt::boxed),
        Err(_) => failure(),
    })
}

fn failure() -> Response<BoxBody<Bytes, hyper::Error>> {
    let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}
