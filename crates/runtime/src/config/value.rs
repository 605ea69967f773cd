//! How the text of a setting is read, checked and shown. Pure; the rules of precedence are one level up.

use std::net::SocketAddr;
use std::time::Duration;

use super::{ConfigError, Kind, Origin, Setting};

/// Reads a time: a whole number with the unit `ms`, `s`, `m`, `h` or `d`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let millis_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis_per_unit).map(Duration::from_millis)
}

/// Reads a size in bytes: a whole number, alone or with `KB`, `MB`, `GB` (powers of 1000) or `KiB`, `MiB`, `GiB` (of 1024).
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

pub(super) fn split_list(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect()
}

pub(super) fn check(setting: &Setting, text: &str, origin: Origin) -> Result<(), ConfigError> {
    let is_usable = match setting.kind {
        Kind::Text | Kind::Path | Kind::Secret => !text.is_empty(),
        Kind::Address => text.parse::<SocketAddr>().is_ok(),
        Kind::Count => text.parse::<usize>().is_ok(),
        Kind::Duration => parse_duration(text).is_some(),
        Kind::Bytes => parse_bytes(text).is_some(),
        Kind::Switch => matches!(text, "true" | "false"),
        Kind::List => true,
        Kind::Url => text.contains("://"),
    };
    if is_usable {
        return Ok(());
    }
    let shown = shown(setting.kind, text);
    Err(ConfigError::Unusable { name: setting.name, origin, shown, expected: expected(setting.kind) })
}

pub(super) const fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "a text",
        Kind::Path => "a path",
        Kind::Address => "an address such as 127.0.0.1:7400",
        Kind::Count => "a whole number",
        Kind::Duration => "a time such as 300ms, 5s, 2m or 1h",
        Kind::Bytes => "a size such as 512KiB or 64MiB",
        Kind::Switch => "true or false",
        Kind::List => "a comma-separated list, or an array of texts in the file",
        Kind::Url => "a URL such as https://host:port",
        Kind::Secret => "a secret text",
    }
}

/// Hides what must not be seen: secrets altogether, passwords inside URLs.
pub(super) fn shown(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Secret => "(hidden)".to_owned(),
        Kind::Url => hide_password(text),
        _ => text.to_owned(),
    }
}

fn hide_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "(hidden)".to_owned() };
    // The last `@` before the path: a password may itself hold one.
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    // `?password=…` is a way to write it, too; the query of a database URL is not worth the risk.
    let tail = tail.split_once('?').map_or(tail.to_owned(), |(path, _)| format!("{path}?(hidden)"));
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:(hidden)@{host}{tail}")
        }
        None => format!("{scheme}://{authority}{tail}"),
    }
}

/// Turns a TOML value into the text that a flag would have; `None` for tables, times and nested arrays.
pub(super) fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(value) => Some(value.to_string()),
        toml::Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map(|texts| texts.join(",")),
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// Tells whether two names are close enough to suggest one for the other: equal without separators and case, or one
/// contains the other.
pub(super) fn is_near(name: &str, key: &str) -> bool {
    let squeeze = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let (name, key) = (squeeze(name), squeeze(key));
    name == key || (key.len() >= 4 && (name.contains(&key) || key.contains(&name)))
}
