//! Where files and batches are at each vendor, and what its objects say in OpenAI's form.
//!
//! Whatever a client asks for by OpenAI's files and batches it gets in OpenAI's form. Invariant: what is not known of a vendor's
//! object is left out, and nothing in it says whose account it is.
//!
//! Facts, read November 2026. Together: docs.together.ai (reference/upload-file, reference/batch-create, docs/inference/batch). Mistral:
//! docs.mistral.ai/capabilities/batch, the SDK's `BatchJobOut`. Gemini: ai.google.dev/gemini-api/docs/batch-api and
//! ai.google.dev/api/batch-mode; its files go up as `multipart`, without a length, as public clients send them.

use domain::Timestamp;
use provider::BatchForm;
use serde_json::{Value, json};

use crate::facts::Facts;
use crate::form;
use crate::object::Object;

/// What is asked for below a vendor's place for files and batches. Ids are the vendor's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'a> {
    /// A new file.
    Upload,
    /// A file.
    File(&'a str),
    /// What is in a file.
    Content(&'a str),
    /// A new batch, of a model.
    Make(&'a str),
    /// A batch.
    Batch(&'a str),
    /// That a batch ends.
    Cancel(&'a str),
    /// The results of a batch that has no file of them.
    Results(&'a str),
}

/// Returns the path, maybe with a query, below what stands before all of them.
#[must_use]
pub fn path(form: BatchForm, what: What<'_>) -> String {
    use BatchForm::{Anthropic, Gemini, Mistral, Together};
    match (form, what) {
        (Anthropic, What::Upload | What::Make(_)) => String::new(),
        (Anthropic, What::Cancel(id)) => format!("/{}/cancel", segment(id)),
        (Anthropic, What::Results(id)) => format!("/{}/results", segment(id)),
        (Anthropic, What::File(id) | What::Content(id) | What::Batch(id)) => format!("/{}", segment(id)),
        (Gemini, What::Upload) => "upload/v1beta/files".to_owned(),
        (Gemini, What::File(id)) => format!("v1beta/files/{}", segment(id)),
        (Gemini, What::Content(id)) => format!("download/v1beta/files/{}:download?alt=media", segment(id)),
        (Gemini, What::Make(model)) => format!("v1beta/models/{}:batchGenerateContent", segment(model)),
        (Gemini, What::Batch(id) | What::Results(id)) => format!("v1beta/batches/{}", segment(id)),
        (Gemini, What::Cancel(id)) => format!("v1beta/batches/{}:cancel", segment(id)),
        (Mistral, What::Make(_)) => "batch/jobs".to_owned(),
        (Mistral, What::Batch(id) | What::Results(id)) => format!("batch/jobs/{}", segment(id)),
        (Mistral, What::Cancel(id)) => format!("batch/jobs/{}/cancel", segment(id)),
        (Together, What::Upload) => "files/upload".to_owned(),
        (_, What::Upload) => "files".to_owned(),
        (_, What::File(id)) => format!("files/{}", segment(id)),
        (_, What::Content(id)) => format!("files/{}/content", segment(id)),
        (_, What::Make(_)) => "batches".to_owned(),
        (_, What::Batch(id) | What::Results(id)) => format!("batches/{}", segment(id)),
        (_, What::Cancel(id)) => format!("batches/{}/cancel", segment(id)),
    }
}

/// An id is one segment; the address is checked when it is made.
fn segment(id: &str) -> String {
    id.replace('/', "%2F").replace('?', "%3F")
}

// === Uploads ===

/// Returns the headers of an upload besides its type.
#[must_use]
pub const fn upload_headers(form: BatchForm) -> &'static [(&'static str, &'static str)] {
    match form {
        BatchForm::Gemini => &[("x-goog-upload-protocol", "multipart")],
        _ => &[],
    }
}

/// Returns the media type of an upload.
#[must_use]
pub fn upload_type(form: BatchForm) -> String {
    if form == BatchForm::Gemini { form::related_type() } else { form::content_type() }
}

/// Writes what stands in a form before the file's bytes.
#[must_use]
pub fn preamble(form: BatchForm, file_name: &str, forwarded: &[(String, String)]) -> String {
    let mut out = match form {
        BatchForm::Gemini => {
            let file = json!({ "file": { "display_name": file_name } });
            return form::json("metadata", &file.to_string()) + &form::file_start(file_name, "application/jsonl");
        }
        BatchForm::Together => {
            let name = form::field("file_name", &form::plain(file_name));
            form::field("purpose", "batch-api") + &name + &form::field("file_type", "jsonl")
        }
        _ => form::field("purpose", "batch"),
    };
    for (name, value) in forwarded {
        out += &form::field(name, value);
    }
    out + &form::file_start(file_name, "application/octet-stream")
}

/// Says whether fields of a form besides `purpose` go on.
#[must_use]
pub const fn takes_fields(form: BatchForm) -> bool {
    matches!(form, BatchForm::OpenAi)
}

/// Puts a file's object into OpenAI's form.
#[must_use]
pub fn file(form: BatchForm, mut object: Object) -> Object {
    match form {
        BatchForm::OpenAi | BatchForm::Anthropic => object,
        BatchForm::Together | BatchForm::Mistral => {
            let created = object.seconds("created_at").map_or(0, seconds);
            let bytes = count(&object, &["bytes", "size_bytes"]);
            let name = object.text("filename").unwrap_or_default().to_owned();
            shown_file(object.text("id"), bytes, created, None, &name)
        }
        BatchForm::Gemini => {
            object = object.object("file").unwrap_or(object);
            let at = |name: &str| instant(&object, name).map(seconds);
            let name = object.text("displayName").unwrap_or_default();
            let bytes = count(&object, &["sizeBytes"]);
            shown_file(object.text("name").map(bare), bytes, at("createTime").unwrap_or(0), at("expirationTime"), name)
        }
    }
}

fn shown_file(id: Option<&str>, bytes: u64, created: i64, expires: Option<i64>, name: &str) -> Object {
    let mut shown = Object::default();
    if let Some(id) = id {
        shown.put("id", id);
    }
    shown.put("object", "file");
    shown.put("bytes", bytes);
    shown.put("created_at", created);
    if let Some(expires) = expires {
        shown.put("expires_at", expires);
    }
    shown.put("filename", name);
    shown.put("purpose", "batch");
    shown.put("status", "processed");
    shown
}

// === Batches ===

/// Writes the wish for a batch as the vendor takes it; `dropped` gets what it has no place for.
#[must_use]
pub fn wish(form: BatchForm, mut wish: Object, file: &str, facts: &Facts, dropped: &mut Vec<String>) -> Value {
    let model = facts.models.first().map_or("", |model| model.upstream.as_str());
    let (body, known): (_, &[&str]) = match form {
        BatchForm::OpenAi | BatchForm::Anthropic | BatchForm::Together => {
            wish.put("input_file_id", file);
            return wish.write();
        }
        BatchForm::Mistral => {
            let mut job = json!({ "input_files": [file], "model": model, "endpoint": facts.endpoint });
            let hours = wish.text("completion_window").and_then(|window| window.strip_suffix('h'));
            if let Some(hours) = hours.and_then(|hours| hours.parse::<u32>().ok()) {
                job["timeout_hours"] = hours.into();
            }
            if let Some(metadata) = wish.value("metadata").filter(|value| value.is_object()) {
                job["metadata"] = metadata.clone();
            }
            (job, &["input_file_id", "endpoint", "completion_window", "metadata"])
        }
        BatchForm::Gemini => {
            let input = json!({ "file_name": format!("files/{file}") });
            let batch = json!({ "batch": { "display_name": "headgate", "input_config": input } });
            (batch, &["input_file_id", "endpoint", "completion_window"])
        }
    };
    dropped.extend(wish.names().filter(|name| !known.contains(name)).map(str::to_owned));
    body
}

/// Puts a batch's object into OpenAI's form.
#[must_use]
pub fn batch(form: BatchForm, object: Object, facts: &Facts) -> Object {
    match form {
        BatchForm::OpenAi | BatchForm::Anthropic => object,
        BatchForm::Together => together(&object.object("job").unwrap_or(object), facts),
        BatchForm::Mistral => mistral(&object, facts),
        BatchForm::Gemini => gemini(&object, facts),
    }
}

/// The words for a batch that is over, and the fields that say when; then those for one under way.
const ENDS: &[(&str, &str)] =
    &[("completed", "completed_at"), ("failed", "failed_at"), ("expired", "expired_at"), ("cancelled", "cancelled_at")];

fn word_of(words: &[(&str, &'static str)], word: &str) -> &'static str {
    // A word that is not known is of a batch that is not over.
    words.iter().find(|(theirs, _)| *theirs == word).map_or("in_progress", |(_, ours)| ours)
}

/// What every batch has, in the order in which OpenAI's reference has it.
fn shown_batch(id: Option<&str>, facts: &Facts, status: &str, ended_at: Option<Timestamp>) -> Object {
    let mut shown = Object::default();
    if let Some(id) = id {
        shown.put("id", id);
    }
    for (name, value) in [
        ("object", "batch".into()),
        ("endpoint", facts.endpoint.as_str().into()),
        ("errors", Value::Null),
        ("input_file_id", Value::Null),
        ("completion_window", "24h".into()),
        ("status", status.into()),
        ("output_file_id", Value::Null),
        ("error_file_id", Value::Null),
    ] {
        shown.put(name, value);
    }
    if let Some((_, field)) = ENDS.iter().find(|(word, _)| *word == status)
        && let Some(at) = ended_at
    {
        shown.put(field, seconds(at));
    }
    shown
}

fn put_errors(shown: &mut Object, messages: impl Iterator<Item = String>) {
    let data: Vec<Value> = messages.map(|message| json!({ "code": "batch_failed", "message": message })).collect();
    if !data.is_empty() {
        shown.put("errors", json!({ "object": "list", "data": data }));
    }
}

fn put_counts(shown: &mut Object, total: u64, completed: u64, failed: u64) {
    shown.put("request_counts", json!({ "total": total, "completed": completed, "failed": failed }));
}

fn together(object: &Object, facts: &Facts) -> Object {
    const WORDS: &[(&str, &str)] = &[
        ("VALIDATING", "validating"),
        ("IN_PROGRESS", "in_progress"),
        ("COMPLETED", "completed"),
        ("FAILED", "failed"),
        ("EXPIRED", "expired"),
        ("CANCELLED", "cancelled"),
    ];
    let status = word_of(WORDS, object.text("status").unwrap_or_default());
    let mut shown = shown_batch(object.text("id"), facts, status, instant(object, "completed_at"));
    shown.put("created_at", instant(object, "created_at").map_or(0, seconds));
    if let Some(at) = instant(object, "job_deadline") {
        shown.put("expires_at", seconds(at));
    }
    for name in ["output_file_id", "error_file_id", "metadata", "progress"] {
        if let Some(value) = object.value(name) {
            shown.put(name, value.clone());
        }
    }
    put_errors(&mut shown, object.text("error").filter(|error| !error.is_empty()).map(str::to_owned).into_iter());
    shown
}

fn mistral(object: &Object, facts: &Facts) -> Object {
    const WORDS: &[(&str, &str)] = &[
        ("QUEUED", "validating"),
        ("RUNNING", "in_progress"),
        ("SUCCESS", "completed"),
        ("FAILED", "failed"),
        ("TIMEOUT_EXCEEDED", "expired"),
        ("CANCELLATION_REQUESTED", "cancelling"),
        ("CANCELLED", "cancelled"),
    ];
    let status = word_of(WORDS, object.text("status").unwrap_or_default());
    let mut shown = shown_batch(object.text("id"), facts, status, object.seconds("completed_at"));
    shown.put("created_at", object.seconds("created_at").map_or(0, seconds));
    if let Some(at) = object.seconds("started_at") {
        shown.put("in_progress_at", seconds(at));
    }
    for (theirs, ours) in [("output_file", "output_file_id"), ("error_file", "error_file_id"), ("metadata", "metadata")]
    {
        if let Some(value) = object.value(theirs) {
            shown.put(ours, value.clone());
        }
    }
    let of = |name| count(object, &[name]);
    put_counts(&mut shown, of("total_requests"), of("succeeded_requests"), of("failed_requests"));
    let errors = object.value("errors").and_then(Value::as_array).into_iter().flatten();
    put_errors(&mut shown, errors.filter_map(|error| error["message"].as_str().map(str::to_owned)));
    shown
}

fn gemini(object: &Object, facts: &Facts) -> Object {
    const WORDS: &[(&str, &str)] = &[
        ("PENDING", "validating"),
        ("RUNNING", "in_progress"),
        ("SUCCEEDED", "completed"),
        ("FAILED", "failed"),
        ("CANCELLED", "cancelled"),
        ("EXPIRED", "expired"),
    ];
    let metadata = object.object("metadata").unwrap_or_default();
    // `BATCH_STATE_…` in the reference, `JOB_STATE_…` in the guide.
    let state = metadata.text("state").and_then(|state| state.rsplit_once("STATE_")).map_or("", |(_, word)| word);
    let error = object.object("error");
    let status = if error.is_some() && state.is_empty() { "failed" } else { word_of(WORDS, state) };
    let ended_at = instant(&metadata, "endTime").or_else(|| instant(&metadata, "updateTime"));
    let mut shown = shown_batch(object.text("name").map(bare), facts, status, ended_at);
    shown.put("created_at", instant(&metadata, "createTime").map_or(0, seconds));
    let of = |place: &Object| place.text("responsesFile").map(|file| bare(file).to_owned());
    let output = object.object("response").as_ref().and_then(of);
    let output = output.or_else(|| metadata.object("output").as_ref().and_then(of));
    // Failed calls stand among the others.
    if let Some(output) = output {
        shown.put("output_file_id", output);
    }
    if let Some(stats) = metadata.object("batchStats") {
        let of = |name| count(&stats, &[name]);
        put_counts(&mut shown, of("requestCount"), of("successfulRequestCount"), of("failedRequestCount"));
    }
    put_errors(&mut shown, error.and_then(|error| error.text("message").map(str::to_owned)).into_iter());
    shown
}

/// A resource's name without what kind it is.
fn bare(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, bare)| bare)
}

fn instant(object: &Object, name: &str) -> Option<Timestamp> {
    object.text(name)?.parse().ok()
}

const fn seconds(at: Timestamp) -> i64 {
    at.as_micros() / 1_000_000
}

/// A count, as a number or, as Google writes them, as a text.
fn count(object: &Object, names: &[&str]) -> u64 {
    let of = |name: &&str| object.number(name).or_else(|| object.text(name)?.parse().ok());
    names.iter().find_map(of).unwrap_or(0)
}

#[cfg(test)]
mod tests;
