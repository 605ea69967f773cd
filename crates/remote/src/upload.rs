//! Files and batches of messages on their way in: read as they arrive, checked and named line by line, sent on at once.
//!
//! The first line says where to; the rest has to go there too. Invariants: what one node holds of an upload is a line and a few
//! chunks; what is refused half way is broken off at the upstream, which then keeps nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use batch::facts::{Facts, MAX_MODELS, Model};
use batch::form::{self, Form, Piece};
use batch::ids::Named;
use batch::line;
use batch::object::Object;
use batch::request::{self, Call};
use batch::shape::{self, What};
use batch::split::{Elements, Lines, SplitError};
use bytes::Bytes;
use domain::code::GatewayCode;
use domain::remote::RemoteKind;
use http_body_util::BodyExt as _;
use policy::snapshot::{CredentialPolicy, CredentialUse};
use provider::{BatchForm, Provider, Spec};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use upstream::upload::{Chunks, Part};

use crate::calls::{Trouble, Upstream};
use crate::port::{Body, Bounds, Given, Meter, Refusal};
use crate::{Asking, invalid, look, serve_from};

/// Longest line: what one call may be, and then some.
const MAX_LINE: usize = 32 * 1024 * 1024;
/// Most calls of one file or batch; what the vendors take at most.
const MAX_CALLS: u64 = 100_000;
/// Parts that wait for the upstream.
const WAITING: usize = 8;
/// Longest wait for an upstream to take the next part, and for its answer at the end.
const PATIENCE: Duration = Duration::from_secs(120);

// === Who serves ===

/// Finds what serves each line, all under one credential.
struct Targets<'a> {
    asking: &'a Asking<'a>,
    form: BatchForm,
    chosen: Option<Upstream>,
    facts: Facts,
    known: HashMap<String, usize>,
    /// What of the calls does not go on.
    dropped: Vec<String>,
}

impl<'a> Targets<'a> {
    fn new(asking: &'a Asking<'a>, form: BatchForm) -> Self {
        Self { asking, form, chosen: None, facts: Facts::default(), known: HashMap::new(), dropped: Vec::new() }
    }

    /// Checks a call and returns it under the upstream's name.
    fn take(&mut self, line: &Bytes) -> Result<Bytes, Refusal> {
        let n = self.facts.lines + 1;
        if n > MAX_CALLS {
            return Err(Refusal::new(
                GatewayCode::RequestTooLarge,
                format!("there are more than {MAX_CALLS} calls; make several batches of them"),
            ));
        }
        let form = if self.form.is_of_files() { request::Form::OpenAi } else { request::Form::Anthropic };
        let call = request::read(form, line).map_err(|error| invalid(format!("call {n}: {error}")))?;
        self.check_endpoint(&call, n)?;
        let at = self.model(&call.model).map_err(|refusal| at_call(n, refusal))?;
        self.facts.lines = n;
        let upstream = self.chosen.as_ref().ok_or_else(Refusal::internal)?;
        let model = self.facts.models[at].clone();
        let written = line::write(&upstream.destination(), (&call, line), &model, &mut self.facts, &mut self.dropped);
        written.map_err(|error| invalid(format!("call {n}: {error}")))
    }

    fn check_endpoint(&mut self, call: &Call, n: u64) -> Result<(), Refusal> {
        let Some(url) = &call.url else { return Ok(()) };
        if self.facts.lines == 0 {
            self.facts.endpoint.clone_from(url);
        }
        if *url == self.facts.endpoint {
            return Ok(());
        }
        Err(invalid(format!(
            "call {n}: its \"url\" is another than that of the calls before; a file is for one endpoint"
        )))
    }

