//! Kinds of pictures that vendors price apart: by size, by quality, or by both.
//!
//! Not the picture, and not how many there were ([`UnitUsage`](crate::usage::UnitUsage)). Invariant: a kind that somebody
//! else wrote is short and of plain letters, so it may stand in the ledger.

use crate::Price;

/// Longest word of a kind.
const MAX_WORD: usize = 24;

/// The kind of a picture, as far as it was said: `1024x1792` in `hd`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize)]
pub struct ImageKind {
    /// Width and height as vendors write them, or their word for it, such as `2k`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// The vendor's word, such as `hd` or `low`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<String>,
}

impl ImageKind {
    /// Reads a kind from the words of a request or an answer. `auto`, and what cannot be such a word, says nothing.
    #[must_use]
    pub fn of(size: Option<&str>, quality: Option<&str>) -> Self {
        Self { size: size.and_then(parse_word), quality: quality.and_then(parse_word) }
    }

    /// Says whether nothing was said.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.size.is_none() && self.quality.is_none()
    }

    /// Returns the kind with the words that another has put in place of its own.
    #[must_use]
    pub fn corrected(self, by: Self) -> Self {
        Self { size: by.size.or(self.size), quality: by.quality.or(self.quality) }
    }

    /// Says whether a picture of this kind is of a kind that may say less.
    #[must_use]
    pub fn is_a(&self, wider: &Self) -> bool {
        let agrees = |wanted: &Option<String>, said: &Option<String>| wanted.is_none() || wanted == said;
        agrees(&wider.size, &self.size) && agrees(&wider.quality, &self.quality)
    }
}

impl std::fmt::Display for ImageKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = [self.size.as_deref(), self.quality.as_deref()];
        f.write_str(&words.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

/// Reads one word of a kind: `None` for `auto`, for nothing, and for what is no such word.
#[must_use]
pub fn parse_word(text: &str) -> Option<String> {
    let word = text.trim().to_ascii_lowercase();
    let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':'));
    ((1..=MAX_WORD).contains(&word.len()) && is_plain && word != "auto").then_some(word)
}

/// What a picture of a kind costs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImageRate {
    /// The kind; what it leaves open holds for all.
    pub kind: ImageKind,
    /// The price of a picture.
    pub each: Price,
}

/// Finds what a picture of a kind costs: size and quality together go before size alone, and that before quality alone. `None`
/// when no rate is for it.
#[must_use]
pub fn find_rate(rates: &[ImageRate], kind: &ImageKind) -> Option<Price> {
    let fitting = rates.iter().filter(|rate| kind.is_a(&rate.kind));
    fitting.max_by_key(|rate| (rate.kind.size.is_some(), rate.kind.quality.is_some())).map(|rate| rate.each)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(size: &str, quality: &str) -> ImageKind {
        ImageKind::of(Some(size), Some(quality))
    }

    #[test]
    fn the_nearest_rate_holds() {
        let rate = |size, quality, each| ImageRate { kind: kind(size, quality), each: Price::per_million(each) };
        let rates = [rate("auto", "hd", 2), rate("1024x1792", "", 3), rate("1024x1792", "hd", 4)];
        let found = |size, quality| find_rate(&rates, &kind(size, quality)).map(|price| price.nano_usd_per_million);
        assert_eq!(found("1024x1792", "HD"), Some(4));
        assert_eq!(found("1024x1792", "standard"), Some(3));
        assert_eq!(found("1024x1024", "hd"), Some(2));
        assert_eq!(found("1024x1024", "auto"), None);
    }

    #[test]
    fn a_kind_holds_no_text_of_somebodys() {
        assert_eq!(ImageKind::of(Some(" 1024X1536 "), Some("my secret, at length")).to_string(), "1024x1536");
        assert!(kind(&"9".repeat(25), "auto").is_empty());
        assert_eq!(kind("auto", "low").corrected(kind("1536x1024", "")).to_string(), "1536x1024 low");
    }
}
