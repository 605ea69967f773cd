//! The typed client: an operation's type is its call.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::operation::{Csv, Jsonl, Meta, Method, Operation};
use crate::plain;
use crate::problem::Problem;
use crate::transport::{Request, Response, Transport};
use crate::{BASE, IDEMPOTENCY_HEADER};

const KEEP: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Calls operations over a transport.
#[derive(Debug, Clone)]
pub struct Client<T> {
    transport: T,
}

/// Why a call gave no reply.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// The server answered with a problem.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// No answer came.
    #[error("the server cannot be reached: {0}")]
    Transport(String),
    /// The answer is not what the operation promises; client and server may be of different releases.
    #[error("the server's answer to {operation} (status {status}) was not understood: {reason}")]
    Unexpected {
        /// The operation's name.
        operation: &'static str,
        /// The HTTP status.
        status: u16,
        /// What was wrong with it.
        reason: String,
    },
}

impl ClientError {
    /// Returns the problem, if the server gave one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }
}

impl<T: Transport> Client<T> {
    /// Uses a transport.
    pub const fn new(transport: T) -> Self {
        Self { transport }
    }

    /// Returns the transport.
    pub const fn transport(&self) -> &T {
        &self.transport
    }

    /// Performs an operation.
    pub async fn call<O: Operation>(
        &self,
        path: &O::Path,
        query: &O::Query,
        body: &O::Body,
    ) -> Result<O::Reply, ClientError> {
        self.send::<O>(request::<O>(path, query, body)?).await
    }

    /// Performs a `POST` that may be repeated safely: the same key gives the same answer.
    pub async fn call_once<O: Operation>(
        &self,
        idempotency_key: &str,
        path: &O::Path,
        query: &O::Query,
        body: &O::Body,
    ) -> Result<O::Reply, ClientError> {
        let mut request = request::<O>(path, query, body)?;
        request.headers.push((IDEMPOTENCY_HEADER, idempotency_key.to_owned()));
        self.send::<O>(request).await
    }

    async fn send<O: Operation>(&self, request: Request) -> Result<O::Reply, ClientError> {
        let response = self.transport.send(request).await.map_err(|error| ClientError::Transport(error.to_string()))?;
        read::<O>(&response)
    }
}

/// Writes the request of an operation. Fails only when a path parameter is missing from the path type.
pub fn request<O: Operation>(path: &O::Path, query: &O::Query, body: &O::Body) -> Result<Request, ClientError> {
    // By way of a value, as path and query: writing text from a type is code for each type, which the console would carry.
    let body = has_body(O::META.method).then(|| serde_json::to_value(body)).transpose();
    assemble(&O::META, serde_json::to_value(path), serde_json::to_value(query), body)
}

/// The part of [`request`] that is the same for every operation.
fn assemble(
    meta: &Meta,
    path: serde_json::Result<Value>,
    query: serde_json::Result<Value>,
    body: serde_json::Result<Option<Value>>,
) -> Result<Request, ClientError> {
    let unexpected = |reason: String| ClientError::Unexpected { operation: meta.name, status: 0, reason };
    let path = object(path).and_then(|path| fill(meta.path, &path)).map_err(unexpected)?;
    let query = object(query).map_err(unexpected)?;
    let path_and_query = format!("{BASE}{path}{}", query_text(query));
    let body = body.map_err(|error| unexpected(error.to_string()))?.map(|body| body.to_string());
    Ok(Request { method: meta.method, path_and_query, headers: Vec::new(), body })
}

const fn has_body(method: Method) -> bool {
    !matches!(method, Method::Get | Method::Delete)
}

/// Reads the answer of an operation.
pub fn read<O: Operation>(response: &Response) -> Result<O::Reply, ClientError> {
    let texts = [std::any::TypeId::of::<Jsonl>(), std::any::TypeId::of::<Csv>()];
    let value = value_of(&O::META, response, texts.contains(&std::any::TypeId::of::<O::Reply>()))?;
    plain::read(value).map_err(|error| unexpected(&O::META, response, &error))
}

fn unexpected(meta: &Meta, response: &Response, error: &serde_json::Error) -> ClientError {
    ClientError::Unexpected { operation: meta.name, status: response.status, reason: error.to_string() }
}

/// The JSON of a reply, or the problem that came instead; the part of [`read`] that is the same for every operation.
fn value_of(meta: &Meta, response: &Response, is_text: bool) -> Result<Value, ClientError> {
    let unexpected = |error| unexpected(meta, response, &error);
    if !(200..300).contains(&response.status) {
        let problem = serde_json::from_str(&response.body).and_then(plain::read::<Problem>).map_err(unexpected)?;
        return Err(ClientError::Problem(Box::new(problem)));
    }
    match response.body.as_str() {
        text if is_text => Ok(Value::String(text.to_owned())),
        "" => Ok(Value::Object(Map::new())),
        text => serde_json::from_str(text).map_err(unexpected),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn object(value: serde_json::Result<Value>) -> Result<Map<String, Value>, String> {
    match value {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err("parameters must be a struct".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn fill(template: &str, parameters: &Map<String, Value>) -> Result<String, String> {
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}').ok_or_else(|| format!("unclosed brace in {template}"))?;
        let value = parameters.get(name).and_then(scalar).ok_or_else(|| format!("no path parameter {name}"))?;
        out.push_str(before);
        out.extend(utf8_percent_encode(&value, KEEP));
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

fn query_text(query: Map<String, Value>) -> String {
    let mut out = String::new();
    for (name, value) in query {
        if let Some(value) = scalar(&value) {
            out.push(if out.is_empty() { '?' } else { '&' });
            out.push_str(&name);
            out.push('=');
            out.extend(utf8_percent_encode(&value, KEEP));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{usage, virtual_keys};
    use crate::{Empty, Method};

    #[test]
    fn paths_and_queries_are_written_from_types() {
        let workspace_id = domain::WorkspaceId::from_uuid(7);
        let query = usage::UsageQuery { group_by: Some("model,day".to_owned()), ..Default::default() };
        let request = request::<usage::WorkspaceUsage>(&crate::ops::WorkspacePath { workspace_id }, &query, &Empty {})
            .expect("a complete path");
        assert_eq!(request.method, Method::Get);
        assert_eq!(request.path_and_query, format!("/api/v1/workspaces/{workspace_id}/usage?group_by=model%2Cday"));
        assert_eq!(request.body, None);
    }

    #[test]
    fn problems_and_nonsense_are_told_apart() {
        let body = serde_json::to_string(&Problem::new(domain::code::ProblemCode::NotFound)).expect("serialises");
        let error = read::<virtual_keys::GetVirtualKey>(&Response { status: 404, body }).expect_err("a problem");
        assert_eq!(error.problem().map(|problem| problem.status), Some(404));
        let error = read::<virtual_keys::GetVirtualKey>(&Response { status: 502, body: "<html>".to_owned() })
            .expect_err("nonsense");
        assert!(matches!(error, ClientError::Unexpected { status: 502, .. }));
    }
}
