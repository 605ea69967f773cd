//! Fetches pictures and documents that a call names by address, for upstreams that take bytes only.
//!
//! Who needs what is the provider's word; here are the guards, because the addresses are the client's. Invariants: only public
//! hosts are asked, at the usual ports, every redirect is checked like the first address, and nothing of the caller or of Headgate's
//! secrets goes along; number, bytes and time are bounded for each call, and how many calls fetch at once for the node; what was
//! fetched once is used for all targets of the call.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::code::GatewayCode;
use futures_util::future::try_join_all;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use ingress::Rejection;
use parking_lot::Mutex;
use provider::media::{Inlined, Need};
use runtime::egress::Rules;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use upstream::client::{Answer, Client, SendError};
use upstream::dial::Dial;

use super::Worker;

/// Longest time for everything that one attempt fetches.
const FETCH_FOR: Duration = Duration::from_secs(10);
const CONNECT_FOR: Duration = Duration::from_secs(5);
const MAX_REDIRECTS: usize = 3;
/// Addresses fetched at once by a node, and kept until their calls end: what bounds the memory for them.
const MAX_AT_ONCE: usize = 64;
const MAX_URL: usize = 8 * 1024;
/// Endings of names that mean something inside a network only.
const INSIDE: [&str; 5] = ["localhost", "local", "internal", "intranet", "home.arpa"];
const KINDS: HeaderValue = HeaderValue::from_static("image/*,application/pdf");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("headgate/", env!("CARGO_PKG_VERSION")));

/// What fetches of all calls share.
pub(crate) struct Fetching {
    dial: Arc<dyn Dial>,
    places: Arc<Semaphore>,
}

impl Fetching {
    pub(crate) fn new(dial: Arc<dyn Dial>) -> Self {
        Self { dial, places: Arc::new(Semaphore::new(MAX_AT_ONCE)) }
    }
}

/// What was fetched for one call.
#[derive(Default)]
pub(crate) struct Held(Mutex<State>);

#[derive(Default)]
struct State {
    inlined: Option<Arc<Inlined>>,
    places: Vec<OwnedSemaphorePermit>,
}

/// Why something was not fetched; said to the client, without what an address inside would give away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Unfetched {
    #[error(
        "the address is not one that can be fetched: it must be http or https, with a public host at its usual port"
    )]
    Address,
    #[error("the host cannot be reached")]
    Unreachable,
    #[error("the host leads to an address that is not public")]
    Private,
    #[error("the host did not send it in time")]
    Slow,
    #[error("the host answered with status {0}")]
    Status(u16),
    #[error("it leads on to more than {MAX_REDIRECTS} other addresses")]
    Redirects,
    #[error("it leads on to an address that cannot be fetched")]
    Redirect,
    #[error("it is larger than the {0} bytes that may be fetched for one call")]
    Large(usize),
    #[error("what stands there is not of a kind that models take; pictures are PNG, JPEG, GIF or WebP, documents PDF")]
    Kind,
}

/// Fetches what a target needs of a call, as far as it was not fetched for an earlier target.
pub(crate) async fn bring(
    worker: &Worker,
    held: &Held,
    needs: Vec<Need>,
    until: Instant,
) -> Result<Option<Arc<Inlined>>, Rejection> {
    if needs.is_empty() {
        return Ok(None);
    }
    let limits = &worker.shared.config.limits;
    if needs.len() > limits.max_fetches {
        return Err(Rejection::new(
            GatewayCode::RequestInvalid,
            format!(
                "this model's upstream takes pictures and documents as bytes only, and no more than {} addresses are fetched for \
                 one call; send some as base64 data",
                limits.max_fetches
            ),
        ));
    }
    let known = held.0.lock().inlined.clone().unwrap_or_default();
    let missing: Vec<Need> = needs.into_iter().filter(|need| !known.has(need)).collect();
    if missing.is_empty() {
        return Ok(Some(known));
    }
    let until = until.min(Instant::now() + FETCH_FOR);
    let n_places = u32::try_from(missing.len().min(MAX_AT_ONCE)).unwrap_or(1);
    let fetching = &worker.shared.fetching;
    let places = timeout_at(until, fetching.places.clone().acquire_many_owned(n_places)).await;
    let Ok(Ok(places)) = places else {
        let detail = "this gateway fetches too many pictures and documents at the moment; try again shortly";
        return Err(Rejection::new(GatewayCode::UpstreamTimeout, detail).with_retry_after(Some(Duration::from_secs(1))));
    };
    // A client of its own, because a pool for every host that clients name would grow without end.
    let client = Client::new(fetching.dial.clone());
    let left = AtomicUsize::new(limits.max_fetched_bytes);
    let all = missing.iter().map(|need| async {
        let fetched = Box::pin(fetch(&client, &need.url, &left, limits.max_fetched_bytes));
        timeout_at(until, fetched).await.unwrap_or(Err(Unfetched::Slow)).map_err(|why| refuse(need, &why))
    });
    let bytes = try_join_all(all).await?;
    let mut inlined = Inlined::clone(&known);
    for (need, bytes) in missing.into_iter().zip(bytes) {
        if !inlined.has(&need) && !inlined.bring(need.clone(), &bytes) {
            return Err(refuse(&need, &Unfetched::Kind));
        }
    }
    let inlined = Arc::new(inlined);
    let mut state = held.0.lock();
    state.inlined = Some(inlined.clone());
    state.places.push(places);
    Ok(Some(inlined))
}

