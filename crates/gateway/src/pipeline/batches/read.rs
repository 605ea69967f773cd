//! Hands on the content of files and the results of batches, line by line; what goes by for the first time is booked.

use batch::output::{Form, Output};
use batch::split::SplitError;
use bytes::Bytes;
use domain::remote::RemoteKind;
use domain::route::Timeouts;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use provider::skim::Skimmed;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use super::book::Tally;
use super::look::{self, FoundFile};
use super::{Asking, Found, named, unknown};
use crate::pipeline::relay::stream::Start;
use crate::pipeline::relay::{Billing, Source, Writer};
use crate::pipeline::reply::{Passed, Reply};
use crate::pipeline::settle::Meter;
use crate::rejection::Rejection;

/// Longest time for one output.
const TOTAL: Duration = Duration::from_secs(3_600);

/// An output on its way to the client.
pub(crate) struct Lines {
    output: Output,
    tally: Option<Box<Tally>>,
    found: Skimmed,
}

impl Lines {
    fn new(output: Output, tally: Option<Box<Tally>>) -> Box<Self> {
        Box::new(Self { output, tally, found: Skimmed::default() })
    }

    /// Takes the next bytes and returns those for the client.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<Bytes, SplitError> {
        self.found.n_bytes += chunk.len() as u64;
        let tally = &mut self.tally;
        self.output.push(chunk, &mut |answer| {
            if let Some(tally) = tally {
                tally.count(answer);
            }
        })
    }

    /// Ends the output, and books it before its last bytes go out.
    pub(crate) fn finish(&mut self) -> Bytes {
        let mut tally = self.tally.take();
        let rest = self.output.finish(&mut |answer| {
            if let Some(tally) = &mut tally {
                tally.count(answer);
            }
        });
        if let Some(tally) = tally {
            tally.book();
        }
        self.found.is_complete = true;
        rest
    }

    /// Returns what is known of it as an answer: nothing that costs anything.
    pub(crate) const fn found(&self) -> &Skimmed {
        &self.found
    }
}

/// Serves `GET /v1/files/{id}/content`.
pub(super) async fn content(asking: &Asking<'_>, id: &str, meter: &mut Meter) -> Result<Reply, Rejection> {
    let FoundFile { found, upstream_id, progress } = look::find_file(asking, id, meter).await?;
    let below = look::place(&found.upstream, RemoteKind::File, &upstream_id, "/content");
    let form = if progress.is_some() { Form::OpenAi } else { Form::Calls };
    // Of errors nothing is billed.
    let output = progress.filter(|progress| progress.output.as_ref() == Some(&upstream_id));
    let tally = output.filter(|progress| progress.is_over && found.object.booked_at.is_none());
    let of = (&found.object, &found.facts);
    let tally = tally.map(|progress| Tally::new(asking.worker, asking.caller.organization, of, &progress));
    let lines = Lines::new(Output::new(form, found.facts.clone()), tally);
    hand_on(asking, &found, (&below, &[(&upstream_id, id)]), lines, meter).await
}

/// Serves `GET /v1/messages/batches/{id}/results`.
pub(super) async fn results(asking: &Asking<'_>, id: &str, meter: &mut Meter) -> Result<Reply, Rejection> {
    let batch::ids::Named::MessageBatch(of) = named(id)? else { return Err(unknown()) };
    let found = asking.find(of, RemoteKind::MessageBatch, meter).await?;
    let ids = [(found.object.upstream_id.as_str(), id)];
    let since = Instant::now();
    let progress = look::ask(&found.upstream, &found.object).await;
    meter.waited += since.elapsed();
    let progress = progress.map_err(|trouble| trouble.said(&ids))?.message_progress();
    let below = look::place(&found.upstream, found.object.kind, &found.object.upstream_id, "/results");
    let is_new = progress.is_over && found.object.booked_at.is_none();
    let of = (&found.object, &found.facts);
    let tally = is_new.then(|| Tally::new(asking.worker, asking.caller.organization, of, &progress));
    let lines = Lines::new(Output::new(Form::Anthropic, found.facts.clone()), tally);
    hand_on(asking, &found, (&below, &ids), lines, meter).await
}

async fn hand_on(
    asking: &Asking<'_>,
    found: &Found,
    (below, ids): (&str, &[(&str, &str)]),
    lines: Box<Lines>,
    meter: &mut Meter,
) -> Result<Reply, Rejection> {
    let since = Instant::now();
    let opened = found.upstream.open(Method::GET, below, &asking.parts.headers, None).await;
    meter.waited += since.elapsed();
    let (head, answer) = opened.map_err(|trouble| trouble.said(ids))?.into_parts();
    let mut headers = HeaderMap::new();
    let usual = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, head.headers.get(CONTENT_TYPE).cloned().unwrap_or(usual));
    let deployment = policy::snapshot::DeploymentPolicy {
        id: found.facts.models.first().map_or(domain::DeploymentId::from_uuid(0), |model| model.deployment),
        name: String::new(),
        provider: found.object.provider.clone(),
        upstream_model: String::new(),
        credential: policy::snapshot::CredentialUse::None,
        is_enabled: true,
    };
    Ok(Reply::Stream(Box::new(Start {
        source: Source::Upstream(answer),
        first: Bytes::new(),
        writer: Writer::Lines(lines),
        is_array: false,
        kind: None,
        passed: Some(Box::new(Passed { status: StatusCode::OK, headers })),
        known_usage: None,
        billing: Billing {
            organization: asking.caller.organization.clone(),
            deployment: Arc::new(deployment),
            input_guess: 0,
            tier: None,
            is_stream: true,
        },
        idle: Duration::from_millis(u64::from(Timeouts::default().idle_ms)),
        total_at: Instant::now() + TOTAL,
        recorder: None,
        memory: None,
        continuation: None,
        rehearses_cut: false,
    })))
}
