//! Looks at files and batches, cancels and deletes them, and lists those of an environment.
//!
//! Lists are made of what was noted here, never of an upstream's own: its account may be shared by many tenants.

use std::time::Duration;

use batch::facts::Facts;
use batch::ids::Named;
use batch::object::Object;
use batch::shape::{self, What};
use domain::RemoteId;
use domain::remote::{RemoteKind, RemoteObject};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::calls::{Trouble, Upstream};
use crate::port::{Given, Meter, Refusal};
use crate::store::Listing;
use crate::{Asking, Found, away, book, invalid, named, unknown};

/// Tries to note what an upstream has made.
const TRIES: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(200);
/// Calls of upstreams at a time for one list.
const AT_ONCE: usize = 8;

/// Where an object is below the upstream's place for batches.
fn place(upstream: &Upstream, kind: RemoteKind, upstream_id: &str) -> String {
    let what = if kind == RemoteKind::File { What::File(upstream_id) } else { What::Batch(upstream_id) };
    shape::path(upstream.form(), what)
}

/// Notes what was just made at the upstream. What cannot be noted is taken back there: nobody would ever find or pay it.
pub(crate) async fn note(
    asking: &Asking<'_>,
    upstream: &Upstream,
    object: RemoteObject,
    meter: &mut dyn Meter,
) -> Result<(), Refusal> {
    let since = Instant::now();
    let (kind, upstream_id) = (object.kind, object.upstream_id.clone());
    let mut tries = 1;
    let error = loop {
        match asking.host.store().note(object.clone()).await {
            Ok(()) => break None,
            Err(error) if tries == TRIES => break Some(error),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(BETWEEN).await;
    };
    meter.wait(since.elapsed());
    let Some(error) = error else { return Ok(()) };
    let (method, what) = match kind {
        RemoteKind::File => (Method::DELETE, What::File(&upstream_id)),
        RemoteKind::Batch | RemoteKind::MessageBatch => (Method::POST, What::Cancel(&upstream_id)),
    };
    let undone = upstream.call(method, &shape::path(upstream.form(), what), &HeaderMap::new(), None).await;
    if let Err(trouble) = undone {
        tracing::error!(
            ?trouble,
            upstream_id,
            "what could not be noted could not be taken back at the upstream either"
        );
    }
    Err(away(&error))
}

fn ids<'a>(object: &'a RemoteObject, shown: &'a str) -> [(&'a str, &'a str); 1] {
    [(object.upstream_id.as_str(), shown)]
}

fn unreadable() -> Refusal {
    Trouble::Broken.said(&[])
}

// === Batches ===

/// Asks the upstream for a batch; returns it in the form of the client's family.
pub(crate) async fn ask(upstream: &Upstream, object: &RemoteObject, facts: &Facts) -> Result<Object, Trouble> {
    let below = place(upstream, object.kind, &object.upstream_id);
    let body = upstream.call(Method::GET, &below, &HeaderMap::new(), None).await?;
    let shown = Object::read(&body).ok_or(Trouble::Broken)?;
    Ok(shape::batch(upstream.form(), shown, facts))
}

fn show(object: &RemoteObject, input: Option<RemoteId>, shown: Object) -> Value {
    match object.kind {
        RemoteKind::MessageBatch => shown.as_message_batch(object.id),
        RemoteKind::File | RemoteKind::Batch => shown.as_batch(object.id, input),
    }
}

async fn find(asking: &Asking<'_>, (kind, id): (RemoteKind, &str), meter: &mut dyn Meter) -> Result<Found, Refusal> {
    match (named(id)?, kind) {
        (Named::Batch(id), RemoteKind::Batch) | (Named::MessageBatch(id), RemoteKind::MessageBatch) => {
            asking.find(id, kind, meter).await
        }
        _ => Err(unknown()),
    }
}

