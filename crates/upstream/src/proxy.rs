//! A forward proxy between the node and its upstreams: one `CONNECT` for each connection (RFC 9110, section 9.3.6).
//!
//! The proxy sees names and ports, never what is said: TLS begins behind it, end to end. It also resolves the names, so which
//! addresses they may have is the proxy's rule; address literals are still checked here. Invariant: nothing of the upstream's
//! bytes is taken for the proxy's answer.

use std::fmt;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Secret;
use http::Uri;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::SendError;
use crate::dial::Origin;

/// Longest head of a proxy's answer.
const MAX_HEAD: usize = 8 * 1024;

/// A forward proxy.
#[derive(Clone)]
pub struct Proxy {
    host: Box<str>,
    port: u16,
    /// `Basic …`, when the address has a user.
    authorization: Option<Secret<String>>,
}

/// The text is not `http://[user:password@]host:port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a proxy is written http://[user:password@]host:port")]
pub struct ProxyAddressError;

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, ProxyAddressError> {
        let uri: Uri = text.parse().map_err(|_| ProxyAddressError)?;
        let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(ProxyAddressError);
        };
        let (Some(host), Some(port)) = (uri.host().filter(|host| !host.is_empty()), uri.port_u16()) else {
            return Err(ProxyAddressError);
        };
        if uri.path() != "/" || uri.query().is_some() {
            return Err(ProxyAddressError);
        }
        let authorization = authority.as_str().rsplit_once('@').map(|(user, _)| {
            let user: Vec<u8> = percent_encoding::percent_decode_str(user).collect();
            Secret::new(format!("Basic {}", STANDARD.encode(user)))
        });
        Ok(Self { host: host.into(), port, authorization })
    }

    /// Opens a connection to an origin through the proxy.
    pub(crate) async fn connect(&self, origin: &Origin) -> Result<TcpStream, SendError> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut stream = TcpStream::connect((host, self.port)).await.map_err(|error| SendError::Connect {
            reason: format!("the proxy {}:{}: {error}", self.host, self.port),
        })?;
        stream.set_nodelay(true)?;
        stream.write_all(self.ask(origin).expose().as_bytes()).await?;
        let status = read_status(&mut stream).await?;
        if (200..300).contains(&status) {
            return Ok(stream);
        }
        Err(SendError::Connect { reason: format!("the proxy {}:{} answered {status}", self.host, self.port) })
    }

    fn ask(&self, origin: &Origin) -> Secret<String> {
        let Origin { host, port, .. } = origin;
        // An IPv6 literal stands in brackets.
        let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut text = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n");
        if let Some(authorization) = &self.authorization {
            text.push_str("proxy-authorization: ");
            text.push_str(authorization.expose());
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        Secret::new(text)
    }
}

/// Reads the answer's head byte by byte, so that none of what follows is taken. It is a hundred bytes, once a connection.
async fn read_status(stream: &mut TcpStream) -> Result<u16, SendError> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the proxy's answer has no end").into());
        }
        head.push(stream.read_u8().await?);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status = line.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    let status = status.and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the proxy does not speak HTTP/1").into())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn origin() -> Origin {
        Origin { host: "upstream.test".into(), port: 443, is_tls: true }
    }

    /// Answers one `CONNECT`, then says hello as the upstream; returns its port and what it was asked.
    async fn proxy(answer: &'static str) -> (u16, tokio::sync::oneshot::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("an address").port();
        let (tell, told) = tokio::sync::oneshot::channel();
        runtime::tasks::spawn("test.proxy", async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut asked = vec![0; 1_024];
            let n = stream.read(&mut asked).await.expect("reads");
            tell.send(String::from_utf8_lossy(&asked[..n]).into_owned()).expect("somebody asks");
            stream.write_all(answer.as_bytes()).await.expect("writes");
        });
        (port, told)
    }

    #[tokio::test]
    async fn a_connection_goes_through_the_proxy_and_begins_behind_its_answer() {
        let (port, told) = proxy("HTTP/1.1 200 Connection established\r\nx: y\r\n\r\nhello").await;
        let proxy = Proxy::parse(&format!("http://ann:p%40ss@127.0.0.1:{port}")).expect("an address");
        let mut stream = proxy.connect(&origin()).await.expect("connects");
        let mut hello = String::new();
        stream.read_to_string(&mut hello).await.expect("reads");
        assert_eq!(hello, "hello");
        let asked = told.await.expect("was asked");
        assert!(asked.starts_with("CONNECT upstream.test:443 HTTP/1.1\r\nhost: upstream.test:443\r\n"), "{asked}");
        assert!(asked.contains(&format!("proxy-authorization: Basic {}\r\n", STANDARD.encode("ann:p@ss"))), "{asked}");
        assert!(!format!("{proxy:?}").contains("p@ss") && !format!("{proxy:?}").contains("Basic"));
    }

    #[tokio::test]
    async fn a_refusal_of_the_proxy_is_a_failed_connection() {
        for (answer, said) in [
            ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered 407"),
            ("SSH-2.0-x\r\n\r\n", "does not speak"),
            ("HTTP/1.1 200", ""),
        ] {
            let (port, _told) = proxy(answer).await;
            let proxy = Proxy::parse(&format!("http://127.0.0.1:{port}")).expect("an address");
            let refused = proxy.connect(&origin()).await.expect_err("no connection");
            assert!(matches!(&refused, SendError::Connect { reason } if reason.contains(said)), "{refused:?}");
        }
    }

    #[test]
    fn addresses_are_checked() {
        for good in ["http://proxy:3128", "http://proxy:3128/", "http://u:p@10.0.0.1:8080", "http://[::1]:3128"] {
            assert!(Proxy::parse(good).is_ok(), "{good}");
        }
        for bad in ["proxy:3128", "http://proxy", "https://proxy:3128", "http://proxy:3128/x", "socks5://p:1", ""] {
            assert!(Proxy::parse(bad).is_err(), "{bad}");
        }
    }
}
