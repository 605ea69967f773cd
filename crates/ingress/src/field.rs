//! Short values as headers, written without a string in between.

use std::fmt::Display;
use std::io::Write as _;

use http::HeaderValue;

/// Writes a short value, such as an id or an amount, as a header; empty when it is no header's.
#[must_use]
pub fn header_value(value: &dyn Display) -> HeaderValue {
    const ROOM: usize = 48;
    let mut text = [0; ROOM];
    let mut rest = &mut text[..];
    // What does not fit is no id and no amount.
    let is_written = write!(rest, "{value}").is_ok();
    let length = ROOM - rest.len();
    let text = if is_written { &text[..length] } else { &[][..] };
    HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from_static(""))
}

/// Writes a whole number as a header.
#[must_use]
pub fn number_value(mut n: u64) -> HeaderValue {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    // Twenty digits hold every number.
    for digit in text.iter_mut().rev() {
        let [low, ..] = (n % 10).to_le_bytes();
        *digit += low;
        at -= 1;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    HeaderValue::from_bytes(&text[at..]).unwrap_or(HeaderValue::from_static(""))
}
