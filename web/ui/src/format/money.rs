//! Dollars from nano-dollars: enough digits to be true, few enough to be read.

use domain::money::NanoUsd;

use crate::format::number;

const DOLLAR: u64 = 1_000_000_000;

/// Prints an amount: cents from ten cents up, more digits below (`$1,204.50`, `$0.0123`, `$0.00000125`).
pub fn usd(amount: NanoUsd) -> String {
    let nanos = amount.as_nanos();
    let size = nanos.unsigned_abs();
    let sign = if nanos < 0 { "−" } else { "" };
    if size == 0 {
        return "$0.00".to_owned();
    }
    if size >= DOLLAR / 10 {
        let cents = (size + 5_000_000) / 10_000_000;
        return format!("{sign}${}.{:02}", number::grouped(cents / 100), cents % 100);
    }
    // Below ten cents: three significant digits, never rounded to nothing.
    let digits = format!("{size:09}");
    let first = digits.find(|digit| digit != '0').unwrap_or(8);
    let keep = (first + 3).min(9);
    let step = 10_u64.pow(u32::try_from(9 - keep).unwrap_or(0));
    let rounded = (size + step / 2) / step * step;
    let digits = format!("{rounded:09}");
    let text = digits.get(..keep).unwrap_or(&digits).trim_end_matches('0');
    format!("{sign}$0.{text:0<2}")
}

/// Prints every digit, for line items: `$0.001234500`.
pub fn exact(amount: NanoUsd) -> String {
    let text = amount.to_string();
    text.strip_prefix('-').map_or_else(|| format!("${text}"), |rest| format!("−${rest}"))
}

/// Prints an amount with a fixed number of decimals, for columns whose points should stand below each other; what would
/// round to nothing says so: `$0.0174`, `<$0.0001`.
pub fn aligned(amount: NanoUsd, decimals: u32) -> String {
    let nanos = amount.as_nanos();
    let step = 10_u64.pow(9_u32.saturating_sub(decimals));
    let units = (nanos.unsigned_abs() + step / 2) / step;
    let per_dollar = DOLLAR / step;
    let width = usize::try_from(decimals).unwrap_or(2);
    if units == 0 && nanos != 0 {
        return format!("<${:.width$}", as_dollars(NanoUsd::from_nanos(i64::try_from(step).unwrap_or(1))));
    }
    let sign = if nanos < 0 { "−" } else { "" };
    format!("{sign}${}.{:0width$}", number::grouped(units / per_dollar), units % per_dollar)
}

/// Prints a price with every digit and at least cents: `$2.50`, `$0.125`.
pub fn price(amount: NanoUsd) -> String {
    let text = exact(amount);
    match text.split_once('.') {
        None => format!("{text}.00"),
        Some((_, decimals)) if decimals.len() == 1 => format!("{text}0"),
        Some(_) => text,
    }
}

/// Prints dollars on an axis: `$0.02`, `$15`, `$1.2k`.
pub fn axis(dollars: f64) -> String {
    let size = dollars.abs();
    if size == 0.0 {
        return "$0".to_owned();
    }
    let decimals = match size {
        _ if size >= 100.0 => return format!("${}", number::compact(dollars)),
        _ if size >= 1.0 => 2,
        _ if size >= 0.01 => 3,
        _ if size >= 0.0001 => 5,
        _ => 9,
    };
    format!("${}", number::trimmed(dollars, decimals))
}

/// An amount as a chart value in dollars.
pub fn as_dollars(amount: NanoUsd) -> f64 {
    number::signed_as_f64(amount.as_nanos()) / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        usd(text.parse().expect("an amount"))
    }

    #[test]
    fn large_amounts_show_cents_and_small_ones_their_digits() {
        let cases = [
            ("0", "$0.00"),
            ("1204.5", "$1,204.50"),
            ("0.999", "$1.00"),
            ("0.1", "$0.10"),
            ("0.0123456", "$0.0123"),
            ("0.0999996", "$0.10"),
            ("0.000001234", "$0.00000123"),
            ("0.000000001", "$0.000000001"),
            ("-3.5", "−$3.50"),
        ];
        for (amount, text) in cases {
            assert_eq!(shown(amount), text, "{amount}");
        }
    }

    #[test]
    fn amounts_of_a_column_have_their_points_in_line() {
        let shown = |text: &str| aligned(text.parse().expect("an amount"), 4);
        assert_eq!(
            ["0", "0.01744", "1204.5", "0.00002", "-0.5"].map(shown),
            ["$0.0000", "$0.0174", "$1,204.5000", "<$0.0001", "−$0.5000"]
        );
    }

    #[test]
    fn line_items_keep_every_digit() {
        assert_eq!(exact("0.0012345".parse().expect("an amount")), "$0.0012345");
        assert_eq!(
            ["2.5", "0.125", "10"].map(|text| price(text.parse().expect("an amount"))),
            ["$2.50", "$0.125", "$10.00"]
        );
        assert_eq!(axis(0.0), "$0");
        assert_eq!(axis(1_250.0), "$1,250");
        assert_eq!(axis(0.025), "$0.025");
    }
}
