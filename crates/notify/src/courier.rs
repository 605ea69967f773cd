//! Sends one alert to one destination, once, and says what came of it. Trying again is the office's.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;
use domain::alert::{Alert, Delivery, Destination, DestinationKind};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use provider::failure::retry_after;
use upstream::client::{Answer as Reply, Client, SendError};
use upstream::dial::Dial;

use crate::address::Address;
use crate::smtp::Smtp;
use crate::{form, sign};

/// Longest time until a connection stands.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time for a whole try.
pub const TRY: Duration = Duration::from_secs(15);
/// How much of an answer is read.
const MAX_ANSWER: usize = 4 * 1_024;

/// What is sent, and where to.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// What happened.
    pub alert: &'a Alert,
    /// Who is told.
    pub destination: &'a Destination,
    /// Its address, opened; none for e-mail.
    pub address: Option<&'a Address>,
    /// When this try is made; part of the signature.
    pub at: Timestamp,
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The destination took it.
    Taken,
    /// It may take it later, not before this pause if there is one.
    Later(Option<Duration>),
    /// It will never take it.
    Refused,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What follows.
    pub verdict: Verdict,
    /// The status, by HTTP or SMTP.
    pub status: Option<u16>,
    /// What was said, cut; or why nothing was.
    pub text: String,
}

impl Answer {
    pub(crate) fn new(verdict: Verdict, status: Option<u16>, text: &str) -> Self {
        let plain = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
        let text: String = plain.take(Delivery::MAX_ANSWER).collect();
        Self { verdict, status, text: text.trim().to_owned() }
    }
}

/// Sends alerts.
pub struct Courier {
    client: Client,
    smtp: Option<Smtp>,
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier").field("smtp", &self.smtp).finish_non_exhaustive()
    }
}

impl Courier {
    /// Makes a courier that reaches addresses by `dial`, which keeps the egress rules, and mails by `smtp`.
    #[must_use]
    pub fn new(dial: Arc<dyn Dial>, smtp: Option<Smtp>) -> Self {
        Self { client: Client::new(dial), smtp }
    }

    /// Says whether e-mail can be sent.
    #[must_use]
    pub const fn mails(&self) -> bool {
        self.smtp.is_some()
    }

    /// Sends a parcel, within [`TRY`].
    pub async fn send(&self, parcel: Parcel<'_>) -> Answer {
        let sending = async {
            match (parcel.destination.kind, parcel.address, &self.smtp) {
                (DestinationKind::Email, _, Some(smtp)) => smtp.send(parcel.alert, parcel.destination).await,
                (DestinationKind::Email, _, None) => {
                    Answer::new(Verdict::Later(None), None, "this installation has no SMTP server set")
                }
                (_, Some(address), _) => self.post(parcel, address).await,
                (_, None, _) => Answer::new(Verdict::Refused, None, "the destination has no address any more"),
            }
        };
        let late = || Answer::new(Verdict::Later(None), None, &format!("no answer within {} s", TRY.as_secs()));
        tokio::time::timeout(TRY, Box::pin(sending)).await.unwrap_or_else(|_| late())
    }

    async fn post(&self, parcel: Parcel<'_>, address: &Address) -> Answer {
        let Some(request) = request(parcel, address) else {
            return Answer::new(Verdict::Refused, None, "its address or secret cannot be used; enter them again");
        };
        match self.client.send(Box::new(request), CONNECT).await {
            Ok(response) => {
                let (head, mut body) = response.into_parts();
                let text = read(&mut body).await;
                Answer::new(verdict(head.status, &head.headers, parcel.at), Some(head.status.as_u16()), &text)
            }
            Err(error) => failed(&error),
        }
    }
}

/// Makes the request; the same bytes at every try but for the time and its signature.
fn request(parcel: Parcel<'_>, address: &Address) -> Option<Request<Bytes>> {
    let alert = parcel.alert;
    let body = match parcel.destination.kind {
        DestinationKind::Webhook => form::webhook(alert),
        DestinationKind::Slack => form::slack(alert),
        DestinationKind::Pagerduty => form::pagerduty(alert, address.routing_key.as_deref()?),
        DestinationKind::Email => return None,
    };
    let body = Bytes::from(body.to_string());
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(&address.url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, body.len())
        .header(header::USER_AGENT, concat!("headgate/", env!("CARGO_PKG_VERSION")));
    if parcel.destination.kind == DestinationKind::Webhook {
        let (id, at) = (alert.id.to_string(), parcel.at.as_secs());
        let signed: Option<Vec<String>> =
            address.signing_at(parcel.at).map(|secret| sign::sign(secret, &id, at, &body)).collect();
        let signed = signed.filter(|signed| !signed.is_empty())?.join(" ");
        request = request
            .header("webhook-id", id)
            .header("webhook-timestamp", HeaderValue::from(at))
            .header("webhook-signature", signed);
    }
    request.body(body).ok()
}

fn verdict(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Verdict {
    match status {
        _ if status.is_success() => Verdict::Taken,
        // Whoever listened there says that nobody ever will again.
        StatusCode::GONE => Verdict::Refused,
        // Everything else may be mended at the other end: days are time enough.
        _ => Verdict::Later(retry_after(headers, now)),
    }
}

fn failed(error: &SendError) -> Answer {
    let reason = match error {
        // Where a name leads to inside of the operator's network is not the tenant's to learn.
        SendError::Denied { .. } => {
            "its address is not a public one; the operator can allow it with egress_allow_private".to_owned()
        }
        other => other.to_string(),
    };
    Answer::new(Verdict::Later(None), None, &reason)
}

/// Reads the beginning of an answer. What breaks off is as good as what was read before.
async fn read(body: &mut Reply) -> String {
    let mut read = Vec::new();
    while read.len() < MAX_ANSWER {
        match poll_fn(|cx| body.poll_chunk(cx)).await {
            Some(Ok(chunk)) => read.extend_from_slice(&chunk),
            Some(Err(_)) | None => break,
        }
    }
    read.truncate(MAX_ANSWER);
    String::from_utf8_lossy(&read).into_owned()
}