/// Serves `GET` of a batch.
pub(crate) async fn batch(
    asking: &Asking<'_>,
    (kind, id): (RemoteKind, &str),
    meter: &mut dyn Meter,
) -> Result<Given, Refusal> {
    let Found { object, facts, upstream } = find(asking, (kind, id), meter).await?;
    let since = Instant::now();
    let shown = ask(&upstream, &object, &facts).await;
    meter.wait(since.elapsed());
    let shown = shown.map_err(|trouble| trouble.said(&ids(&object, id)))?;
    Ok(Given::Json(show(&object, facts.input, shown).to_string().into()))
}

/// Serves `POST …/cancel`.
pub(crate) async fn cancel(
    asking: &Asking<'_>,
    (kind, id): (RemoteKind, &str),
    meter: &mut dyn Meter,
) -> Result<Given, Refusal> {
    let Found { object, facts, upstream } = find(asking, (kind, id), meter).await?;
    let below = shape::path(upstream.form(), What::Cancel(&object.upstream_id));
    let since = Instant::now();
    let done = async {
        let body = upstream.call(Method::POST, &below, asking.headers, None).await?;
        let shown = Object::read(&body).ok_or(Trouble::Broken)?;
        let shown = shape::batch(upstream.form(), shown, &facts);
        // Some answer with nothing.
        if shown.text("id").is_some() { Ok(shown) } else { ask(&upstream, &object, &facts).await }
    };
    let done = done.await;
    meter.wait(since.elapsed());
    let shown = done.map_err(|trouble| trouble.said(&ids(&object, id)))?;
    Ok(Given::Json(show(&object, facts.input, shown).to_string().into()))
}

/// Serves `DELETE` of a batch of messages: booked before it goes.
pub(crate) async fn delete_batch(asking: &Asking<'_>, id: &str, meter: &mut dyn Meter) -> Result<Given, Refusal> {
    let found = find(asking, (RemoteKind::MessageBatch, id), meter).await?;
    let since = Instant::now();
    let done = async {
        let progress = ask(&found.upstream, &found.object, &found.facts).await?.message_progress();
        book::surely(asking, &found, &progress).await?;
        let below = place(&found.upstream, found.object.kind, &found.object.upstream_id);
        found.upstream.call(Method::DELETE, &below, asking.headers, None).await
    };
    let done = done.await;
    meter.wait(since.elapsed());
    done.map_err(|trouble| trouble.said(&ids(&found.object, id)))?;
    forget(asking, found.object.id).await?;
    Ok(Given::Json(json!({ "id": id, "type": "message_batch_deleted" }).to_string().into()))
}

async fn forget(asking: &Asking<'_>, id: RemoteId) -> Result<(), Refusal> {
    asking.host.store().forget(asking.scope(), id).await.map(drop).map_err(|error| away(&error))
}

// === Files ===

/// A file, and what it is called at its upstream.
pub(crate) struct FoundFile {
    pub(crate) found: Found,
    pub(crate) upstream_id: String,
    /// Of an output or errors: how far the batch is.
    pub(crate) progress: Option<batch::object::Progress>,
}

/// Finds a file: one that was uploaded, or what a batch gave.
pub(crate) async fn find_file(asking: &Asking<'_>, id: &str, meter: &mut dyn Meter) -> Result<FoundFile, Refusal> {
    let named = named(id)?;
    if let Named::File(file) = named {
        let found = asking.find(file, RemoteKind::File, meter).await?;
        return Ok(FoundFile { upstream_id: found.object.upstream_id.clone(), found, progress: None });
    }
    let (Named::Output(of) | Named::Errors(of)) = named else { return Err(unknown()) };
    let found = asking.find(of, RemoteKind::Batch, meter).await?;
    let since = Instant::now();
    let batch = ask(&found.upstream, &found.object, &found.facts).await;
    meter.wait(since.elapsed());
    let progress = batch.map_err(|trouble| trouble.said(&ids(&found.object, id)))?.progress();
    let upstream_id = if matches!(named, Named::Output(_)) { &progress.output } else { &progress.errors };
    let upstream_id = upstream_id.clone().ok_or_else(unknown)?;
    Ok(FoundFile { found, upstream_id, progress: Some(progress) })
}

