//! Citations from one dialect's form to another's.
//!
//! Read into [`Citation`], written out of it; what a dialect has no form for is the writer's to report. A citation that was made up
//! here for Anthropic's clients carries [`OURS`], because that vendor takes none back that it did not give.

use crate::canonical::citation::{Citation, Place, Span, Unit};
use crate::canonical::json::Raw;
use crate::codec::json::{self, Array, Node, Object, ObjectWriter};

use super::Dialect;

const KIND: &str = "url_citation";
/// Stands where Anthropic keeps what proves a search result its own.
const OURS: &str = "headgate:";

/// Why a citation does not reach OpenAI's or Gemini's clients.
pub const NO_ADDRESS: &str = "annotations name addresses, and the source has none";

/// Returns the items of a list of annotations.
pub fn list(raw: &Raw) -> Vec<Raw> {
    let root = json::root(raw.as_str().as_bytes()).and_then(|root| root.array());
    root.map(|array| array.iter().map(|node| node.raw()).collect()).unwrap_or_default()
}

/// Says whether a client of `to` takes it as it is.
pub fn is_native(raw: &Raw, from: Dialect, to: Dialect) -> bool {
    from == to && Citation::of_raw(raw).is_none()
}

/// Adds a citation; some vendors repeat in each event what they said before, and know more of it later.
pub fn add(citation: Citation, all: &mut Vec<Citation>) {
    let is_same = |known: &&mut Citation| {
        let place = |it: &Citation| (it.span, it.place);
        let source = |it: &Citation| (it.url.clone(), it.id.clone(), it.quote.clone());
        place(known) == place(&citation) && source(known) == source(&citation)
    };
    match all.iter_mut().find(is_same) {
        Some(known) => *known = citation,
        None => all.push(citation),
    }
}

/// Leaves out of a list of Anthropic's what was made up here; `None` when nothing is left.
pub fn without_ours(raw: &Raw) -> Option<Raw> {
    if memchr::memmem::find(raw.as_str().as_bytes(), OURS.as_bytes()).is_none() {
        return Some(raw.clone());
    }
    let mut all = list(raw);
    all.retain(|raw| {
        let read = || json::root(raw.as_str().as_bytes()).ok()?.object().ok()?.find_boxed("encrypted_index").ok()?;
        read().as_deref() != Some(OURS)
    });
    Raw::of(&all).filter(|_| !all.is_empty())
}

// === Reading ===

/// Reads what a vendor wrote; nothing when it names no source that others could name.
pub fn read(raw: &Raw, from: Dialect) -> Vec<Citation> {
    if let Some(citation) = Citation::of_raw(raw) {
        return vec![citation];
    }
    let Some(object) = json::root(raw.as_str().as_bytes()).ok().and_then(|root| root.object().ok()) else {
        return Vec::new();
    };
    let one = match from {
        Dialect::OpenAiChat => object.report(KIND, read_openai).flatten(),
        Dialect::OpenAiResponses => read_openai(&object),
        Dialect::AnthropicMessages => read_anthropic(&object),
        Dialect::Gemini => return read_gemini(&object),
        Dialect::OpenAiCompletions => None,
    };
    one.into_iter().collect()
}

fn read_openai(object: &Object<'_, '_>) -> Option<Citation> {
    let ends = (object.find("start_index"), object.find("end_index"));
    let span = match ends {
        (Some(start), Some(end)) => start.u64().ok().zip(end.u64().ok()).map(|(start, end)| Span::Chars(start, end)),
        _ => None,
    };
    let (url, id) = (object.words("url"), object.words("file_id"));
    if url.is_none() && id.is_none() {
        return None;
    }
    let title = object.words("title").or_else(|| object.words("filename"));
    Some(Citation { span, url, id, title, quote: object.words("content"), place: None })
}

fn read_anthropic(object: &Object<'_, '_>) -> Option<Citation> {
    let units = [
        ("char_location", Unit::Char, "start_char_index", "end_char_index"),
        ("page_location", Unit::Page, "start_page_number", "end_page_number"),
        ("content_block_location", Unit::Block, "start_block_index", "end_block_index"),
    ];
    let kind = object.words("type")?;
    let place = units.iter().find(|(name, ..)| **name == *kind).map(|(_, unit, start, end)| Place {
        document: object.count("document_index"),
        unit: *unit,
        start: object.count(start),
        end: object.count(end),
    });
    let source = object.words("source");
    let is_address = source.as_deref().is_some_and(|source| source.starts_with("http"));
    let (url, id) = if is_address { (source, None) } else { (object.words("url"), source) };
    if url.is_none() && id.is_none() && place.is_none() {
        return None;
    }
    let title = object.words("title").or_else(|| object.words("document_title"));
    Some(Citation { span: None, url, id, title, quote: object.words("cited_text"), place })
}

