//! OpenAI's responses.
//!
//! A conversation is a flat list of items: messages, calls, results, reasoning, calls of the vendor's own tools. Here
//! the assistant's items in a row are one message, and the first block of each item holds the item's id
//! ([`Block::ITEM`](hub::canonical::content::Block::ITEM)), so the list comes back as it was. Items of the vendor's own
//! tools are opaque: they return to OpenAI whole and are a loss elsewhere.

pub mod compaction;
pub mod conversation;
mod custom;
mod failure;
mod read_answer;
mod read_items;
mod read_request;
mod write_input;
mod write_items;
mod write_request;
mod write_stream;

use hub::canonical::content::Content;
use hub::canonical::error::EncodeError;
use hub::canonical::event::FinishReason;
use hub::canonical::json::Rest;
use hub::canonical::loss::Loss;
use hub::canonical::request::ChatRequest;
use hub::codec::json;

use super::openai_usage::{RESPONSES as USAGE, fields_of};
use hub::dialect::{AnswerOptions, Decoder, Dialect, Encoder, Mode, Undo};

pub use super::openai_chat::{decode_error, encode_error, encode_model, encode_models};
pub use custom::as_functions;
pub use failure::encode_error_event;
pub use read_request::decode_request;
pub use write_request::encode_request;

/// Makes a reader of answers.
#[must_use]
pub fn decoder(mode: Mode, undo: Undo) -> Box<dyn Decoder> {
    Box::new(read_answer::AnswerDecoder::new(mode, undo))
}

/// Makes a writer of answers.
#[must_use]
pub fn encoder(mode: Mode, options: AnswerOptions) -> Box<dyn Encoder> {
    Box::new(write_stream::AnswerEncoder::new(mode, options))
}

/// Picks the fields of a request body that its answer repeats; none for another dialect's body.
#[must_use]
pub fn echo_of(dialect: Dialect, body: &[u8]) -> Rest {
    let mut echo = Rest::default();
    if dialect == Dialect::OpenAiResponses
        && let Ok(root) = json::root(body)
        && let Ok(object) = root.object()
    {
        for name in REPEATED {
            if let Some(node) = object.find(name) {
                echo.push(name, node.raw());
            }
        }
    }
    echo
}

/// Refuses what only an upstream that keeps answers can do; for every other dialect.
pub fn refuse_state(request: &ChatRequest) -> Result<(), EncodeError> {
    let refuse = |path: &str, reason: &str| Err(EncodeError { path: path.into(), reason: reason.into() });
    if request.state.previous.is_some() {
        return refuse(
            "previous_response_id",
            "the upstream keeps no answers; send the earlier items in `input`, or choose a model that is served by \
             OpenAI's responses",
        );
    }
    if request.state.background == Some(true) {
        return refuse("background", "the upstream answers at once only; leave `background` out");
    }
    if request.origin != Dialect::OpenAiResponses {
        return Ok(());
    }
    for (name, reason) in [
        ("conversation", "the upstream keeps no conversations; send the items in `input`"),
        ("prompt", "the prompt is stored at OpenAI; send its text in `instructions` or `input`"),
    ] {
        if request.rest.find(name).is_some() {
            return refuse(name, reason);
        }
    }
    let mut blocks = request.messages.iter().flat_map(|message| &message.content);
    if blocks.any(|block| matches!(&block.content, Content::Opaque(opaque) if opaque.kind == "item_reference")) {
        return refuse(
            "input",
            "an item_reference names an item that is stored at OpenAI; send the item whole instead",
        );
    }
    Ok(())
}

/// Sets right what another dialect's writer says about a request of this one: ids of items are no loss, while parts of the
/// answer that it cannot ask for are.
pub fn report(request: &ChatRequest, losses: &mut Vec<Loss>) {
    if request.origin != Dialect::OpenAiResponses {
        return;
    }
    losses.retain(|loss| !loss.path.ends_with(".item"));
    for name in &request.state.include {
        if !matches!(&**name, ENCRYPTED_REASONING | LOGPROBS) {
            losses.push(Loss::dropped("include", &format!("only OpenAI's responses have {name}")));
        }
    }
}

/// Fields that an answer repeats from its request.
const REPEATED: [&str; 17] = [
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
];

const ENCRYPTED_REASONING: &str = "reasoning.encrypted_content";
const LOGPROBS: &str = "message.output_text.logprobs";

/// Fields of a request that mean the same in chat completions.
pub(super) const COMMON: [&str; 5] =
    ["moderation", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier"];

/// Fields of a message item that are more than its id.
const MESSAGE_FIELDS: [&str; 1] = ["phase"];

/// The kinds of item that the caller answers the model with; all others are the model's.
fn is_callers(kind: &str) -> bool {
    kind.ends_with("_output") || matches!(kind, "mcp_approval_response" | "item_reference" | "additional_tools")
}

/// Reads `incomplete_details.reason`; the word itself comes back when ours says less.
fn read_incomplete(word: &str) -> (FinishReason, Option<Box<str>>) {
    match word {
        "max_output_tokens" => (FinishReason::Length, None),
        "content_filter" => (FinishReason::ContentFilter, None),
        _ => (FinishReason::Other, Some(word.into())),
    }
}

/// The word for why an answer is incomplete; `None` when it is complete.
fn incomplete_word(reason: FinishReason) -> Option<&'static str> {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence | FinishReason::ToolUse | FinishReason::Other => None,
        FinishReason::Length | FinishReason::ContextWindow | FinishReason::Pause => Some("max_output_tokens"),
        FinishReason::ContentFilter => Some("content_filter"),
    }
}
