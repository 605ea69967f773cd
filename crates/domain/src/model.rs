//! What is known of a model: its size, what it can do, what it reads and writes. Prices are apart ([`crate::price`]).

use crate::usage::text_enum;
use crate::{ModelId, OrganizationId, Timestamp};

text_enum! {
    /// What a model is for.
    ModelKind {
        /// Chat and completion.
        Chat = "chat",
        /// Text into vectors.
        Embedding = "embedding",
        /// Documents by how well they answer a query.
        Rerank = "rerank",
        /// Whether content is fit.
        Moderation = "moderation",
        /// Pictures.
        Image = "image",
        /// Text into speech.
        Speech = "speech",
        /// Speech into text.
        Transcription = "transcription",
        /// Sessions in which both sides speak.
        Realtime = "realtime",
    }
}

text_enum! {
    /// What a model can do beyond plain text.
    Capability {
        /// Calls tools.
        Tools = "tools",
        /// Obeys a JSON schema natively.
        JsonSchema = "json_schema",
        /// Thinks before it answers.
        Reasoning = "reasoning",
        /// Decides itself how much to think (Anthropic's `adaptive` with an effort).
        AdaptiveThinking = "adaptive_thinking",
        /// Bills repeated prompts at the cached rate.
        PromptCache = "prompt_cache",
        /// Takes `temperature`, `top_p` and their like.
        Sampling = "sampling",
    }
}

text_enum! {
    /// What goes in or comes out.
    Modality {
        /// Text.
        Text = "text",
        /// Images.
        Image = "image",
        /// Documents such as PDF.
        Document = "document",
        /// Sound.
        Audio = "audio",
        /// Moving pictures.
        Video = "video",
        /// Vectors.
        Vector = "vector",
    }
}

text_enum! {
    /// The form in which the numbers of a model are held where it is served, in the words of `OpenRouter`'s `quantizations`.
    Quantization {
        /// Integers of 4 bits.
        Int4 = "int4",
        /// Integers of 8 bits.
        Int8 = "int8",
        /// Floating point of 4 bits.
        Fp4 = "fp4",
        /// Floating point of 6 bits.
        Fp6 = "fp6",
        /// Floating point of 8 bits.
        Fp8 = "fp8",
        /// Floating point of 16 bits.
        Fp16 = "fp16",
        /// Brain floating point.
        Bf16 = "bf16",
        /// Floating point of 32 bits.
        Fp32 = "fp32",
    }
}

/// What is known of a model.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ModelFacts {
    /// What it is for.
    pub kind: ModelKind,
    /// Tokens that prompt and answer may have together.
    pub context_tokens: u64,
    /// Tokens an answer may have; `None` when nobody states any.
    pub max_output_tokens: Option<u64>,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// What it reads.
    pub input: Vec<Modality>,
    /// What it writes.
    pub output: Vec<Modality>,
    /// Length of its vectors.
    pub dimensions: Option<u32>,
}

impl ModelFacts {
    /// Says whether the model has an ability.
    #[must_use]
    pub fn can(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

/// A model that an organization describes itself: its own, or one of the catalog as it has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnModel {
    /// Its id.
    pub id: ModelId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The provider's name.
    pub provider: String,
    /// The model as the upstream names it; one description of each in an organization.
    pub upstream_model: String,
    /// What it is.
    pub facts: ModelFacts,
    /// How its numbers are held, if that was said.
    pub quantization: Option<Quantization>,
    /// Counts changes, from 1.
    pub version: u64,
    /// When it was described first.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl OwnModel {
    /// Most of them in an organization.
    pub const MAX: u64 = 1_000;
}
