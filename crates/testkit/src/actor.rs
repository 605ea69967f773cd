//! Someone who talks HTTP to Headgate: an administrator with an access token, a client with a virtual key, a stranger.

use std::sync::Arc;
use std::time::Duration;

use crate::http_client::{HttpClient, Settings};
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use runtime::egress::Rules;
use serde_json::Value;

const LONGEST: Duration = Duration::from_secs(30);

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// Reads the body as JSON; what is not JSON becomes a text.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| Value::String(self.text()))
    }

    /// Reads the body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns a header as text; absent is empty.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns the stable error code in the body, whichever dialect it is in.
    #[must_use]
    pub fn code(&self) -> String {
        let body = self.json();
        let found = [&body["error"]["code"], &body["code"], &body["error"]["headgate_code"]];
        found.iter().find_map(|value| value.as_str()).unwrap_or_default().to_owned()
    }
}

/// Someone with an address and a proof of who they are.
#[derive(Debug, Clone)]
pub struct Actor {
    client: HttpClient<Full<Bytes>>,
    base: String,
    bearer: Option<String>,
}

impl Actor {
    /// Someone who shows `bearer` at `base` (`http://host:port`).
    pub fn new(base: &str, bearer: Option<&str>) -> Result<Self> {
        let client = HttpClient::new(&Settings::default(), Arc::new(Rules::new(Rules::loopback())))?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), bearer: bearer.map(str::to_owned) })
    }

    /// The same connection pool with another proof.
    #[must_use]
    pub fn with_bearer(&self, bearer: &str) -> Self {
        Self { bearer: Some(bearer.to_owned()), ..self.clone() }
    }

    /// Reads a resource, which must be there.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.ask(Method::GET, path, &[], None).await
    }

    /// Creates something, which must succeed.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.ask(Method::POST, path, &[], Some(body)).await
    }

    /// Sends a request that must succeed and reads its JSON.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value> {
        let answer = self.send(method.clone(), path, headers, body).await?;
        if !answer.status.is_success() {
            bail!("{method} {path} answered {}: {}", answer.status, answer.text());
        }
        Ok(answer.json())
    }

    /// Sends a request and reads whatever comes.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer> {
        let body = body.map(|value| Bytes::from(value.to_string())).unwrap_or_default();
        let sending = async {
            let answer = self.open(method, path, headers, body).await?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.context("reading the answer")?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(LONGEST, sending)
            .await
            .with_context(|| format!("no whole answer from {path} in {LONGEST:?}"))?
    }

    /// Sends raw bytes and gives the answer while it still arrives, for streams.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<http::Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(bearer) = &self.bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).context("building the request")?;
        self.client.send(request).await.with_context(|| format!("calling {}{path}", self.base))
    }
}
