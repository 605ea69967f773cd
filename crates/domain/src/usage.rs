//! What one client call used and cost: the single billing fact per request, with every attempt inside.

use crate::budget::Charge;
use crate::id::{
    CredentialId, DeploymentId, EnvironmentId, NodeId, OrganizationId, PriceId, RequestId, RouteId, VirtualKeyId,
    WorkspaceId,
};
use crate::image::ImageKind;
use crate::money::NanoUsd;
use crate::time::Timestamp;

/// Tokens by kind. `input`, `cached_input`, `cache_write_5m` and `cache_write_1h` are disjoint and sum to all that was read;
/// `reasoning` is a **subset** of `output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct TokenUsage {
    /// Input tokens at the full price.
    pub input: u64,
    /// Input tokens read from the provider's prompt cache.
    pub cached_input: u64,
    /// Input tokens written to a cache of five minutes (or of the provider's only kind).
    pub cache_write_5m: u64,
    /// Input tokens written to a cache of one hour.
    pub cache_write_1h: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
    /// The part of `output` that was reasoning, when the provider tells.
    pub reasoning: u64,
}

/// Tokens that were sound or pictures: each a **subset** of the kind of [`TokenUsage`] that it is named after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ModalUsage {
    /// The part of `input` that was sound.
    pub audio_input: u64,
    /// The part of `cached_input` that was sound.
    pub cached_audio_input: u64,
    /// The part of `output` that was sound.
    pub audio_output: u64,
    /// The part of `input` that was pictures.
    pub image_input: u64,
    /// The part of `cached_input` that was pictures.
    pub cached_image_input: u64,
    /// The part of `output` that was pictures.
    pub image_output: u64,
}

impl ModalUsage {
    /// Says whether all was text, as far as is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds kind by kind.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            audio_input: self.audio_input.saturating_add(other.audio_input),
            cached_audio_input: self.cached_audio_input.saturating_add(other.cached_audio_input),
            audio_output: self.audio_output.saturating_add(other.audio_output),
            image_input: self.image_input.saturating_add(other.image_input),
            cached_image_input: self.cached_image_input.saturating_add(other.cached_image_input),
            image_output: self.image_output.saturating_add(other.image_output),
        }
    }

    /// Takes the larger of each kind: streams report totals, so the largest is the last.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            audio_input: self.audio_input.max(other.audio_input),
            cached_audio_input: self.cached_audio_input.max(other.cached_audio_input),
            audio_output: self.audio_output.max(other.audio_output),
            image_input: self.image_input.max(other.image_input),
            cached_image_input: self.cached_image_input.max(other.cached_image_input),
            image_output: self.image_output.max(other.image_output),
        }
    }

    /// Bounds each part by its whole, sound first: what a vendor says beyond that was not understood.
    #[must_use]
    pub fn within(self, whole: &TokenUsage) -> Self {
        let audio_input = self.audio_input.min(whole.input);
        let cached_audio_input = self.cached_audio_input.min(whole.cached_input);
        let audio_output = self.audio_output.min(whole.output);
        Self {
            audio_input,
            cached_audio_input,
            audio_output,
            image_input: self.image_input.min(whole.input - audio_input),
            cached_image_input: self.cached_image_input.min(whole.cached_input - cached_audio_input),
            image_output: self.image_output.min(whole.output - audio_output),
        }
    }
}

impl TokenUsage {
    /// Returns all input tokens, cached or not.
    #[must_use]
    pub const fn total_input(&self) -> u64 {
        self.input
            .saturating_add(self.cached_input)
            .saturating_add(self.cache_write_5m)
            .saturating_add(self.cache_write_1h)
    }

    /// Returns input and output together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total_input().saturating_add(self.output)
    }

    /// Adds kind by kind.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached_input: self.cached_input.saturating_add(other.cached_input),
            cache_write_5m: self.cache_write_5m.saturating_add(other.cache_write_5m),
            cache_write_1h: self.cache_write_1h.saturating_add(other.cache_write_1h),
            output: self.output.saturating_add(other.output),
            reasoning: self.reasoning.saturating_add(other.reasoning),
        }
    }

    /// Takes a later report of the whole in place of an earlier one, unless it counts less altogether.
    ///
    /// For vendors whose kinds shift in the course of a stream: what turns out to come from a cache is then no fresh input, and
    /// the larger of each would be counted twice.
    #[must_use]
    pub const fn replaced_by(self, later: Self) -> Self {
        if later.total() < self.total() { self } else { later }
    }

    /// Takes the larger of each kind. Streams report running or final totals, so the largest is the last.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            input: self.input.max(other.input),
            cached_input: self.cached_input.max(other.cached_input),
            cache_write_5m: self.cache_write_5m.max(other.cache_write_5m),
            cache_write_1h: self.cache_write_1h.max(other.cache_write_1h),
            output: self.output.max(other.output),
            reasoning: self.reasoning.max(other.reasoning),
        }
    }
}