/// Serves `GET /v1/files/{id}`.
pub(crate) async fn file(asking: &Asking<'_>, id: &str, meter: &mut dyn Meter) -> Result<Given, Refusal> {
    let file = find_file(asking, id, meter).await?;
    let upstream = &file.found.upstream;
    let below = place(upstream, RemoteKind::File, &file.upstream_id);
    let since = Instant::now();
    let body = upstream.call(Method::GET, &below, asking.headers, None).await;
    meter.wait(since.elapsed());
    let body = body.map_err(|trouble| trouble.said(&[(&file.upstream_id, id)]))?;
    let mut shown = shape::file(upstream.form(), Object::read(&body).ok_or_else(unreadable)?);
    shown.put("id", id);
    Ok(Given::Json(shown.write().to_string().into()))
}

/// Serves `DELETE /v1/files/{id}`. An output is booked before it goes.
pub(crate) async fn delete_file(asking: &Asking<'_>, id: &str, meter: &mut dyn Meter) -> Result<Given, Refusal> {
    let file = find_file(asking, id, meter).await?;
    let upstream = &file.found.upstream;
    let below = place(upstream, RemoteKind::File, &file.upstream_id);
    let since = Instant::now();
    let done = async {
        if let Some(progress) = file.progress.as_ref().filter(|of| of.output.as_ref() == Some(&file.upstream_id)) {
            book::surely(asking, &file.found, progress).await?;
        }
        upstream.call(Method::DELETE, &below, asking.headers, None).await
    };
    let done = done.await;
    meter.wait(since.elapsed());
    match done {
        Ok(_) => {}
        // It expired there.
        Err(Trouble::Refused(StatusCode::NOT_FOUND, _)) if file.progress.is_none() => {}
        Err(trouble) => return Err(trouble.said(&[(&file.upstream_id, id)])),
    }
    if file.progress.is_none() {
        forget(asking, file.found.object.id).await?;
    }
    Ok(Given::Json(json!({ "id": id, "object": "file", "deleted": true }).to_string().into()))
}

// === Lists ===

/// What a list's query asks for.
struct Query<'q> {
    after: Option<&'q str>,
    before: Option<&'q str>,
    limit: Option<u32>,
    is_ascending: bool,
    purpose: Option<&'q str>,
}