fn refuse(need: &Need, why: &Unfetched) -> Rejection {
    // The host and no more: the rest of an address may be a secret of the client's.
    let host = need.url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let kind = need.kind.as_str();
    let detail = format!(
        "this model's upstream takes a {kind} as bytes only, and the one at `{host}` could not be fetched: {why}; send it as base64 data"
    );
    Rejection::new(GatewayCode::RequestInvalid, detail)
}

async fn fetch(client: &Client, url: &str, left: &AtomicUsize, limit: usize) -> Result<Bytes, Unfetched> {
    let mut uri = check(url).ok_or(Unfetched::Address)?;
    for _ in 0..=MAX_REDIRECTS {
        let mut request = Box::new(Request::new(Bytes::new()));
        let headers = request.headers_mut();
        headers.insert(ACCEPT, KINDS);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(USER_AGENT, AGENT);
        *request.uri_mut() = uri.clone();
        let answer = client.send(request, CONNECT_FOR).await.map_err(|error| match error {
            SendError::Denied { .. } => Unfetched::Private,
            SendError::ConnectTimeout { .. } => Unfetched::Slow,
            SendError::Url { .. } => Unfetched::Address,
            SendError::Connect { .. } | SendError::Closed { .. } => Unfetched::Unreachable,
        })?;
        let (parts, body) = answer.into_parts();
        match parts.status {
            StatusCode::OK => return read(&parts.headers, body, left, limit).await,
            status if status.is_redirection() => uri = next(&uri, &parts.headers).ok_or(Unfetched::Redirect)?,
            status => return Err(Unfetched::Status(status.as_u16())),
        }
    }
    Err(Unfetched::Redirects)
}

async fn read(headers: &HeaderMap, mut body: Answer, left: &AtomicUsize, limit: usize) -> Result<Bytes, Unfetched> {
    let large = || Unfetched::Large(limit);
    // Unpacking would have to be bounded too, and pictures are packed already.
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(Unfetched::Kind);
    }
    let told = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|length| length > left.load(Ordering::Relaxed)) {
        return Err(large());
    }
    let mut whole = BytesMut::with_capacity(told.unwrap_or(0));
    while let Some(chunk) = poll_fn(|cx| body.poll_chunk(cx)).await {
        let chunk = chunk.map_err(|_| Unfetched::Unreachable)?;
        let take = |left: usize| left.checked_sub(chunk.len());
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_err(|_| large())?;
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// Checks an address before anything is resolved; `None` when it is not to be asked. What names resolve to is checked by the
/// dialler.
fn check(url: &str) -> Option<Uri> {
    if url.len() > MAX_URL {
        return None;
    }
    let uri: Uri = url.parse().ok()?;
    let usual = match uri.scheme_str()? {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    if uri.authority()?.as_str().contains('@') || uri.port_u16().is_some_and(|port| port != usual) {
        return None;
    }
    let host = uri.host()?.trim_end_matches('.').to_ascii_lowercase();
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&host);
    let is_public = if let Ok(address) = literal.parse::<IpAddr>() {
        Rules::default().filter(literal, std::iter::once(SocketAddr::new(address, usual))).is_ok()
    } else {
        // Numbers that some resolvers take for an address, and names without a domain.
        let last = host.rsplit('.').next().unwrap_or_default();
        let is_number = last.starts_with(|first: char| first.is_ascii_digit());
        let is_inside = INSIDE
            .iter()
            .any(|name| host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
        host.contains('.') && !is_number && !is_inside
    };
    is_public.then_some(uri)
}

/// Where a redirect leads to; never from TLS to none.
fn next(from: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let scheme = from.scheme_str()?;
    let url = if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{}{location}", from.authority()?)
    } else {
        return None;
    };
    let uri = check(&url)?;
    (scheme == "http" || uri.scheme_str() == Some("https")).then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_places_are_asked() {
        for url in [
            "https://example.com/a.png",
            "http://example.com:80/a.png?x=1",
            "https://93.184.216.34/",
            "https://[2606:2800:220:1::1]/",
            "https://sub.example.com./a",
        ] {
            assert!(check(url).is_some(), "{url}");
        }
        for url in [
            "",
            "example.com/a.png",
            "file:///etc/passwd",
            "gopher://example.com/",
            "ftp://example.com/a.png",
            "https://user:secret@example.com/",
            "https://example.com:8443/",
            "https://example.com:80/",
            "http://169.254.169.254/latest/meta-data/",
            "http://metadata.google.internal/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fd00:ec2::254]/",
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://10.0.0.8/",
            "http://localhost/",
            "http://a.localhost/",
            "http://printer/",
            "http://printer.local/",
            "https://0.0.0.0/",
        ] {
            assert!(check(url).is_none(), "{url}");
        }
        assert!(check(&format!("https://example.com/{}", "a".repeat(MAX_URL))).is_none());
    }

    #[test]
    fn redirects_are_checked_like_addresses() {
        let lead = |from: &str, location: &'static str| {
            let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(location))]);
            next(&from.parse().unwrap(), &headers).map(|uri| uri.to_string())
        };
        let from = "https://example.com/a";
        assert_eq!(lead(from, "/b?c").as_deref(), Some("https://example.com/b?c"));
        assert_eq!(lead(from, "//cdn.example.com/b").as_deref(), Some("https://cdn.example.com/b"));
        assert_eq!(lead("http://example.com/a", "https://example.com/a").as_deref(), Some("https://example.com/a"));
        for location in
            ["http://example.com/a", "http://169.254.169.254/", "//10.0.0.1/", "b", "file:///etc/passwd", ""]
        {
            assert_eq!(lead(from, location), None, "{location}");
        }
        assert_eq!(lead("http://example.com/a", "http://127.0.0.1/"), None);
    }
}
