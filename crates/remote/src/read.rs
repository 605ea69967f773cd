//! Hands on the content of files and the results of batches, line by line; what goes by for the first time is booked.

use std::sync::Arc;

use batch::output::{Form, Output};
use batch::shape::{self, What};
use batch::split::SplitError;
use bytes::Bytes;
use domain::DeploymentId;
use domain::remote::RemoteKind;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use policy::snapshot::{CredentialUse, DeploymentPolicy};
use provider::skim::Skimmed;
use tokio::time::Instant;
use upstream::client::Answer;

use crate::book::{Tally, ended_at};
use crate::look::{self, FoundFile};
use crate::port::{Given, Meter, Refusal};
use crate::{Asking, Found, named, unknown};

/// An output whose upstream has begun to send it.
pub struct Passing {
    /// What still arrives.
    pub answer: Answer,
    /// What the upstream says it is.
    pub content_type: HeaderValue,
    /// What it has to go through.
    pub lines: Box<Lines>,
    /// What served the first of the calls. Of the answer itself nothing is billed.
    pub deployment: Arc<DeploymentPolicy>,
}

/// An output on its way to the client.
pub struct Lines {
    output: Output,
    tally: Option<Box<Tally>>,
    found: Skimmed,
}

impl Lines {
    fn new(output: Output, tally: Option<Box<Tally>>) -> Box<Self> {
        Box::new(Self { output, tally, found: Skimmed::default() })
    }

    /// Takes the next bytes and returns those for the client.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Bytes, SplitError> {
        self.found.n_bytes += chunk.len() as u64;
        let tally = &mut self.tally;
        self.output.push(chunk, &mut |answer| {
            if let Some(tally) = tally {
                tally.count(answer);
            }
        })
    }

    /// Ends the output, and books it before its last bytes go out.
    pub fn finish(&mut self) -> Bytes {
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
    pub const fn found(&self) -> &Skimmed {
        &self.found
    }
}

/// Serves `GET /v1/files/{id}/content`.
pub(crate) async fn content(asking: &Asking<'_>, id: &str, meter: &mut dyn Meter) -> Result<Given, Refusal> {
    let FoundFile { found, upstream_id, progress } = look::find_file(asking, id, meter).await?;
    let vendor = found.upstream.form();
    let below = shape::path(vendor, What::Content(&upstream_id));
    let form = if progress.is_some() { Form::of(vendor) } else { Form::Calls };
    let at = progress.as_ref().map_or(found.object.created_at, |progress| ended_at(&found.object, progress));
    // Of errors nothing is billed.
    let output = progress.filter(|progress| progress.output.as_ref() == Some(&upstream_id));
    let tally = output.filter(|progress| progress.is_over && found.object.booked_at.is_none());
    let of = (&found.object, &found.facts);
    let tally = tally.map(|progress| Tally::new(asking.host, asking.caller.organization, of, &progress));
    let lines = Lines::new(Output::new(form, found.facts.clone(), at), tally);
    hand_on(asking, &found, (&below, &[(&upstream_id, id)]), lines, meter).await
}

/// Serves `GET /v1/messages/batches/{id}/results`.
pub(crate) async fn results(asking: &Asking<'_>, id: &str, meter: &mut dyn Meter) -> Result<Given, Refusal> {
    let batch::ids::Named::MessageBatch(of) = named(id)? else { return Err(unknown()) };
    let found = asking.find(of, RemoteKind::MessageBatch, meter).await?;
    let ids = [(found.object.upstream_id.as_str(), id)];
    let since = Instant::now();
    let progress = look::ask(&found.upstream, &found.object, &found.facts).await;
    meter.wait(since.elapsed());
    let progress = progress.map_err(|trouble| trouble.said(&ids))?.message_progress();
    let below = shape::path(found.upstream.form(), What::Results(&found.object.upstream_id));
    let is_new = progress.is_over && found.object.booked_at.is_none();
    let of = (&found.object, &found.facts);
    let tally = is_new.then(|| Tally::new(asking.host, asking.caller.organization, of, &progress));
    let lines = Lines::new(Output::new(Form::Anthropic, found.facts.clone(), asking.at), tally);
    hand_on(asking, &found, (&below, &ids), lines, meter).await
}

async fn hand_on(
    asking: &Asking<'_>,
    found: &Found,
    (below, ids): (&str, &[(&str, &str)]),
    lines: Box<Lines>,
    meter: &mut dyn Meter,
) -> Result<Given, Refusal> {
    let since = Instant::now();
    let opened = found.upstream.open(Method::GET, below, asking.headers, None).await;
    meter.wait(since.elapsed());
    let (head, answer) = opened.map_err(|trouble| trouble.said(ids))?.into_parts();
    let usual = HeaderValue::from_static("application/octet-stream");
    let deployment = DeploymentPolicy {
        id: found.facts.models.first().map_or(DeploymentId::from_uuid(0), |model| model.deployment),
        name: String::new(),
        provider: found.object.provider.clone(),
        upstream_model: String::new(),
        base_model: None,
        facts: None,
        quantization: None,
        // Nothing is sent with it.
        credential: CredentialUse::None,
        is_enabled: true,
    };
    Ok(Given::Lines(Box::new(Passing {
        answer,
        content_type: head.headers.get(CONTENT_TYPE).cloned().unwrap_or(usual),
        lines,
        deployment: Arc::new(deployment),
    })))
}
