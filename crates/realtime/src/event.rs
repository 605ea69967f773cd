//! Finds the few events of the protocol that begin, end or bill a turn; everything else is none of ours.
//!
//! A message is searched for their names first, which costs nothing beside sending it; only one that may be such an event is
//! read. What a client sends could also spell a name with JSON's escapes, so an escape counts as every name. Invariant: no
//! event that is looked for passes unnoticed, however it is written; nothing here panics on any input.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use domain::usage::{ModalUsage, TokenUsage, UnitUsage};
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A count beyond this is no count: no answer has a trillion tokens.
const MOST_TOKENS: u64 = 1 << 40;
/// Seconds of sound beyond this are no count.
const MOST_SECONDS: f64 = 1e9;

static FROM_CLIENT: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["response.create", "session.update", "\\u"].map(Finder::new));
static FROM_UPSTREAM: LazyLock<[Finder<'static>; 6]> = LazyLock::new(|| {
    ["response.created", "response.done", "transcription.completed", "session.", "\"error\"", "rate_limits.updated"]
        .map(Finder::new)
});

/// What a client's event is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromClient<'a> {
    /// Nothing.
    Other,
    /// It may be one that is looked for, and cannot be read.
    Unreadable,
    /// A turn is asked for.
    ResponseCreate {
        /// The client's own name for the event.
        event_id: Option<Cow<'a, str>>,
    },
    /// The session's settings are changed.
    SessionUpdate {
        /// The client's own name for the event.
        event_id: Option<Cow<'a, str>>,
        /// The model, when it is said.
        model: Option<Cow<'a, str>>,
        /// The model that is to write down what is heard, when it is said.
        transcription: Option<Box<str>>,
    },
}

/// What an upstream's event is to us.
#[derive(Debug, Clone, PartialEq)]
pub enum FromUpstream<'a> {
    /// Nothing.
    Other,
    /// The session's settings.
    Session {
        /// The model that writes down what is heard, if one does.
        transcription: Option<Box<str>>,
    },
    /// A turn has begun.
    Began {
        /// Its id.
        id: Cow<'a, str>,
    },
    /// A turn is over.
    Done(Done),
    /// Something heard was written down.
    Transcribed(Transcribed),
    /// The upstream complains.
    Failed(UpstreamError),
    /// The upstream will not take more for this long.
    Exhausted(Duration),
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// With a whole answer.
    Completed,
    /// With as much as its limit of tokens allowed.
    CutShort,
    /// The upstream's filter stopped it.
    Filtered,
    /// The client broke in, by an event or by speaking.
    Cancelled,
    /// The upstream failed.
    Failed,
}

/// A turn that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its id; empty when the upstream gave none.
    pub id: Box<str>,
    /// How it ended.
    pub status: Status,
    /// Whether it calls a tool.
    pub calls_tool: bool,
    /// What it used; `None` when the upstream did not say.
    pub usage: Option<TokenUsage>,
    /// The parts of it that were sound or pictures.
    pub modal: ModalUsage,
    /// The upstream's word for what failed.
    pub error_code: Option<Box<str>>,
}

/// Something heard that was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcribed {
    /// The id of the item.
    pub item: Box<str>,
    /// Tokens, when it is billed by them.
    pub usage: TokenUsage,
    /// The parts of them that were sound.
    pub modal: ModalUsage,
    /// Sound, when it is billed by its length.
    pub units: UnitUsage,
    /// Whether the upstream said what it used.
    pub is_counted: bool,
}

impl Transcribed {
    /// Says whether the upstream said that it used nothing.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.is_counted && self.usage.total() == 0 && self.units == UnitUsage::default()
    }
}

/// An upstream's complaint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamError {
    /// Its class, such as `invalid_request_error`.
    pub kind: Box<str>,
    /// Its code.
    pub code: Box<str>,
}

// === What is read of events ===

