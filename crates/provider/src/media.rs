//! Pictures and documents that stand at addresses: which an upstream fetches itself, and those that were fetched for it.
//!
//! Nothing is fetched here: what a call lacks is listed, and what somebody brought is put in its place. Invariant: what is put in is
//! of the kind that its own first bytes say, whatever the server that sent it called it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub use wire::{Fetches, Reach};

use crate::provider::{Call, Operation, Provider, Speech};
use llm::canonical::content::{Block, Content, Source};
use llm::canonical::request::ChatRequest;
use llm::dialect::Dialect;

/// What is wanted of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A picture.
    Image,
    /// A document.
    Document,
}

impl Kind {
    /// Says it in a message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "picture",
            Self::Document => "document",
        }
    }

    /// Finds the media type by the first bytes; `None` when they are not of this kind.
    #[must_use]
    pub fn media_type(self, bytes: &[u8]) -> Option<&'static str> {
        let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
        match (self, bytes) {
            (Self::Image, [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..]) => Some("image/png"),
            (Self::Image, [0xFF, 0xD8, 0xFF, ..]) => Some("image/jpeg"),
            (Self::Image, [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..]) => Some("image/gif"),
            (Self::Image, _) if is_webp => Some("image/webp"),
            (Self::Document, [b'%', b'P', b'D', b'F', b'-', ..]) => Some("application/pdf"),
            _ => None,
        }
    }
}

/// An address whose bytes a call lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The address.
    pub url: Box<str>,
    /// What is expected there.
    pub kind: Kind,
}

/// What was brought for a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inlined(Vec<(Need, Brought)>);

/// The bytes of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Brought {
    media_type: &'static str,
    data: String,
}

impl Inlined {
    /// Says whether nothing was brought.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says whether something was brought from an address.
    #[must_use]
    pub fn has(&self, need: &Need) -> bool {
        self.0.iter().any(|(known, _)| known == need)
    }

    /// Takes the bytes of an address in. False: they are not what was wanted.
    #[must_use]
    pub fn bring(&mut self, need: Need, bytes: &[u8]) -> bool {
        let Some(media_type) = need.kind.media_type(bytes) else { return false };
        self.0.push((need, Brought { media_type, data: STANDARD.encode(bytes) }));
        true
    }

    /// Takes everything in that another has.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// What a request shows that is not sent: a word in place of the bytes.
    #[must_use]
    pub fn shown(needs: &[Need]) -> Self {
        let stand_in = |need: &Need| {
            let media_type = match need.kind {
                Kind::Image => "image/png",
                Kind::Document => "application/pdf",
            };
            (need.clone(), Brought { media_type, data: STANDARD.encode("(fetched)") })
        };
        Self(needs.iter().map(stand_in).collect())
    }

    /// Puts the bytes where the addresses stand.
    pub(crate) fn put(&self, request: &mut ChatRequest) {
        for message in &mut request.messages {
            walk(&mut message.content, &mut |kind, source| {
                let Source::Url(url) = source else { return };
                if let Some((_, brought)) = self.0.iter().find(|(need, _)| need.kind == kind && *need.url == **url) {
                    let Brought { media_type, data } = brought.clone();
                    *source = Source::Base64 { media_type: media_type.to_owned(), data };
                }
            });
        }
    }
}

/// Lists what a call, or a count of its tokens, lacks for a model, each address once. Empty also when the call cannot be read: preparing it
/// says why.
pub(crate) fn needs<P: Provider + ?Sized>(provider: &P, call: &Call<'_>, upstream_model: &str) -> Vec<Need> {
    let (Operation::Chat(client) | Operation::CountTokens(client)) = call.operation else { return Vec::new() };
    if !call.scan.has_images() && call.scan.n_files == 0 {
        return Vec::new();
    }
    let speech = provider.speech(client, upstream_model);
    // What a client says in the upstream's own words is between the two; but Claude is resold by clouds that fetch nothing.
    let is_own = matches!(speech, Speech::Dialect(spoken) if spoken == client && spoken != Dialect::AnthropicMessages);
    let fetches = provider.fetches(speech);
    if is_own || fetches == Fetches::ALL {
        return Vec::new();
    }
    let Ok(mut request) = call.decode(client, upstream_model) else { return Vec::new() };
    let mut all: Vec<Need> = Vec::new();
    for message in &mut request.messages {
        walk(&mut message.content, &mut |kind, source| {
            let Source::Url(url) = source else { return };
            let reach = if kind == Kind::Image { fetches.images } else { fetches.documents };
            if !is_reached(url, reach) && !all.iter().any(|need| need.kind == kind && *need.url == **url) {
                all.push(Need { url: url.as_str().into(), kind });
            }
        });
    }
    all
}

/// Says whether the upstream gets at an address; of schemes that nobody can fetch, that is between it and the client.
fn is_reached(url: &str, reach: Reach) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("https") => reach != Reach::Nothing || is_googles(url),
        Some("http") => reach == Reach::Any,
        _ => true,
    }
}

/// Says whether an address means something to Gemini that is not the bytes that stand there: uploads and films.
fn is_googles(url: &str) -> bool {
    let places = [
        "https://generativelanguage.googleapis.com/",
        "https://www.youtube.com/",
        "https://youtube.com/",
        "https://youtu.be/",
    ];
    places.iter().any(|place| url.starts_with(place))
}

fn walk(blocks: &mut [Block], visit: &mut dyn FnMut(Kind, &mut Source)) {
    for block in blocks {
        match &mut block.content {
            Content::Image(image) => visit(Kind::Image, &mut image.source),
            Content::Document(document) => visit(Kind::Document, &mut document.source),
            Content::ToolResult(result) => walk(&mut result.content, visit),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_first_bytes() {
        let webp = b"RIFF\x10\0\0\0WEBPVP8 ";
        for (bytes, image) in [
            (&b"\x89PNG\r\n\x1a\n\0"[..], Some("image/png")),
            (b"\xFF\xD8\xFF\xE0", Some("image/jpeg")),
            (b"GIF89a\0", Some("image/gif")),
            (webp, Some("image/webp")),
            (b"%PDF-1.7", None),
            (b"<svg xmlns", None),
            (b"", None),
        ] {
            assert_eq!(Kind::Image.media_type(bytes), image);
        }
        assert_eq!(Kind::Document.media_type(b"%PDF-1.7"), Some("application/pdf"));
        assert_eq!(Kind::Document.media_type(b"<html>"), None);
    }

    #[test]
    fn addresses_that_nobody_can_fetch_are_left_to_the_upstream() {
        assert!(is_reached("gs://bucket/a", Reach::Nothing) && is_reached("s3://bucket/a", Reach::Nothing));
        assert!(!is_reached("HTTP://a/", Reach::Https) && is_reached("https://a/", Reach::Https));
        assert!(is_reached("https://generativelanguage.googleapis.com/v1beta/files/a", Reach::Nothing));
        assert!(!is_reached("https://generativelanguage.googleapis.com.evil.example/", Reach::Nothing));
    }
}
