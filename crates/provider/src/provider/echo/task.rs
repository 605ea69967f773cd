//! Echo's answers to operations besides chat: documents ranked by the words they share with the query, a picture whose colours
//! and a sound whose tones come from the words of the request.
//!
//! Invariant: the same request gives the same answer, save for id and time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::usage::{TokenUsage, UnitUsage};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::{Call, LocalAnswer, PrepareError, Stamp};
use crate::estimate;
use crate::task::{Task, rank, rerank_answer, tell_ranked, wave};

/// Most pictures of one call, as OpenAI's.
const MAX_IMAGES: u64 = 10;
/// Characters that sound; the rest is silent.
const MAX_SPOKEN: usize = 4_096;
/// Width and height of a picture: a field of 8 × 8 colours.
const PIXELS: usize = 64;

/// Answers a task; `None` for those that echo does not do.
pub(super) fn answer(
    call: &Call<'_>,
    task: Task,
    upstream_model: &str,
    stamp: &Stamp<'_>,
) -> Option<Result<LocalAnswer, PrepareError>> {
    match task {
        Task::Rerank => Some(ranked(call, upstream_model, stamp)),
        Task::ImageGeneration => Some(pictures(call, stamp)),
        Task::Speech => Some(spoken(call)),
        _ => None,
    }
}

fn invalid(field: &'static str, reason: &str) -> PrepareError {
    PrepareError::Invalid { field, reason: reason.to_owned() }
}

fn object(call: &Call<'_>) -> Result<Value, PrepareError> {
    serde_json::from_slice(call.body).map_err(|_| invalid("body", "must be a JSON object"))
}

fn json_answer(body: &Value, usage: TokenUsage, units: UnitUsage) -> LocalAnswer {
    LocalAnswer {
        content_type: "application/json",
        chunks: vec![Bytes::from(body.to_string())],
        usage,
        units,
        is_estimated: false,
    }
}

// === Ranking ===

fn ranked(call: &Call<'_>, upstream_model: &str, stamp: &Stamp<'_>) -> Result<LocalAnswer, PrepareError> {
    let asked = object(call)?;
    let ranked = rank(&asked, shared)?;
    let usage = TokenUsage { input: estimate::text_guess(&asked.to_string()).max(1), ..TokenUsage::default() };
    let units = UnitUsage { searches: 1, ..UnitUsage::default() };
    let Some(mut body) = rerank_answer(&asked, upstream_model, &ranked) else {
        return Err(invalid("documents", "must be an array"));
    };
    body["id"] = stamp.id.into();
    tell_ranked(&mut body, Some(usage.input), units.searches);
    Ok(json_answer(&body, usage, units))
}

