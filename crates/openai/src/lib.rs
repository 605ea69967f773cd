//! OpenAI's languages: chat completions, responses, legacy completions, embeddings, and everything compatible with them.
//!
//! Each reads into the hub and writes out of it. They share the words for errors and usage; no other vendor's language is known here.

#![deny(missing_docs)]

pub mod openai_chat;
pub mod openai_completions;
pub mod openai_embeddings;
pub mod openai_responses;
pub mod openai_usage;
mod probability;