#[derive(Deserialize)]
struct ClientHead<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    event_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    session: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ClientSession<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    audio: Option<Audio>,
    input_audio_transcription: Option<Named>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Session {
    audio: Option<Audio>,
    input_audio_transcription: Option<Named>,
}

/// Which model writes down what is heard: where the newer API says it, else where the older one does.
fn hearing(newer: Option<Audio>, older: Option<Named>) -> Option<Box<str>> {
    newer.and_then(|audio| audio.input?.transcription).or(older).and_then(|named| named.model)
}

#[derive(Deserialize)]
struct UpstreamHead<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    session: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    item_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    rate_limits: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Audio {
    input: Option<AudioInput>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AudioInput {
    transcription: Option<Named>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Named {
    model: Option<Box<str>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Response<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    status_details: Option<StatusDetails>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StatusDetails {
    reason: Option<Box<str>>,
    error: Option<ErrorBody>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorBody {
    #[serde(rename = "type")]
    kind: Option<Box<str>>,
    code: Option<Box<str>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Item<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Usage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_token_details: Option<InputDetails>,
    output_token_details: Option<Modes>,
    /// Of a transcription that is billed by time.
    seconds: Option<f64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Option<u64>,
    #[serde(flatten)]
    modes: Modes,
    cached_tokens_details: Option<Modes>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(default)]
struct Modes {
    #[serde(rename = "text_tokens")]
    text: Option<u64>,
    #[serde(rename = "audio_tokens")]
    audio: Option<u64>,
    #[serde(rename = "image_tokens")]
    image: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RateLimit {
    remaining: Option<f64>,
    reset_seconds: Option<f64>,
}

/// Reads an event of a client.
#[must_use]
pub fn from_client(text: &str) -> FromClient<'_> {
    if !is_any(&*FROM_CLIENT, text) {
        return FromClient::Other;
    }
    let Ok(head) = serde_json::from_str::<ClientHead<'_>>(text) else { return FromClient::Unreadable };
    match &*head.kind {
        "response.create" => FromClient::ResponseCreate { event_id: head.event_id },
        // The second is the older API's, of sessions that only write down what is heard.
        "session.update" | "transcription_session.update" => {
            let session = head.session.map_or(Ok(ClientSession::default()), |raw| serde_json::from_str(raw.get()));
            let Ok(ClientSession { model, audio, input_audio_transcription: older }) = session else {
                return FromClient::Unreadable;
            };
            FromClient::SessionUpdate { event_id: head.event_id, model, transcription: hearing(audio, older) }
        }
        _ => FromClient::Other,
    }
}

/// Puts another model into a client's `session.update`; `None` when there is none to replace.
#[must_use]
pub fn with_model(text: &str, model: &str) -> Option<String> {
    let mut event: serde_json::Value = serde_json::from_str(text).ok()?;
    *event.get_mut("session")?.get_mut("model")? = model.into();
    Some(event.to_string())
}

/// Reads an event of an upstream.
#[must_use]
pub fn from_upstream(text: &str) -> FromUpstream<'_> {
    if !is_any(&*FROM_UPSTREAM, text) {
        return FromUpstream::Other;
    }
    let Ok(head) = serde_json::from_str::<UpstreamHead<'_>>(text) else { return FromUpstream::Other };
    match &*head.kind {
        "session.created" | "session.updated" | "transcription_session.created" | "transcription_session.updated" => {
            FromUpstream::Session { transcription: head.session.and_then(transcription_of) }
        }
        "response.created" => {
            let response = head.response.and_then(|raw| serde_json::from_str::<Response<'_>>(raw.get()).ok());
            match response.and_then(|response| response.id) {
                Some(id) => FromUpstream::Began { id },
                None => FromUpstream::Other,
            }
        }
        "response.done" => FromUpstream::Done(done_of(head.response)),
        "conversation.item.input_audio_transcription.completed" => {
            let item = head.item_id.unwrap_or_default().as_ref().into();
            let read = head.usage.and_then(|raw| serde_json::from_str::<Usage>(raw.get()).ok());
            let read = read.filter(|usage| usage.seconds.is_some() || usage.has_tokens());
            let is_counted = read.is_some();
            let read = read.unwrap_or_default();
            let (usage, modal) = read.tokens();
            FromUpstream::Transcribed(Transcribed { item, usage, modal, units: read.units(), is_counted })
        }
        "error" => {
            let read = head.error.and_then(|raw| serde_json::from_str::<ErrorBody>(raw.get()).ok()).unwrap_or_default();
            let (kind, code) = (read.kind.unwrap_or_default(), read.code.unwrap_or_default());
            FromUpstream::Failed(UpstreamError { kind, code })
        }
        "rate_limits.updated" => {
            head.rate_limits.and_then(exhausted).map_or(FromUpstream::Other, FromUpstream::Exhausted)
        }
        _ => FromUpstream::Other,
    }
}

fn is_any(finders: &[Finder<'_>], text: &str) -> bool {
    finders.iter().any(|finder| finder.find(text.as_bytes()).is_some())
}

fn transcription_of(session: &RawValue) -> Option<Box<str>> {
    let Session { audio, input_audio_transcription: older } = serde_json::from_str(session.get()).ok()?;
    hearing(audio, older)
}

fn done_of(response: Option<&RawValue>) -> Done {
    let read = response.and_then(|raw| serde_json::from_str::<Response<'_>>(raw.get()).ok()).unwrap_or_default();
    let details = read.status_details.unwrap_or_default();
    let status = match read.status.as_deref() {
        Some("failed") => Status::Failed,
        Some("cancelled") => Status::Cancelled,
        Some("incomplete") if details.reason.as_deref() == Some("content_filter") => Status::Filtered,
        Some("incomplete") => Status::CutShort,
        _ => Status::Completed,
    };
    let usage = read.usage.and_then(|raw| serde_json::from_str::<Usage>(raw.get()).ok());
    let usage = usage.filter(Usage::has_tokens).map(|usage| usage.tokens());
    let items = read.output.and_then(|raw| serde_json::from_str::<Vec<Item<'_>>>(raw.get()).ok()).unwrap_or_default();
    let is_tool = |item: &Item<'_>| matches!(item.kind.as_deref(), Some("function_call" | "mcp_call"));
    Done {
        id: read.id.unwrap_or_default().as_ref().into(),
        status,
        calls_tool: items.iter().any(is_tool),
        usage: usage.map(|(usage, _)| usage),
        modal: usage.map(|(_, modal)| modal).unwrap_or_default(),
        error_code: details.error.and_then(|error| error.code),
    }
}

/// How long the upstream takes nothing more; `None` while it does.
fn exhausted(limits: &RawValue) -> Option<Duration> {
    let limits: Vec<RateLimit> = serde_json::from_str(limits.get()).ok()?;
    let used_up = limits.iter().filter(|limit| limit.remaining.is_some_and(|left| left <= 0.0));
    let longest = used_up.filter_map(|limit| limit.reset_seconds).fold(0.0, f64::max);
    Duration::try_from_secs_f64(longest).ok().filter(|longest| !longest.is_zero())
}

impl Modes {
    fn sum(self) -> u64 {
        let [text, audio, image] = [self.text, self.audio, self.image].map(Option::unwrap_or_default);
        text.saturating_add(audio).saturating_add(image)
    }
}

impl Usage {
    fn has_tokens(&self) -> bool {
        let is_sane = |count: Option<u64>| count.is_none_or(|count| count <= MOST_TOKENS);
        (self.input_tokens.is_some() || self.output_tokens.is_some())
            && is_sane(self.input_tokens)
            && is_sane(self.output_tokens)
    }

    /// Tokens by kind: what the vendor counts as input holds what came from the cache, and each has a part that was sound.
    fn tokens(&self) -> (TokenUsage, ModalUsage) {
        let input = self.input_token_details.as_ref();
        let modes = input.map(|details| details.modes).unwrap_or_default();
        let of_cache = input.and_then(|details| details.cached_tokens_details).unwrap_or_default();
        let total = self.input_tokens.unwrap_or(0);
        let cached = input.and_then(|details| details.cached_tokens).unwrap_or_else(|| of_cache.sum()).min(total);
        let fresh = total - cached;
        let cached_audio = of_cache.audio.unwrap_or(0).min(cached);
        let cached_image = of_cache.image.unwrap_or(0).min(cached - cached_audio);
        let audio = modes.audio.unwrap_or(0).saturating_sub(cached_audio).min(fresh);
        let image = modes.image.unwrap_or(0).saturating_sub(cached_image).min(fresh - audio);
        let output = self.output_tokens.unwrap_or(0);
        let audio_output = self.output_token_details.unwrap_or_default().audio.unwrap_or(0).min(output);
        let usage = TokenUsage { input: fresh, cached_input: cached, output, ..TokenUsage::default() };
        let modal = ModalUsage {
            audio_input: audio,
            cached_audio_input: cached_audio,
            audio_output,
            image_input: image,
            cached_image_input: cached_image,
            // Sessions speak and write, and make no pictures.
            image_output: 0,
        };
        (usage, modal)
    }

    fn units(&self) -> UnitUsage {
        let seconds = self.seconds.filter(|seconds| (0.0..MOST_SECONDS).contains(seconds)).unwrap_or(0.0);
        let audio_ms = u64::try_from(Duration::from_secs_f64(seconds).as_millis()).unwrap_or(0);
        UnitUsage { audio_ms, ..UnitUsage::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DONE: &str = r#"{"type":"response.done","event_id":"event_1","response":{"object":"realtime.response","id":"resp_1",
        "status":"completed","status_details":null,"output":[{"id":"item_1","type":"message","content":[{"type":"audio","transcript":"\"response.created\""}]}],
        "usage":{"total_tokens":821,"input_tokens":789,"output_tokens":32,
            "input_token_details":{"text_tokens":313,"audio_tokens":476,"cached_tokens":640,"cached_tokens_details":{"text_tokens":256,"audio_tokens":384}},
            "output_token_details":{"text_tokens":9,"audio_tokens":23}}}}"#;

    #[test]
    fn a_turns_usage_is_split_by_kind() {
        let FromUpstream::Done(done) = from_upstream(DONE) else { panic!("it is the end of a turn") };
        assert_eq!((&*done.id, done.status, done.calls_tool), ("resp_1", Status::Completed, false));
        let modal = ModalUsage { audio_input: 92, cached_audio_input: 384, audio_output: 23, ..ModalUsage::default() };
        let usage = TokenUsage { input: 149, cached_input: 640, output: 32, ..TokenUsage::default() };
        assert_eq!((done.usage, done.modal), (Some(usage), modal));
        assert_eq!(usage.total(), 821);
    }

    #[test]
    fn a_turn_ends_in_five_ways() {
        let done = |response: &str| {
            let text = format!(r#"{{"event_id":"e","response":{response},"type":"response.done"}}"#);
            match from_upstream(&text) {
                FromUpstream::Done(done) => done,
                other => panic!("{other:?}"),
            }
        };
        let status = |response: &str| done(response).status;
        assert_eq!(status(r#"{"status":"cancelled","status_details":{"reason":"turn_detected"}}"#), Status::Cancelled);
        assert_eq!(
            status(r#"{"status":"incomplete","status_details":{"reason":"max_output_tokens"}}"#),
            Status::CutShort
        );
        assert_eq!(status(r#"{"status":"incomplete","status_details":{"reason":"content_filter"}}"#), Status::Filtered);
        let failed =
            done(r#"{"id":"r","status":"failed","status_details":{"type":"failed","error":{"code":"server_error"}}}"#);
        assert_eq!(
            (failed.status, failed.error_code.as_deref(), failed.usage),
            (Status::Failed, Some("server_error"), None)
        );
        assert!(done(r#"{"output":[{"type":"message"},{"type":"function_call","name":"f"}]}"#).calls_tool);
        for odd in ["null", "7", r#"{"usage":null}"#, r#"{"usage":{"input_tokens":-1}}"#, r#"{"usage":{}}"#] {
            assert_eq!(done(odd).usage, None, "{odd}");
        }
        assert_eq!(done(r#"{"usage":{"input_tokens":99999999999999}}"#).usage, None);
    }

    #[test]
    fn a_transcription_is_billed_by_tokens_or_by_time() {
        let read = |usage: &str| {
            let text = format!(
                r#"{{"type":"conversation.item.input_audio_transcription.completed","item_id":"item_1","transcript":"x"{usage}}}"#
            );
            match from_upstream(&text) {
                FromUpstream::Transcribed(it) => it,
                other => panic!("{other:?}"),
            }
        };
        let tokens = read(
            r#","usage":{"type":"tokens","input_tokens":17,"output_tokens":9,"input_token_details":{"audio_tokens":17}}"#,
        );
        assert_eq!((tokens.usage.input, tokens.usage.output, tokens.modal.audio_input), (17, 9, 17));
        assert_eq!((&*tokens.item, tokens.is_counted), ("item_1", true));
        assert_eq!(read(r#","usage":{"type":"duration","seconds":2.5}"#).units.audio_ms, 2_500);
        assert!(!read("").is_counted);
        assert!(!read(r#","usage":null"#).is_counted);
        assert_eq!(read(r#","usage":{"seconds":1e300}"#).units.audio_ms, 0);
    }

    #[test]
    fn sessions_tell_which_model_writes_down() {
        let transcription = |session: &str| {
            let text = format!(r#"{{"type":"session.updated","session":{session}}}"#);
            match from_upstream(&text) {
                FromUpstream::Session { transcription } => transcription.map(String::from),
                other => panic!("{other:?}"),
            }
        };
        let newer = r#"{"type":"realtime","audio":{"input":{"transcription":{"model":"whisper-1"}}}}"#;
        assert_eq!(transcription(newer).as_deref(), Some("whisper-1"));
        assert_eq!(
            transcription(r#"{"input_audio_transcription":{"model":"whisper-1"}}"#).as_deref(),
            Some("whisper-1")
        );
        assert_eq!(transcription(r#"{"audio":null}"#), None);
    }

    #[test]
    fn a_used_up_limit_says_until_when() {
        let limits = |list: &str| {
            from_upstream(&format!(r#"{{"type":"rate_limits.updated","rate_limits":{list}}}"#)).clone_static()
        };
        let some = r#"[{"name":"requests","limit":1000,"remaining":999,"reset_seconds":60},{"name":"tokens","remaining":0,"reset_seconds":1.5}]"#;
        assert_eq!(limits(some), Some(Duration::from_millis(1_500)));
        assert_eq!(limits(r#"[{"name":"requests","remaining":1,"reset_seconds":60}]"#), None);
        assert_eq!(limits(r#"[{"remaining":0,"reset_seconds":-1}]"#), None);
    }

    impl FromUpstream<'_> {
        fn clone_static(&self) -> Option<Duration> {
            match self {
                FromUpstream::Exhausted(until) => Some(*until),
                _ => None,
            }
        }
    }

    #[test]
    fn no_spelling_hides_what_a_client_asks_for() {
        let create = FromClient::ResponseCreate { event_id: None };
        for text in [
            r#"{"type":"response.create"}"#,
            r#"{ "response" : {"conversation":"none"}, "type" : "response.create" }"#,
            r#"{"type":"response.creat\u0065"}"#,
            r#"{"t\u0079pe":"\u0072esponse\u002ecreate"}"#,
        ] {
            assert_eq!(from_client(text), create, "{text}");
        }
        for text in [r#"{"type":"x","type":"response.create"}"#, r#"{"type":"response.create""#] {
            assert_eq!(from_client(text), FromClient::Unreadable, "{text}");
        }
        let said = r#"{"type":"conversation.item.create","item":{"content":[{"type":"input_text","text":"response.create"}]}}"#;
        assert_eq!(from_client(said), FromClient::Other);
        assert_eq!(from_client(r#"{"type":"input_audio_buffer.append","audio":"AAAA"}"#), FromClient::Other);
    }

    #[test]
    fn a_model_in_an_update_is_found_and_replaced() {
        let text = r#"{"type":"session.update","event_id":"e1","session":{"type":"realtime","model":"voice","temperature":0.8}}"#;
        let FromClient::SessionUpdate { event_id, model, .. } = from_client(text) else { panic!("it is an update") };
        assert_eq!((event_id.as_deref(), model.as_deref()), (Some("e1"), Some("voice")));
        let replaced = with_model(text, "gpt-realtime").unwrap();
        assert_eq!(replaced, text.replace("voice", "gpt-realtime"));
        assert_eq!(with_model(r#"{"type":"session.update","session":{}}"#, "m"), None);
        assert_eq!(from_client(r#"{"type":"session.update","session":{"model":7}}"#), FromClient::Unreadable);
    }

    #[test]
    fn a_model_that_is_to_write_down_is_found_in_either_api() {
        for (kind, session, expected) in [
            ("session.update", r#"{"audio":{"input":{"transcription":{"model":"whisper-1"}}}}"#, Some("whisper-1")),
            ("session.update", r#"{"input_audio_transcription":{"model":"whisper-1"}}"#, Some("whisper-1")),
            (
                "transcription_session.update",
                r#"{"input_audio_transcription":{"model":"whisper-1"}}"#,
                Some("whisper-1"),
            ),
            ("session.update", r#"{"audio":{"input":{"transcription":null}},"input_audio_transcription":null}"#, None),
            ("session.update", r#"{"instructions":"whisper-1"}"#, None),
        ] {
            let text = format!(r#"{{"type":"{kind}","session":{session}}}"#);
            let FromClient::SessionUpdate { transcription, .. } = from_client(&text) else { panic!("{text}") };
            assert_eq!(transcription.as_deref(), expected, "{text}");
        }
        let twice =
            r#"{"type":"session.update","session":{"audio":{"input":{"transcription":{"model":"a","model":"b"}}}}}"#;
        assert_eq!(from_client(twice), FromClient::Unreadable);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "\\PC{0,80}", name in "response\\.(created?|done)|error|session\\.update|rate_limits\\.updated") {
            let _ = (from_client(&text), from_upstream(&text));
            let event = format!(r#"{{"type":"{name}","response":{text},"error":{text},"session":{text}}}"#);
            let _ = (from_client(&event), from_upstream(&event));
        }

        #[test]
        fn parts_never_exceed_their_whole(input in 0_u64..100, cached in 0_u64..200, audio in 0_u64..200, cached_audio in 0_u64..200, image in 0_u64..200, output in 0_u64..50, audio_output in 0_u64..100) {
            let modes = |audio, image| Modes { text: None, audio: Some(audio), image: Some(image) };
            let usage = Usage {
                input_tokens: Some(input),
                output_tokens: Some(output),
                input_token_details: Some(InputDetails { cached_tokens: Some(cached), modes: modes(audio, image), cached_tokens_details: Some(modes(cached_audio, image)) }),
                output_token_details: Some(modes(audio_output, 0)),
                seconds: None,
            };
            let (read, modal) = usage.tokens();
            prop_assert_eq!(read.total_input(), input);
            prop_assert!(modal.audio_input + modal.image_input <= read.input);
            prop_assert!(modal.cached_audio_input + modal.cached_image_input <= read.cached_input);
            prop_assert!(modal.audio_output <= read.output);
        }
    }
}