/// Reads the object of one field of a candidate.
fn read_gemini(object: &Object<'_, '_>) -> Vec<Citation> {
    let list = |object: &Object<'_, '_>, names: [&str; 2], read: &mut dyn FnMut(&Object<'_, '_>)| {
        for name in names {
            let Some(array) = object.find(name).and_then(|node| node.array().ok()) else { continue };
            array.iter().filter_map(|node| node.object().ok()).for_each(|item| read(&item.camel()));
        }
    };
    let mut all = Vec::new();
    object.report("citationMetadata", |metadata| {
        list(metadata, ["citationSources", "citations"], &mut |item| {
            let span = Some(Span::Bytes(item.count("startIndex"), item.count("endIndex")));
            let (url, title) = (item.words("uri"), item.words("title"));
            if url.is_some() {
                all.push(Citation { span, url, title, ..Citation::default() });
            }
        });
    });
    object.report("groundingMetadata", |metadata| {
        let mut chunks = Vec::new();
        list(metadata, ["groundingChunks", "grounding_chunks"], &mut |item| {
            let kind = ["web", "retrievedContext", "maps"].iter().find_map(|kind| item.find(kind)?.object().ok());
            chunks.push(kind.map(|kind| (kind.words("uri"), kind.words("title"))).unwrap_or_default());
        });
        let cite = |span, number: usize| {
            let (url, title) = chunks.get(number)?.clone();
            url.is_some().then(|| Citation { span, url, title, ..Citation::default() })
        };
        list(metadata, ["groundingSupports", "grounding_supports"], &mut |item| {
            let read = |segment: &Object<'_, '_>| Span::Bytes(segment.count("startIndex"), segment.count("endIndex"));
            let span = item.report("segment", read);
            let numbers = item.find("groundingChunkIndices").and_then(|node| node.array().ok());
            let numbers = numbers.iter().flat_map(Array::iter).filter_map(|node: Node<'_, '_>| node.u64().ok());
            all.extend(numbers.filter_map(|number| cite(span, usize::try_from(number).ok()?)));
        });
        if all.is_empty() {
            all.extend((0..chunks.len()).filter_map(|number| cite(None, number)));
        }
    });
    all
}

// === Writing ===

/// Writes a citation of an address for OpenAI's clients, at characters of the whole text; `None` when it names no address.
pub fn write_openai(citation: &Citation, (start, end): (u64, u64), to: Dialect) -> Option<Raw> {
    let url = citation.url.as_deref()?;
    let fields = |object: &mut ObjectWriter<'_>| {
        object.u64("start_index", start);
        object.u64("end_index", end);
        object.str("title", citation.title.as_deref().unwrap_or(url));
        object.str("url", url);
    };
    Some(json::raw_object(|object| {
        object.str("type", KIND);
        if to == Dialect::OpenAiChat { object.object(KIND, fields) } else { fields(object) }
    }))
}

/// Writes a citation for Anthropic's clients; `None` when it names nothing.
pub fn write_anthropic(citation: &Citation) -> Option<Raw> {
    let title = |object: &mut ObjectWriter<'_>, name| match &citation.title {
        Some(title) => object.str(name, title),
        None => object.null(name),
    };
    let quote = citation.quote.as_deref().unwrap_or_default();
    if let Some(place) = citation.place {
        let (kind, start, end) = match place.unit {
            Unit::Char => ("char_location", "start_char_index", "end_char_index"),
            Unit::Page => ("page_location", "start_page_number", "end_page_number"),
            Unit::Block => ("content_block_location", "start_block_index", "end_block_index"),
        };
        return Some(json::raw_object(|object| {
            object.str("type", kind);
            object.str("cited_text", quote);
            object.u64("document_index", place.document);
            title(object, "document_title");
            object.u64(start, place.start);
            object.u64(end, place.end);
        }));
    }
    let url = citation.url.as_deref().or(citation.id.as_deref())?;
    Some(json::raw_object(|object| {
        object.str("type", "web_search_result_location");
        object.str("cited_text", quote);
        object.str("encrypted_index", OURS);
        title(object, "title");
        object.str("url", url);
    }))
}

