//! `cache_control`, which Anthropic defined and OpenAI-compatible gateways copied.

use crate::canonical::content::{CacheControl, CacheTtl};
use crate::canonical::error::DecodeError;
use crate::codec::json::{Object, ObjectWriter};

/// Reads the field of a block, tool or request.
pub fn read(owner: &Object<'_, '_>) -> Result<Option<CacheControl>, DecodeError> {
    let Some(node) = owner.find("cache_control") else { return Ok(None) };
    let object = node.object()?;
    let kind = object.get("type")?;
    if kind.str()? != "ephemeral" {
        return Err(kind.expected("\"ephemeral\""));
    }
    let ttl = match object.find("ttl") {
        None => CacheTtl::Default,
        Some(node) => match &*node.str()? {
            "5m" => CacheTtl::FiveMinutes,
            "1h" => CacheTtl::OneHour,
            _ => return Err(node.expected("\"5m\" or \"1h\"")),
        },
    };
    Ok(Some(CacheControl { ttl }))
}

/// Writes the field.
pub fn write(cache: Option<CacheControl>, owner: &mut ObjectWriter<'_>) {
    let Some(cache) = cache else { return };
    owner.object("cache_control", |object| {
        object.str("type", "ephemeral");
        match cache.ttl {
            CacheTtl::Default => {}
            CacheTtl::FiveMinutes => object.str("ttl", "5m"),
            CacheTtl::OneHour => object.str("ttl", "1h"),
        }
    });
}
