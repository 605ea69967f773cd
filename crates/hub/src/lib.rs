//! The hub between the languages of large language models: what a call and its answer mean, in no vendor's words. **Sans-IO.**
//!
//! Languages read into these types and write out of them; none is here, and no vendor is known. Beside the types stand the codecs that
//! every language needs and what languages share.

#![deny(missing_docs)]

pub mod canonical;
pub mod codec;
pub mod dialect;
