//! Comma-separated values (RFC 4180) that a spreadsheet may open.
//!
//! Names come from clients and tenants. Invariant: no text of theirs is taken for a formula: what begins like one gets an
//! apostrophe in front. Amounts and counts are ours and are written as they are, or `-1` would be no number.

/// What a spreadsheet may take for the beginning of a formula, the wide forms of East Asian keyboards included.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Appends a text as one field.
pub fn push_text(out: &mut String, text: &str) {
    let is_formula = text.starts_with(FORMULA);
    if !is_formula && !text.contains([',', '"', '\r', '\n']) {
        out.push_str(text);
        return;
    }
    out.push('"');
    if is_formula {
        out.push('\'');
    }
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}

/// Appends a line: texts first, then numbers.
pub fn push_line<'a>(
    out: &mut String,
    texts: impl IntoIterator<Item = &'a str>,
    numbers: impl IntoIterator<Item = String>,
) {
    let start = out.len();
    for text in texts {
        push_text(out, text);
        out.push(',');
    }
    for number in numbers {
        out.push_str(&number);
        out.push(',');
    }
    if out.len() > start {
        out.pop();
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_has_its_texts_and_then_its_numbers() {
        let mut out = String::new();
        push_line(&mut out, ["gpt-4o", "a,b \"c\"", "=1+1"], ["-0.5".to_owned(), "7".to_owned()]);
        assert_eq!(out, "gpt-4o,\"a,b \"\"c\"\"\",\"'=1+1\",-0.5,7\r\n");
    }

    proptest! {
        /// Whatever a field holds, a reader gets it back (behind an apostrophe when it looked like a formula).
        #[test]
        fn a_field_is_one_field_and_no_formula(text in "[=+\\-@＝,\"\r\n\ta-c]{0,12}") {
            let mut field = String::new();
            push_text(&mut field, &text);
            let quoted = field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            prop_assert!(quoted.is_some() || !field.contains(['"', ',', '\r', '\n']));
            let inner = quoted.map_or_else(|| field.clone(), |quoted| quoted.replace("\"\"", "\""));
            prop_assert!(!inner.starts_with(FORMULA));
            prop_assert_eq!(inner.strip_prefix('\'').unwrap_or(&inner), text);
        }
    }
}
