//! Ids in tight places: the kind and the end, since the beginning of two ids made on one day is the same.

/// Shortens a TypeID: `key_01h455vb4pex5vsknk084sn02q` reads `key_…084sn02q`. Other text is left alone.
pub fn short(id: &str) -> String {
    match id.rsplit_once('_') {
        Some((kind, rest)) if rest.len() == 26 => format!("{kind}_…{}", rest.get(18..).unwrap_or(rest)),
        _ => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_random_end_is_kept() {
        assert_eq!(short("key_01h455vb4pex5vsknk084sn02q"), "key_…084sn02q");
        assert_eq!(short("system:boot"), "system:boot");
    }
}