    fn model(&mut self, name: &str) -> Result<usize, Refusal> {
        if let Some(at) = self.known.get(name) {
            return Ok(*at);
        }
        let caller = self.asking.caller;
        let model = self.asking.host.find_model(caller, name)?;
        if self.facts.models.len() == MAX_MODELS {
            return Err(invalid(format!(
                "there are calls of more than {MAX_MODELS} models; make several batches of them"
            )));
        }
        let able = model.targets.iter().filter_map(|target| {
            let deployment = &target.deployment;
            let provider = provider::find(&deployment.provider)?;
            let takes = provider.spec().batches.is_some_and(|it| it.form.is_of_files() == self.form.is_of_files());
            match &deployment.credential {
                CredentialUse::Ready(credential) if takes && deployment.is_usable() => {
                    Some((deployment, provider, credential))
                }
                _ => None,
            }
        });
        let able: Vec<(_, &'static dyn Provider, &Arc<CredentialPolicy>)> = able.collect();
        let fits = |credential: &Arc<CredentialPolicy>| {
            self.chosen.as_ref().is_none_or(|upstream| upstream.credential.id == credential.id)
        };
        let Some((deployment, provider, credential)) = able.iter().find(|(_, _, credential)| fits(credential)) else {
            return Err(if able.is_empty() { no_batches(name, self.form) } else { mixed(name) });
        };
        if self.chosen.as_ref().is_some_and(Upstream::is_of_one_model) {
            return Err(another(name));
        }
        if self.chosen.is_none() {
            self.chosen = Some(Upstream::new(self.asking.host, *provider, credential)?);
        }
        let at = self.facts.models.len();
        self.facts.models.push(Model {
            name: model.name.to_string(),
            deployment: deployment.id,
            upstream: deployment.upstream_model.clone(),
            base: deployment.base_model.clone(),
            facts: deployment.facts.clone(),
        });
        self.known.insert(name.to_owned(), at);
        Ok(at)
    }
}

fn at_call(n: u64, mut refusal: Refusal) -> Refusal {
    refusal.detail = format!("call {n}: {}", refusal.detail).into();
    refusal
}

fn no_batches(name: &str, form: BatchForm) -> Refusal {
    let takes = |spec: &Spec| spec.batches.is_some_and(|it| it.form.is_of_files() == form.is_of_files());
    let titles: Vec<&str> =
        provider::ALL.iter().map(|it| it.spec()).filter(|it| takes(it)).map(|it| it.title).collect();
    let way = if form.is_of_files() { "files and batches in OpenAI's form" } else { "batches of messages" };
    let detail = format!(
        "nothing that serves the model `{name}` takes {way}; ask for a model that lies where they are taken: {}",
        titles.join(", ")
    );
    invalid(detail).with_param("model")
}

fn another(name: &str) -> Refusal {
    let detail = format!(
        "the model `{name}` is another than that of the calls before, and its provider takes one model in a batch; put its calls into a batch of their own"
    );
    invalid(detail).with_param("model")
}

fn mixed(name: &str) -> Refusal {
    let detail = format!(
        "the model `{name}` lies with another provider or credential than the calls before; put its calls into a batch of their own"
    );
    invalid(detail).with_param("model")
}

fn split(error: &SplitError) -> Refusal {
    match error {
        SplitError::TooLong { .. } => Refusal::new(GatewayCode::RequestTooLarge, format!("one call: {error}")),
        SplitError::Form(_) => invalid(error.to_string()),
    }
}

// === The client's side ===

/// The body as it arrives, within bounds.
struct Arriving {
    body: Body,
    n_bytes: usize,
    max_bytes: usize,
    patience: Duration,
    waited: Duration,
}

impl Arriving {
    fn new(asking: &Asking<'_>, body: Body) -> Self {
        let Bounds { max_bytes, patience } = asking.host.bounds();
        Self { body, n_bytes: 0, max_bytes, patience, waited: Duration::ZERO }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let since = Instant::now();
            let frame = timeout(self.patience, self.body.frame()).await;
            self.waited += since.elapsed();
            let frame = frame.map_err(|_| {
                let detail = format!("nothing of the body came for {} ms; send it faster", self.patience.as_millis());
                Refusal::new(GatewayCode::RequestTimeout, detail).closing()
            })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|()| invalid("the body broke off; send it whole").closing())?;
            let Ok(data) = frame.into_data() else { continue };
            self.n_bytes += data.len();
            if self.n_bytes > self.max_bytes {
                return Err(Refusal::too_large(self.max_bytes).closing());
            }
            return Ok(Some(data));
        }
    }
}

