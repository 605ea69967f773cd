//! How many tokens a request has, before anyone has counted them.
//!
//! Two answers: [`input_bound`] is a bound for holds and budgets, [`input_guess`] is the likeliest number for people. Neither
//! is ever billed. Not a tokenizer: vendors publish none for most models, and a wrong one would look exact.

use crate::scan::Scan;

/// Most tokens one image costs: OpenAI's high detail tops out near 1,500 (2,833 for the small models' multiplier is the worst
/// published), Anthropic's at 1,600 (4,784 for the high-resolution models). Read November 2026.
pub const IMAGE_BOUND: u64 = 4_800;
/// What an image usually costs: 1,000 × 1,000 pixels.
pub const IMAGE_GUESS: u64 = 1_000;
/// Tokens the vendor adds around each message, at most.
const MESSAGE_BOUND: u64 = 16;
/// Tokens the vendor adds for tool use (Anthropic publishes up to 804 for older models) and to begin an answer.
const FIXED_BOUND: u64 = 1_024;
/// Bytes of a document per token, at the least: a page of PDF is both text and image.
const FILE_BYTES_PER_TOKEN: u64 = 1;

/// Returns an upper bound of the input tokens of a scanned request.
///
/// Every tokenizer in use is byte-level at the bottom: no token is shorter than a byte of text, and the prompt's spans with
/// all their punctuation are at least as long as what the model reads. Media are bounded per part. Not bounded: files and
/// images that are only named by an id or an address, beyond [`IMAGE_BOUND`] each.
#[must_use]
pub fn input_bound(scan: &Scan) -> u64 {
    let files = if scan.n_files == 0 { 0 } else { scan.media_bytes / FILE_BYTES_PER_TOKEN };
    [
        scan.prompt_bytes,
        scan.n_messages.saturating_mul(MESSAGE_BOUND),
        scan.n_images.saturating_mul(IMAGE_BOUND),
        scan.n_files.saturating_mul(IMAGE_BOUND),
        files,
        FIXED_BOUND,
    ]
    .into_iter()
    .fold(0, u64::saturating_add)
}

/// Returns the likely input tokens of a scanned request; at least 1.
///
/// English and code run at about four bytes a token, other scripts at about two and a half UTF-8 bytes, schemas at about three
/// and a half.
#[must_use]
pub fn input_guess(scan: &Scan) -> u64 {
    let narrow = scan.text_bytes.saturating_sub(scan.wide_bytes);
    let tokens = narrow.div_ceil(4)
        + (scan.wide_bytes * 2).div_ceil(5)
        + (scan.schema_bytes * 2).div_ceil(7)
        + scan.n_messages * 4
        + scan.n_images * IMAGE_GUESS
        + scan.n_files * IMAGE_GUESS;
    tokens.max(1)
}

/// Returns the likely tokens of a text, as [`input_guess`] counts it. An empty text has none.
#[must_use]
pub fn text_guess(text: &str) -> u64 {
    let wide = text.bytes().filter(|byte| !byte.is_ascii()).count() as u64;
    let narrow = text.len() as u64 - wide;
    narrow.div_ceil(4) + (wide * 2).div_ceil(5)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scan::scan;

    fn of(body: &serde_json::Value) -> Scan {
        scan(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_bound_is_never_below_the_guess() {
        let bodies = [
            json!({}),
            json!({"messages": [{"role": "user", "content": "hello there"}]}),
            json!({"messages": [{"role": "user", "content": "日本語のテキスト".repeat(50)}]}),
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]}),
            json!({"input": ["a", "b"], "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}),
            json!({"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "base64", "data": "A".repeat(9000)}}]}]}),
        ];
        for body in bodies {
            let scan = of(&body);
            assert!(input_bound(&scan) >= input_guess(&scan), "{body}");
        }
    }

    #[test]
    fn an_inline_image_is_counted_by_the_part_not_by_its_bytes() {
        let body = json!({"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", "A".repeat(1_000_000))}},
        ]}]});
        assert!(input_bound(&of(&body)) < 10_000);
    }

    #[test]
    fn plain_english_is_guessed_within_a_third() {
        // 44 bytes; the vendors' tokenizers give 9 or 10.
        let guess = text_guess("The quick brown fox jumps over the lazy dog.");
        assert!((7..=13).contains(&guess), "{guess}");
        assert_eq!(text_guess(""), 0);
    }
}