/// What is counted beside tokens, where vendors bill by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct UnitUsage {
    /// Pictures made.
    pub images: u64,
    /// Sound that was heard or made, in milliseconds.
    pub audio_ms: u64,
    /// Characters spoken.
    pub characters: u64,
    /// Searches: rankings of documents, or look-ups in the web.
    pub searches: u64,
    /// Pages read.
    pub pages: u64,
}

impl UnitUsage {
    /// Says whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds kind by kind.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            images: self.images.saturating_add(other.images),
            audio_ms: self.audio_ms.saturating_add(other.audio_ms),
            characters: self.characters.saturating_add(other.characters),
            searches: self.searches.saturating_add(other.searches),
            pages: self.pages.saturating_add(other.pages),
        }
    }

    /// Takes the larger of each kind: streams report totals, so the largest is the last.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            images: self.images.max(other.images),
            audio_ms: self.audio_ms.max(other.audio_ms),
            characters: self.characters.max(other.characters),
            searches: self.searches.max(other.searches),
            pages: self.pages.max(other.pages),
        }
    }
}

macro_rules! text_enum {
    ($(#[$enum_doc:meta])* $enum:ident { $($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)? }) => {
        $(#[$enum_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $enum {
            $($(#[$doc])* #[serde(rename = $text)] $name),+
        }

        impl $enum {
            /// Every value, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Returns the stable text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// Finds the value that a text names.
            #[must_use]
            pub fn find(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use text_enum;

text_enum! {
    /// How a request ended, as its client saw it.
    Outcome {
        /// A whole answer was given.
        Success = "success",
        /// Headgate refused; see the code.
        Rejected = "rejected",
        /// The upstream refused the request as invalid and the client was told so.
        UpstreamRejected = "upstream_rejected",
        /// Every attempt failed.
        UpstreamFailed = "upstream_failed",
        /// The upstream broke after the first byte had been relayed.
        UpstreamBroken = "upstream_broken",
        /// The client left before the end.
        ClientClosed = "client_closed",
        /// The node died in the middle; reported when it came back.
        Interrupted = "interrupted",
    }
}

text_enum! {
    /// Why a target was not tried, or only as a last resort.
    SkipReason {
        /// The deployment is switched off.
        Disabled = "disabled",
        /// Its credential is absent, revoked, of another provider, or cannot be opened at the node.
        NoCredential = "no_credential",
        /// The route took another branch.
        OtherBranch = "other_branch",
        /// The request itself left it out.
        Excluded = "excluded",
        /// It costs more than the request allows, or nobody knows what it costs.
        TooExpensive = "too_expensive",
        /// Its provider does more with what it is sent than the request allows, or nobody said what it does.
        DataPolicy = "data_policy",
        /// Its numbers are not held as the request asks.
        Quantization = "quantization",
        /// It cannot express what the request holds, and nothing may be dropped.
        Unsupported = "unsupported",
        /// The conversation holds reasoning that only its maker reads, and nothing may be dropped.
        ForeignReasoning = "foreign_reasoning",
        /// It failed repeatedly of late.
        Ejected = "ejected",
        /// Another call was just trying whether it is back.
        ProbeUnderWay = "probe_under_way",
        /// It asked for a pause.
        RateLimited = "rate_limited",
        /// It came back lately and is given its share little by little.
        Warming = "warming",
        /// Its credential failed at another target of the same call.
        CredentialFailed = "credential_failed",
        /// The retry budget of the model was used up.
        RetryBudget = "retry_budget",
        /// The pause before it would have outlasted the call.
        TooLate = "too_late",
        /// Its turn did not come.
        NotNeeded = "not_needed",
    }
}

text_enum! {
    /// How one attempt ended.
    AttemptOutcome {
        /// It gave the answer.
        Success = "success",
        /// The upstream answered with an error status.
        Status = "status",
        /// No connection.
        Connect = "connect",
        /// One of the four timeouts.
        Timeout = "timeout",
        /// The connection or the body broke.
        Broken = "broken",
        /// Given up because the client left.
        Cancelled = "cancelled",
        /// Not sent: its credential could not be opened or its request not be built.
        Unsendable = "unsendable",
    }
}

text_enum! {
    /// The operation a client called.
    Endpoint {
        /// OpenAI chat completions.
        ChatCompletions = "chat_completions",
        /// OpenAI embeddings.
        Embeddings = "embeddings",
        /// OpenAI legacy completions.
        Completions = "completions",
        /// OpenAI responses.
        Responses = "responses",
        /// Gemini content generation.
        GenerateContent = "generate_content",
        /// Documents ranked by a query.
        Rerank = "rerank",
        /// OpenAI moderations.
        Moderations = "moderations",
        /// OpenAI images, generated.
        ImageGenerations = "image_generations",
        /// OpenAI images, edited.
        ImageEdits = "image_edits",
        /// OpenAI images, varied.
        ImageVariations = "image_variations",
        /// OpenAI speech.
        Speech = "speech",
        /// OpenAI transcriptions.
        Transcriptions = "transcriptions",
        /// OpenAI translations of speech.
        Translations = "translations",
        /// A provider's own API.
        Passthrough = "passthrough",
        /// One turn of a realtime session, or something heard in it that was written down.
        Realtime = "realtime",
        /// A realtime session from its connection to its end; what it used is in its turns.
        RealtimeSession = "realtime_session",
        /// Files for batches, and their output.
        Files = "files",
        /// Batches of calls, of either form.
        Batches = "batches",
        /// The list of models.
        Models = "models",
        /// Anthropic messages.
        Messages = "messages",
        /// Token counting, in Anthropic's or Gemini's form.
        CountTokens = "count_tokens",
        /// Headgate's own: limits of a key, transformed requests.
        Own = "headgate",
        /// Anything else that reached the gateway.
        Other = "other",
    }
}

text_enum! {
    /// What an answer had to do with answers that are given again.
    CacheOutcome {
        /// Nothing.
        Off = "off",
        /// None was there, or a new one was wanted; an upstream was asked.
        Miss = "miss",
        /// One was given again.
        Hit = "hit",
        /// It is that of an identical call that was under way.
        Coalesced = "coalesced",
    }
}

/// An answer given again, and what that saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct CacheUse {
    /// What happened.
    pub outcome: CacheOutcome,
    /// Input tokens that the first call used, cached or not.
    pub saved_input: u64,
    /// Output tokens that it used.
    pub saved_output: u64,
    /// What it cost.
    pub saved_cost: NanoUsd,
}

impl Default for CacheUse {
    fn default() -> Self {
        Self { outcome: CacheOutcome::Off, saved_input: 0, saved_output: 0, saved_cost: NanoUsd::ZERO }
    }
}

impl CacheUse {
    /// Says whether the answer was another call's.
    #[must_use]
    pub const fn is_reused(&self) -> bool {
        matches!(self.outcome, CacheOutcome::Hit | CacheOutcome::Coalesced)
    }
}

impl Endpoint {
    /// Says whether a call of it is one that a model serves. Only those are in the ledger; all are in metrics and traces.
    #[must_use]
    pub const fn is_metered(self) -> bool {
        !matches!(self, Self::Models | Self::Own)
    }
}

/// One try against one target.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AttemptRecord {
    /// Counts from 1.
    pub n: u16,
    /// The deployment tried.
    pub deployment_id: DeploymentId,
    /// The credential used, if the provider takes one.
    pub credential_id: Option<CredentialId>,
    /// The provider's name.
    pub provider: String,
    /// The model as the upstream names it.
    pub upstream_model: String,
    /// When it was sent.
    pub started_at: Timestamp,
    /// From sending to the end, in microseconds.
    pub duration_us: u64,
    /// From sending to the first byte of the answer's body.
    pub first_byte_us: Option<u64>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The upstream's HTTP status, if it answered.
    pub status: Option<u16>,
    /// The upstream's own request id, if it gave one.
    pub upstream_request_id: Option<String>,
    /// What the upstream counted in this attempt; also failed attempts may be billed.
    pub usage: TokenUsage,
    /// The parts of it that were sound or pictures, when the provider tells and bills them apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modal: Option<Box<ModalUsage>>,
    /// What it counted beside tokens.
    #[serde(default)]
    pub units: UnitUsage,
    /// The kind of the pictures among them: as the answer says, else as the request did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Box<ImageKind>>,
    /// What this attempt cost.
    pub cost: NanoUsd,
}

/// How a call came to its target, without any of its content.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Routing {
    /// From arrival to the last byte of the request, in microseconds.
    pub received_us: u64,
    /// From arrival to the first attempt: what Headgate itself took lies between both.
    pub dispatched_us: u64,
    /// Targets that were passed over or put last, with the reason. Those whose turn just did not come are left out.
    pub skipped: Vec<Skipped>,
    /// How often another target went on with an answer that had broken off.
    pub continued: u16,
}

/// A target that was passed over or put last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Skipped {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// Why.
    pub reason: SkipReason,
}

/// The one billing fact of one client call.
///
/// Its id is the request's; (node, boot, seq) is its place in the node's spool. Both are unique in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent fact of the call")]
pub struct UsageEvent {
    /// The request; minted by the node when the call arrived, so it also tells when.
    pub id: RequestId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The workspace of the key.
    pub workspace_id: WorkspaceId,
    /// The environment of the key.
    pub environment_id: EnvironmentId,
    /// The key that called.
    pub virtual_key_id: VirtualKeyId,
    /// The node that served.
    pub node_id: NodeId,
    /// What was called.
    pub endpoint: Endpoint,
    /// The model the client asked for; empty when none was understood.
    pub model: String,
    /// The route that was taken, if the model named one.
    pub route_id: Option<RouteId>,
    /// The deployment that answered.
    pub deployment_id: Option<DeploymentId>,
    /// The provider that answered.
    pub provider: Option<String>,
    /// The model that answered, as the upstream names it.
    pub upstream_model: Option<String>,
    /// Whether the client asked for a stream.
    pub is_stream: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// The HTTP status the client saw; 499 when it left before one was sent.
    pub status: u16,
    /// The gateway code, when Headgate refused or gave up.
    pub code: Option<String>,
    /// Why the model stopped, in the vocabulary of the hub (`stop`, `length`, `tool_calls`, …).
    pub finish_reason: Option<String>,
    /// When the head of the request arrived.
    pub started_at: Timestamp,
    /// From arrival to the last byte, in microseconds.
    pub duration_us: u64,
    /// From arrival to the first byte of the answer's body.
    pub first_byte_us: Option<u64>,
    /// Time spent in Headgate itself, in microseconds.
    pub overhead_us: u64,
    /// Tokens over all attempts.
    pub usage: TokenUsage,
    /// What was counted beside tokens, over all attempts.
    #[serde(default)]
    pub units: UnitUsage,
    /// Whether `usage` or `units` is an estimate because the upstream did not tell.
    pub is_estimated: bool,
    /// Nothing could be counted: a call of a provider's own API in a form that is not known.
    #[serde(default)]
    pub is_unmetered: bool,
    /// Cost over all attempts.
    pub cost: NanoUsd,
    /// The dated price that `cost` was computed with; absent when nothing was priced.
    pub price_id: Option<PriceId>,
    /// Whether the answer was one given again, and what that saved; such an event has no attempts, tokens or cost of its own.
    pub cache: CacheUse,
    /// The revision of policy that decided.
    pub policy_revision: u64,
    /// `x-headgate-user`, at most 256 characters.
    pub end_user: Option<String>,
    /// `x-headgate-conversation-id`, at most 256 characters.
    pub conversation_id: Option<String>,
    /// `x-headgate-trace-id` or the trace id of `traceparent`.
    pub trace_id: Option<String>,
    /// `x-headgate-metadata`: at most 32 pairs.
    pub metadata: Vec<(String, String)>,
    /// How it came to its target; absent for what was refused before.
    pub routing: Option<Routing>,
    /// `x-headgate-tags`: at most 32.
    pub tags: Vec<String>,
    /// What could not be expressed at the target, as JSON paths.
    pub dropped: Vec<String>,
    /// Every try, in order.
    pub attempts: Vec<AttemptRecord>,
    /// What it took from accounts of budgets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charges: Vec<Charge>,
    /// Whether the caller showed the key's old secret, during a rotation. The ledger keeps of it when that was last.
    #[serde(default)]
    pub is_by_old_secret: bool,
}
