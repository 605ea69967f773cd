//! Asks a Redis server whether it is there and runs scripts: one connection, `AUTH` if the address has a password, `PING`, `EVAL`.
//!
//! For `headgate doctor` alone; nothing is stored and nothing read. Over TLS (`rediss://`) only the connection is tried.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const WITHIN: Duration = Duration::from_secs(3);
const PORT: u16 = 6379;

/// What an address says.
#[derive(Debug, PartialEq, Eq)]
struct Address<'a> {
    is_tls: bool,
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: &'a str,
    port: u16,
}

/// Says how the server answers; an error says why it does not.
pub(super) async fn ping(url: &str) -> Result<String> {
    let address = parse(url)?;
    match tokio::time::timeout(WITHIN, exchange(&address)).await {
        Ok(answered) => answered,
        Err(_) => bail!("{}:{} does not answer within {} s", address.host, address.port, WITHIN.as_secs()),
    }
}

fn parse(url: &str) -> Result<Address<'_>> {
    let (scheme, rest) = url.split_once("://").context("write redis://host:port")?;
    let is_tls = match scheme {
        "redis" => false,
        "rediss" => true,
        other => bail!("{other}:// is not known; write redis:// or rediss://"),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or("");
    let (proof, place) = authority.rsplit_once('@').map_or((None, authority), |(proof, place)| (Some(proof), place));
    let (user, password) = match proof.map(|proof| proof.split_once(':').unwrap_or(("", proof))) {
        Some((user, password)) => (Some(user).filter(|user| !user.is_empty()), Some(password)),
        None => (None, None),
    };
    let (host, port) = match place.rsplit_once(':').filter(|(host, _)| !host.ends_with(':') && !place.ends_with(']')) {
        Some((host, port)) => (host, port.parse().context("the port is not a number")?),
        None => (place, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        bail!("the address has no host");
    }
    Ok(Address { is_tls, user, password, host, port })
}

async fn exchange(address: &Address<'_>) -> Result<String> {
    let place = format!("{}:{}", address.host, address.port);
    let mut stream =
        TcpStream::connect((address.host, address.port)).await.with_context(|| format!("connecting to {place}"))?;
    if address.is_tls {
        return Ok(format!("{place} accepts connections; TLS was not tried"));
    }
    if let Some(password) = address.password {
        let words: Vec<&str> = ["AUTH"].into_iter().chain(address.user).chain([password]).collect();
        let said = ask(&mut stream, &words).await?;
        if !said.starts_with('+') {
            bail!("{place} refuses the password: {said}");
        }
    }
    let said = ask(&mut stream, &["PING"]).await?;
    if said != "+PONG" {
        bail!("{place} answers PING with {said}");
    }
    // Rate limits are counted by scripts that go by the server's clock.
    let said = ask(&mut stream, &["EVAL", "redis.call('TIME') return 1", "0"]).await?;
    if said != ":1" {
        bail!("{place} runs no scripts, so that each node counts its share of rate limits by itself: {said}");
    }
    Ok(format!("{place} answers and runs scripts"))
}

/// Sends one command and reads the line that answers it.
async fn ask(stream: &mut TcpStream, words: &[&str]) -> Result<String> {
    let head = format!("*{}\r\n", words.len());
    let command: String =
        std::iter::once(head).chain(words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()))).collect();
    stream.write_all(command.as_bytes()).await?;
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") && line.len() < 512 {
        line.push(stream.read_u8().await.context("it closed the connection")?);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().chars().filter(|letter| !letter.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn addresses_are_read() {
        let address = |is_tls, user, password, host, port| Address { is_tls, user, password, host, port };
        for (url, wanted) in [
            ("redis://cache", address(false, None, None, "cache", 6379)),
            ("redis://cache:7000/1", address(false, None, None, "cache", 7000)),
            ("rediss://:p%40@cache", address(true, None, Some("p%40"), "cache", 6379)),
            ("redis://app:pw@[::1]:1", address(false, Some("app"), Some("pw"), "::1", 1)),
            ("redis://[::1]", address(false, None, None, "::1", 6379)),
        ] {
            assert_eq!(parse(url).expect(url), wanted, "{url}");
        }
        for url in ["cache:6379", "http://cache", "redis://", "redis://cache:x"] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_server_that_answers_is_told_from_one_that_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = async {
            let (mut socket, _) = listener.accept().await.expect("a client");
            let mut request = [0; 14];
            socket.read_exact(&mut request).await.expect("a command");
            assert_eq!(&request, b"*1\r\n$4\r\nPING\r\n");
            socket.write_all(b"+PONG\r\n").await.expect("sent");
            let mut request = [0; 55];
            socket.read_exact(&mut request).await.expect("a script");
            assert!(request.starts_with(b"*3\r\n$4\r\nEVAL\r\n") && request.ends_with(b"\r\n$1\r\n0\r\n"));
            socket.write_all(b":1\r\n").await.expect("sent");
        };
        let url = format!("redis://127.0.0.1:{port}");
        let (said, ()) = tokio::join!(ping(&url), server);
        assert!(said.expect("an answer").ends_with("answers and runs scripts"));
        drop(listener);
        assert!(ping(&url).await.expect_err("nobody").to_string().contains("connecting"));
    }
}