/// Returns the share of the query's words that a document has.
fn shared(query: &str, document: &str) -> f64 {
    let words = |text: &str| -> std::collections::BTreeSet<String> {
        text.split(|letter: char| !letter.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let (wanted, has) = (words(query), words(document));
    let n_shared = u32::try_from(wanted.intersection(&has).count()).unwrap_or(u32::MAX);
    f64::from(n_shared) / f64::from(u32::try_from(wanted.len()).unwrap_or(u32::MAX).max(1))
}

// === Pictures ===

fn pictures(call: &Call<'_>, stamp: &Stamp<'_>) -> Result<LocalAnswer, PrepareError> {
    let asked = object(call)?;
    let prompt = asked["prompt"].as_str().ok_or_else(|| invalid("prompt", "must be a string"))?;
    let n = asked["n"].as_u64().unwrap_or(1);
    if !(1..=MAX_IMAGES).contains(&n) {
        return Err(invalid("n", "echo makes 1 to 10 pictures"));
    }
    let picture = |number: u64| {
        let bytes = STANDARD.encode(png(prompt, number));
        match asked["response_format"].as_str() {
            Some("url") => json!({"url": format!("data:image/png;base64,{bytes}")}),
            _ => json!({"b64_json": bytes}),
        }
    };
    let data: Vec<Value> = (0..n).map(picture).collect();
    let usage = TokenUsage { input: estimate::text_guess(prompt).max(1), ..TokenUsage::default() };
    let units = UnitUsage { images: n, ..UnitUsage::default() };
    let usage_told = json!({"input_tokens": usage.input, "output_tokens": 0, "total_tokens": usage.input});
    let body = json!({"created": stamp.now.as_secs(), "data": data, "usage": usage_told});
    Ok(json_answer(&body, usage, units))
}

/// Draws a field of 8 × 8 colours that are the prompt's own.
fn png(prompt: &str, number: u64) -> Vec<u8> {
    let mut raw = Vec::with_capacity(PIXELS * (PIXELS * 3 + 1));
    let colours: Vec<[u8; 3]> = (0..64_u64)
        .map(|place| {
            let hash =
                Sha256::new().chain_update(prompt).chain_update([0]).chain_update((number << 8 | place).to_le_bytes());
            let digest = hash.finalize();
            [digest[0], digest[1], digest[2]]
        })
        .collect();
    for y in 0..PIXELS {
        // Every line begins with its filter: none.
        raw.push(0);
        for x in 0..PIXELS {
            raw.extend_from_slice(&colours[y / 8 * 8 + x / 8]);
        }
    }
    let side = u32::try_from(PIXELS).unwrap_or(0).to_be_bytes();
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    // Eight bits a colour, three colours, no interlace.
    chunk(&mut out, *b"IHDR", &[&side[..], &side, &[8, 2, 0, 0, 0]].concat());
    chunk(&mut out, *b"IDAT", &stored(&raw));
    chunk(&mut out, *b"IEND", &[]);
    out
}

fn chunk(out: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(0).to_be_bytes());
    let at = out.len();
    out.extend_from_slice(&kind);
    out.extend_from_slice(data);
    let sum = crc32(&out[at..]);
    out.extend_from_slice(&sum.to_be_bytes());
}

/// Wraps bytes as a zlib stream of blocks that are not compressed (RFC 1950, RFC 1951).
fn stored(raw: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = raw.chunks(0xFFFF).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(0);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in raw {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    out.extend_from_slice(&(b << 16 | a).to_be_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 })
    };
    !bytes.iter().fold(u32::MAX, step)
}

// === Sound ===

fn spoken(call: &Call<'_>) -> Result<LocalAnswer, PrepareError> {
    let asked = object(call)?;
    let input = asked["input"].as_str().ok_or_else(|| invalid("input", "must be a string"))?;
    if input.is_empty() {
        return Err(invalid("input", "must not be empty"));
    }
    if !matches!(asked["response_format"].as_str(), None | Some("wav" | "mp3")) {
        return Err(invalid("response_format", "echo speaks wav"));
    }
    let units = UnitUsage { characters: input.chars().count() as u64, ..UnitUsage::default() };
    Ok(LocalAnswer {
        content_type: "audio/wav",
        chunks: vec![Bytes::from(wave(&tones(input)))],
        usage: TokenUsage::default(),
        units,
        is_estimated: false,
    })
}

/// Gives every character a tone of a twentieth of a second: a square wave, as high as the character's number says.
fn tones(text: &str) -> Vec<i16> {
    const LENGTH: u32 = 400;
    let mut samples = Vec::new();
    for letter in text.chars().take(MAX_SPOKEN) {
        let period = 8 + u32::from(letter) % 40;
        let is_silent = letter.is_whitespace();
        samples.extend((0..LENGTH).map(|at| match (is_silent, at % period < period / 2) {
            (true, _) => 0,
            (false, true) => 4_000,
            (false, false) => -4_000,
        }));
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_that_share_words_come_first() {
        assert!((shared("the cat", "A cat, the cat!") - 1.0).abs() < 1e-9);
        assert!((shared("the cat", "a dog and the bird") - 0.5).abs() < 1e-9);
        assert!(shared("", "x") < 1e-9);
    }

    #[test]
    fn a_picture_is_a_png() {
        let picture = png("a cat", 0);
        assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n") && picture.ends_with(b"IEND\xae\x42\x60\x82"));
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(png("a cat", 0), picture);
        assert_ne!(png("a cat", 1), picture);
    }
}