// === The upstream's side ===

/// What goes to the upstream; by a channel of few places.
struct Outlet {
    sender: mpsc::Sender<Part>,
}

impl Outlet {
    async fn send(&self, part: Part) -> Result<(), Refusal> {
        match timeout(PATIENCE, self.sender.send(part)).await {
            Ok(Ok(())) => Ok(()),
            // Whoever sends the request knows why nobody takes it any more.
            Ok(Err(_)) => Err(Trouble::Broken.said(&[])),
            Err(_) => Err(Trouble::TimedOut.said(&[])),
        }
    }

    async fn put(&self, bytes: impl Into<Bytes>) -> Result<(), Refusal> {
        let bytes = bytes.into();
        if bytes.is_empty() { Ok(()) } else { self.send(Part::Data(bytes)).await }
    }
}

/// Feeds an upload and waits for its answer; whichever fails first ends both.
async fn run(
    upstream: &Upstream,
    asking: &Asking<'_>,
    below: &str,
    content_type: &str,
    feed: impl AsyncFnOnce(Outlet) -> Result<(), Refusal>,
) -> Result<Bytes, Refusal> {
    let (sender, chunks) = Chunks::channel(WAITING);
    let sending = upstream.upload(below, asking.headers, content_type, chunks);
    let mut sending = std::pin::pin!(sending);
    let feeding = feed(Outlet { sender });
    let mut feeding = std::pin::pin!(feeding);
    tokio::select! {
        biased;
        sent = &mut sending => {
            // An answer before the end of the request can only be a refusal.
            return Err(sent.err().unwrap_or(Trouble::Broken).said(&[]));
        }
        fed = &mut feeding => fed?,
    }
    let sent = timeout(PATIENCE, sending).await.unwrap_or(Err(Trouble::TimedOut));
    sent.map_err(|trouble| trouble.said(&[]))
}

// === Files ===

const PURPOSE: &str = "batch";
/// Fields of a form that go on.
const FORWARDED: &str = "expires_after[";

/// What of the form has been read before its file begins, or behind it.
#[derive(Default)]
struct Fields {
    purpose: Option<String>,
    forwarded: Vec<(String, String)>,
    /// The upstream takes them.
    is_forwarded: bool,
    dropped: Vec<String>,
}

impl Fields {
    fn take(&mut self, name: String, value: String) -> Result<(), Refusal> {
        if name == "purpose" {
            if value != PURPOSE {
                let detail = format!(
                    "files are taken for batches (`purpose` = `{PURPOSE}`); put other files into the requests that are about them"
                );
                return Err(invalid(detail).with_param("purpose"));
            }
            self.purpose = Some(value);
        } else if name.starts_with(FORWARDED) {
            self.forwarded.push((name, value));
        } else {
            self.dropped.push(name);
        }
        Ok(())
    }
}

impl Fields {
    /// Takes what goes on; what the upstream has no place for is dropped.
    fn take_forwarded(&mut self) -> Vec<(String, String)> {
        let forwarded = std::mem::take(&mut self.forwarded);
        if self.is_forwarded {
            return forwarded;
        }
        self.dropped.extend(forwarded.into_iter().map(|(name, _)| name));
        Vec::new()
    }
}

/// Takes the next piece of a form; `None` when it breaks off.
async fn next_piece(form: &mut Form, arriving: &mut Arriving) -> Result<Option<Piece>, Refusal> {
    loop {
        if let Some(piece) = form.next_piece().map_err(|error| invalid(error.to_string()))? {
            return Ok(Some(piece));
        }
        match arriving.next().await? {
            Some(chunk) => form.push(&chunk),
            None => return Ok(None),
        }
    }
}