impl<'q> Query<'q> {
    fn read(query: Option<&'q str>) -> Result<Self, Refusal> {
        let mut read = Self { after: None, before: None, limit: None, is_ascending: false, purpose: None };
        for pair in query.unwrap_or_default().split('&') {
            match pair.split_once('=').unwrap_or((pair, "")) {
                (_, "") => {}
                ("after" | "after_id", value) => read.after = Some(value),
                ("before_id", value) => read.before = Some(value),
                ("order", value) => read.is_ascending = value == "asc",
                ("purpose", value) => read.purpose = Some(value),
                ("limit", value) => {
                    let limit = value.parse().ok().filter(|limit| *limit > 0);
                    let wrong = || invalid("\"limit\" must be a whole number above zero").with_param("limit");
                    read.limit = Some(limit.ok_or_else(wrong)?);
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

fn cursor(id: Option<&str>) -> Result<Option<RemoteId>, Refusal> {
    id.map(|id| named(id).map(Named::object)).transpose()
}

/// Lists one more than is wanted, which proves that there are more.
async fn list(
    asking: &Asking<'_>,
    listing: Listing,
    meter: &mut dyn Meter,
) -> Result<(Vec<RemoteObject>, bool), Refusal> {
    let since = Instant::now();
    let asked = Listing { limit: listing.limit.saturating_add(1), ..listing };
    let listed = asking.host.store().list(asking.scope(), asked).await;
    meter.wait(since.elapsed());
    let mut listed = listed.map_err(|error| away(&error))?;
    let has_more = listed.len() > listing.limit as usize;
    listed.truncate(listing.limit as usize);
    Ok((listed, has_more))
}

/// Serves `GET /v1/files`: what was uploaded. A batch names its output itself.
pub(crate) async fn list_files(asking: &Asking<'_>, meter: &mut dyn Meter) -> Result<Given, Refusal> {
    let query = Query::read(asking.query)?;
    let listing = Listing {
        kind: RemoteKind::File,
        after: cursor(query.after)?,
        limit: query.limit.unwrap_or(999).min(999),
        is_ascending: query.is_ascending,
    };
    let is_wanted = query.purpose.is_none_or(|purpose| purpose == "batch");
    let (listed, has_more) = if is_wanted { list(asking, listing, meter).await? } else { (Vec::new(), false) };
    let data: Vec<Value> = listed.iter().map(shown_file).collect();
    Ok(Given::Json(page(&data, has_more, true).to_string().into()))
}

fn shown_file(object: &RemoteObject) -> Value {
    let facts = Facts::read(&object.facts).unwrap_or_default();
    json!({
        "id": Named::File(object.id).to_string(),
        "object": "file",
        "bytes": facts.bytes,
        "created_at": object.created_at.as_micros() / 1_000_000,
        "expires_at": object.expires_at.as_micros() / 1_000_000,
        "filename": facts.file_name,
        "purpose": "batch",
        "status": "processed",
        "status_details": null,
    })
}

fn page(data: &[Value], has_more: bool, is_openai: bool) -> Value {
    let id = |entry: Option<&Value>| entry.map_or(Value::Null, |entry| entry["id"].clone());
    let (first, last) = (id(data.first()), id(data.last()));
    let mut page = json!({ "data": data, "first_id": first, "last_id": last, "has_more": has_more });
    if is_openai {
        page["object"] = "list".into();
    }
    page
}

/// Shows each batch as its upstream has it now.
async fn show_all(
    asking: &Asking<'_>,
    listed: Vec<RemoteObject>,
    meter: &mut dyn Meter,
) -> Result<Vec<Value>, Refusal> {
    let mut found = Vec::with_capacity(listed.len());
    for object in listed {
        found.push(asking.open(object, meter)?);
    }
    let since = Instant::now();
    let shown = futures_util::stream::iter(found).map(|Found { object, facts, upstream }| async move {
        let id = match object.kind {
            RemoteKind::MessageBatch => Named::MessageBatch(object.id),
            RemoteKind::File | RemoteKind::Batch => Named::Batch(object.id),
        };
        let shown = ask(&upstream, &object, &facts).await;
        let shown = shown.map_err(|trouble| trouble.said(&ids(&object, &id.to_string())))?;
        Ok(show(&object, facts.input, shown))
    });
    let shown = shown.buffered(AT_ONCE).try_collect().await;
    meter.wait(since.elapsed());
    shown
}

/// Serves `GET /v1/batches`.
pub(crate) async fn list_batches(asking: &Asking<'_>, meter: &mut dyn Meter) -> Result<Given, Refusal> {
    let query = Query::read(asking.query)?;
    let listing = Listing {
        kind: RemoteKind::Batch,
        after: cursor(query.after)?,
        limit: query.limit.unwrap_or(20).min(100),
        is_ascending: false,
    };
    let (listed, has_more) = list(asking, listing, meter).await?;
    let data = show_all(asking, listed, meter).await?;
    Ok(Given::Json(page(&data, has_more, true).to_string().into()))
}

/// Serves `GET /v1/messages/batches`.
pub(crate) async fn list_messages(asking: &Asking<'_>, meter: &mut dyn Meter) -> Result<Given, Refusal> {
    let query = Query::read(asking.query)?;
    // The page before an entry is the one after it the other way round.
    let is_ascending = query.before.is_some();
    let listing = Listing {
        kind: RemoteKind::MessageBatch,
        after: cursor(query.before.or(query.after))?,
        limit: query.limit.unwrap_or(20).min(100),
        is_ascending,
    };
    let (mut listed, has_more) = list(asking, listing, meter).await?;
    if is_ascending {
        listed.reverse();
    }
    let data = show_all(asking, listed, meter).await?;
    Ok(Given::Json(page(&data, has_more, false).to_string().into()))
}
