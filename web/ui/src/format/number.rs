//! Counts, shares and plain numbers. Grouping is by thousands with a comma, decimals with a point, as in the API.

/// Groups the digits of a whole number: `12,345,678`.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Shortens a count for tiles and axes: `950`, `9,999`, `12.3k`, `4.5M`, `1.2B`.
pub fn compact(value: f64) -> String {
    let size = value.abs();
    if (1_000.0..9_999.5).contains(&size) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "four digits")]
        let whole = size.round() as u64;
        return format!("{}{}", if value < 0.0 { "−" } else { "" }, grouped(whole));
    }
    let (scaled, unit) = match size {
        _ if size >= 999_500_000.0 => (value / 1e9, "B"),
        _ if size >= 999_500.0 => (value / 1e6, "M"),
        _ if size >= 9_999.5 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    format!("{}{unit}", trimmed(scaled, usize::from(!unit.is_empty() || size < 100.0)))
}

/// Prints with at most `decimals` decimals and no trailing zeros.
pub fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Prints a share of a whole: `0%`, `<0.1%`, `2.4%`, `37%`. No whole means no share: `–`.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let percent = as_f64(part) / as_f64(whole) * 100.0;
    match percent {
        _ if part == 0 => "0%".to_owned(),
        _ if percent < 0.1 => "<0.1%".to_owned(),
        _ if percent < 10.0 => format!("{}%", trimmed(percent, 1)),
        _ => format!("{percent:.0}%"),
    }
}

/// Prints a change against an earlier figure: `+12%`, `−3.4%`, `12×`, `>100×`, or nothing when there was no earlier figure.
pub fn change(now: f64, before: f64) -> Option<String> {
    if before <= 0.0 {
        return None;
    }
    let percent = (now - before) / before * 100.0;
    if percent.abs() < 0.05 {
        return Some("±0%".to_owned());
    }
    let sign = if percent > 0.0 { '+' } else { '−' };
    let size = percent.abs();
    Some(if size >= 1000.0 {
        // Against next to nothing, the factor says nothing.
        let factor = now / before;
        if factor > 100.0 { ">100×".to_owned() } else { format!("{}×", trimmed(factor, 0)) }
    } else {
        format!("{sign}{}%", trimmed(size, usize::from(size < 10.0)))
    })
}

/// A count as a chart value. Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "charts and shares do not need more than 53 bits")]
pub fn as_f64(value: u64) -> f64 {
    value as f64
}

/// A signed amount as a chart value. Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "charts do not need more than 53 bits")]
pub fn signed_as_f64(value: i64) -> f64 {
    value as f64
}

/// Rounds a chart coordinate to an index in `0..len`; an empty range gives zero.
pub fn index_at(share: f64, len: usize) -> usize {
    if len == 0 {
        return 0;
    }
    let last = len - 1;
    let wanted = share.clamp(0.0, 1.0) * as_f64(u64::try_from(last).unwrap_or(0));
    // Count up instead of casting: `len` is the number of points on a screen.
    (0..last).find(|index| as_f64(u64::try_from(*index).unwrap_or(0)) + 0.5 >= wanted).unwrap_or(last)
}

/// Says `1 key` or `3 keys`.
pub fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_and_shortened() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 7.25, 950.0, 9_999.0, 12_340.0, 4_500_000.0, 999_900.0, 1.2e9].map(compact),
            ["0", "7.2", "950", "9,999", "12.3k", "4.5M", "1M", "1.2B"]
        );
    }

    #[test]
    fn shares_never_round_a_failure_away() {
        assert_eq!(share(1, 100_000), "<0.1%");
        assert_eq!([share(0, 10), share(1, 42), share(37, 100), share(0, 0)], ["0%", "2.4%", "37%", "–"]);
    }

    #[test]
    fn a_change_needs_something_to_compare_with() {
        assert_eq!(change(10.0, 0.0), None);
        assert_eq!(change(112.0, 100.0).as_deref(), Some("+12%"));
        assert_eq!(change(96.6, 100.0).as_deref(), Some("−3.4%"));
        assert_eq!(change(100.0, 100.0).as_deref(), Some("±0%"));
        assert_eq!(change(1_200.0, 100.0).as_deref(), Some("12×"));
        assert_eq!(change(20_154.0, 1.0).as_deref(), Some(">100×"));
    }

    #[test]
    fn the_nearest_point_is_found() {
        assert_eq!(
            [index_at(0.0, 5), index_at(0.13, 5), index_at(0.5, 5), index_at(2.0, 5), index_at(0.4, 0)],
            [0, 1, 2, 4, 0]
        );
    }
}