fn broken_form() -> Refusal {
    invalid("the form breaks off; send `purpose` and `file`, whole")
}

/// Serves `POST /v1/files`.
pub(crate) async fn file(asking: &Asking<'_>, body: Body, meter: &mut dyn Meter) -> Result<Given, Refusal> {
    let mut arriving = Arriving::new(asking, body);
    let (mut form, mut fields) = (Form::default(), Fields::default());
    let file_name = loop {
        match next_piece(&mut form, &mut arriving).await?.ok_or_else(broken_form)? {
            Piece::Field { name, value } => fields.take(name, value)?,
            Piece::File { name, file_name } if name == "file" => break file_name,
            _ => return Err(invalid("the form has no \"file\"; it is required").with_param("file")),
        }
    };
    let (mut lines, mut targets) = (Lines::new(MAX_LINE), Targets::new(asking, BatchForm::OpenAi));
    // The first line says where to.
    let mut is_over = false;
    let first = loop {
        if let Some(line) = next_line(&mut lines, &mut targets)? {
            break line;
        }
        if let Piece::Data(data) = next_piece(&mut form, &mut arriving).await?.ok_or_else(broken_form)? {
            lines.push(&data);
        } else {
            is_over = true;
            let none = || invalid("the file has no lines; each line is one call").with_param("file");
            break last_line(&mut lines, &mut targets)?.ok_or_else(none)?;
        }
    };
    let upstream = targets.chosen.clone().ok_or_else(Refusal::internal)?;
    serve_from(&upstream, &targets.facts, meter);
    fields.is_forwarded = shape::takes_fields(upstream.form());
    let below = shape::path(upstream.form(), What::Upload);
    let body = run(&upstream, asking, &below, &shape::upload_type(upstream.form()), async |outlet| {
        outlet.put(shape::preamble(upstream.form(), &file_name, &fields.take_forwarded())).await?;
        outlet.put(first).await?;
        if !is_over {
            feed_lines(&mut form, &mut arriving, (&mut lines, &mut targets), &outlet).await?;
        }
        outlet.put(form::file_end()).await?;
        feed_fields(&mut form, &mut arriving, &mut fields, &outlet).await?;
        outlet.send(Part::End).await
    })
    .await;
    meter.wait(arriving.waited);
    let body = body?;
    meter.drop_fields(&mut fields.dropped);
    meter.drop_fields(&mut targets.dropped);
    let mut shown = shape::file(upstream.form(), Object::read(&body).ok_or_else(unreadable)?);
    let upstream_id = shown.text("id").map(str::to_owned).ok_or_else(unreadable)?;
    targets.facts.bytes = shown.number("bytes").unwrap_or(0);
    let facts = targets.facts.named(&file_name);
    let mut object = asking.object(RemoteKind::File, &upstream, &upstream_id, &facts, asking.at);
    if let Some(expires_at) = shown.seconds("expires_at") {
        object.expires_at = object.expires_at.min(expires_at);
    }
    let id = Named::File(object.id).to_string();
    look::note(asking, &upstream, object, meter).await?;
    shown.put("id", id);
    Ok(Given::Json(shown.write().to_string().into()))
}

fn unreadable() -> Refusal {
    Refusal::new(GatewayCode::UpstreamError, "the upstream's answer could not be read; try again shortly")
}

/// Takes the next call of what has arrived; blank lines are passed over.
fn next_line(lines: &mut Lines, targets: &mut Targets<'_>) -> Result<Option<Bytes>, Refusal> {
    while let Some(line) = lines.next_line().map_err(|error| split(&error))? {
        if !line.trim_ascii().is_empty() {
            return targets.take(&line).map(Some);
        }
    }
    Ok(None)
}