/// Writes citations of addresses for Gemini's clients, each with the bytes of the text that it stands for.
pub fn write_gemini(cited: &[(Citation, (u64, u64))]) -> Option<Raw> {
    let mut sources: Vec<(&str, Option<&str>)> = Vec::new();
    let mut supports = Vec::new();
    for (citation, span) in cited {
        let Some(url) = citation.url.as_deref() else { continue };
        let at = sources.iter().position(|(known, _)| *known == url).unwrap_or_else(|| {
            sources.push((url, citation.title.as_deref()));
            sources.len() - 1
        });
        supports.push((at, *span));
    }
    if sources.is_empty() {
        return None;
    }
    Some(json::raw_object(|object| {
        object.array("groundingChunks", |array| {
            for (url, title) in &sources {
                array.object(|object| {
                    object.object("web", |object| {
                        object.str("uri", url);
                        object.opt_str("title", *title);
                    });
                });
            }
        });
        object.array("groundingSupports", |array| {
            for (at, (start, end)) in &supports {
                array.object(|object| {
                    object.object("segment", |object| {
                        object.u64("startIndex", *start);
                        object.u64("endIndex", *end);
                    });
                    object.array("groundingChunkIndices", |array| array.literal(&at.to_string()));
                });
            }
        });
    }))
}

// === Places in the text ===

/// Counts the text of a choice in bytes and characters, without keeping it.
#[derive(Debug, Default)]
pub struct Ruler {
    n_bytes: u64,
    /// A bit for each byte that does not begin a character; nothing while all text is ASCII.
    inner: Vec<u64>,
}

impl Ruler {
    /// Takes the next text in.
    pub fn push(&mut self, text: &str) {
        if !text.is_ascii() {
            for (at, byte) in (self.n_bytes..).zip(text.bytes()) {
                if byte & 0xC0 == 0x80 {
                    let word = index(at / 64);
                    self.inner.resize(self.inner.len().max(word + 1), 0);
                    self.inner[word] |= 1 << (at % 64);
                }
            }
        }
        self.n_bytes += text.len() as u64;
    }

    /// How many bytes have gone by.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// How many characters begin before a byte.
    pub fn chars(&self, byte: u64) -> u64 {
        let byte = byte.min(self.n_bytes);
        let whole = self.inner.iter().take(index(byte / 64)).map(|word| u64::from(word.count_ones())).sum::<u64>();
        let part = self.inner.get(index(byte / 64)).map_or(0, |word| (word & ((1 << (byte % 64)) - 1)).count_ones());
        byte - whole - u64::from(part)
    }

    /// Where a character begins.
    pub fn byte(&self, char: u64) -> u64 {
        // Characters only lag behind bytes, so the place is not before.
        let mut byte = char.min(self.n_bytes);
        while byte < self.n_bytes && (self.chars(byte) < char || self.is_inner(byte)) {
            byte += (char - self.chars(byte).min(char)).max(1);
        }
        byte.min(self.n_bytes)
    }

    fn is_inner(&self, byte: u64) -> bool {
        self.inner.get(index(byte / 64)).is_some_and(|word| word & (1 << (byte % 64)) != 0)
    }

    /// The bytes that a citation in a block means.
    pub fn bytes_of(&self, citation: &Citation, block: (u64, u64)) -> (u64, u64) {
        match citation.span {
            None => block,
            Some(Span::Bytes(start, end)) => (start.min(self.n_bytes), end.min(self.n_bytes)),
            Some(Span::Chars(start, end)) => {
                let before = self.chars(block.0);
                (self.byte(before.saturating_add(start)), self.byte(before.saturating_add(end)))
            }
        }
    }

    /// The characters that a citation in a block means.
    pub fn chars_of(&self, citation: &Citation, block: (u64, u64)) -> (u64, u64) {
        if let Some(Span::Chars(start, end)) = citation.span {
            let before = self.chars(block.0);
            return (before.saturating_add(start), before.saturating_add(end));
        }
        let (start, end) = self.bytes_of(citation, block);
        (self.chars(start), self.chars(end))
    }
}

fn index(word: u64) -> usize {
    usize::try_from(word).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ruler_counts_as_the_text_does() {
        let pieces = ["plain, ", "grüße ", "日本", "", " and 🦀", " the end"];
        let text = pieces.concat().repeat(9);
        let mut ruler = Ruler::default();
        (0..9).flat_map(|_| pieces).for_each(|piece| ruler.push(piece));
        for (number, (byte, _)) in text.char_indices().enumerate() {
            let number = number as u64;
            assert_eq!((ruler.chars(byte as u64), ruler.byte(number)), (number, byte as u64));
        }
        assert_eq!((ruler.byte(u64::MAX), ruler.chars(u64::MAX)), (text.len() as u64, text.chars().count() as u64));
    }

    #[test]
    fn what_was_made_up_for_anthropics_clients_does_not_go_to_anthropic() {
        let made = write_anthropic(&Citation { url: Some("https://a".into()), ..Citation::default() }).unwrap();
        let own = Raw::parse(r#"{"type":"char_location","cited_text":"headgate:"}"#).unwrap();
        assert_eq!(without_ours(&Raw::of(&[&made, &own]).unwrap()), Raw::of(&[&own]));
        assert_eq!(without_ours(&Raw::of(&[&made]).unwrap()), None);
    }
}