/// Takes what is left behind the last line's end.
fn last_line(lines: &mut Lines, targets: &mut Targets<'_>) -> Result<Option<Bytes>, Refusal> {
    let rest = lines.take_rest();
    if rest.trim_ascii().is_empty() { Ok(None) } else { targets.take(&rest).map(Some) }
}

/// Sends the rest of the file.
async fn feed_lines(
    form: &mut Form,
    arriving: &mut Arriving,
    (lines, targets): (&mut Lines, &mut Targets<'_>),
    outlet: &Outlet,
) -> Result<(), Refusal> {
    loop {
        while let Some(line) = next_line(lines, targets)? {
            outlet.put(line).await?;
        }
        match next_piece(form, arriving).await?.ok_or_else(broken_form)? {
            Piece::Data(data) => lines.push(&data),
            _ => break,
        }
    }
    match last_line(lines, targets)? {
        Some(line) => outlet.put(line).await,
        None => Ok(()),
    }
}

/// Sends what stands behind the file, and ends the form.
async fn feed_fields(
    form: &mut Form,
    arriving: &mut Arriving,
    fields: &mut Fields,
    outlet: &Outlet,
) -> Result<(), Refusal> {
    loop {
        match next_piece(form, arriving).await?.ok_or_else(broken_form)? {
            Piece::Field { name, value } => fields.take(name, value)?,
            Piece::End => break,
            _ => return Err(invalid("the form has two files; send one").with_param("file")),
        }
    }
    if fields.purpose.is_none() {
        return Err(invalid("the form has no \"purpose\"; it is required").with_param("purpose"));
    }
    for (name, value) in fields.take_forwarded() {
        outlet.put(form::field(&name, &value)).await?;
    }
    outlet.put(form::end()).await
}

// === Batches of messages ===

/// Serves `POST /v1/messages/batches`.
pub(crate) async fn messages(asking: &Asking<'_>, body: Body, meter: &mut dyn Meter) -> Result<Given, Refusal> {
    let mut arriving = Arriving::new(asking, body);
    let (mut elements, mut targets) = (Elements::new(MAX_LINE), Targets::new(asking, BatchForm::Anthropic));
    let first = loop {
        if let Some(element) = elements.next_element() {
            break targets.take(&element)?;
        }
        let Some(chunk) = arriving.next().await? else {
            elements.finish().map_err(|error| split(&error))?;
            return Err(invalid("\"requests\" is empty; send at least one").with_param("requests"));
        };
        elements.push(&chunk).map_err(|error| split(&error))?;
    };
    let upstream = targets.chosen.clone().ok_or_else(Refusal::internal)?;
    serve_from(&upstream, &targets.facts, meter);
    let mut dropped = Vec::new();
    let body = run(&upstream, asking, "", "application/json", async |outlet| {
        outlet.put("{\"requests\":[").await?;
        outlet.put(first).await?;
        loop {
            while let Some(element) = elements.next_element() {
                let element = targets.take(&element)?;
                outlet.put(",").await?;
                outlet.put(element).await?;
            }
            match arriving.next().await? {
                Some(chunk) => elements.push(&chunk).map_err(|error| split(&error))?,
                None => break,
            }
        }
        dropped = elements.finish().map_err(|error| split(&error))?;
        outlet.put("]}").await?;
        outlet.send(Part::End).await
    })
    .await;
    meter.wait(arriving.waited);
    let body = body?;
    meter.drop_fields(&mut dropped);
    let shown = Object::read(&body).ok_or_else(unreadable)?;
    let upstream_id = shown.text("id").map(str::to_owned).ok_or_else(unreadable)?;
    let object = asking.object(RemoteKind::MessageBatch, &upstream, &upstream_id, &targets.facts, asking.at);
    let id = object.id;
    look::note(asking, &upstream, object, meter).await?;
    Ok(Given::Json(shown.as_message_batch(id).to_string().into()))
}
