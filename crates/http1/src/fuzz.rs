//! What must hold for any bytes of a client or an upstream; the fuzz targets and a normal test call these functions.
//!
//! Each function panics when a promise is broken, which is how a fuzzer learns of it. Nothing of the product calls them.

use bytes::BytesMut;

use crate::framing::Framing;
use crate::{client, server};

/// Messages of one connection that are looked at.
const MAX_MESSAGES: usize = 64;

/// What was read of a connection: what each message says, its body, and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    messages: Vec<(String, Vec<u8>)>,
    is_refused: bool,
}

/// Requests of clients do not depend on the split, and their bodies end where their heads say.
pub fn requests(bytes: &[u8]) {
    same_for_any_split(bytes, |buf, n_seen| server::read_head(buf, n_seen).map_err(|_| ()));
}

/// Answers of upstreams do not depend on the split, either.
pub fn answers(bytes: &[u8]) {
    same_for_any_split(bytes, |buf, n_seen| client::read_head(buf, n_seen).map_err(|_| ()));
}

type Read = Result<Option<(String, Framing)>, ()>;

fn same_for_any_split(bytes: &[u8], read: impl Fn(&mut BytesMut, &mut usize) -> Read) {
    let whole = connection(bytes, bytes.len().max(1), &read);
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(connection(bytes, size, &read), whole, "in pieces of {size}");
    }
}

/// Reads a connection whose bytes come in pieces of `size`.
fn connection(bytes: &[u8], size: usize, read: &impl Fn(&mut BytesMut, &mut usize) -> Read) -> Seen {
    let (mut seen, mut buf, mut n_seen) = (Seen::default(), BytesMut::new(), 0);
    let mut body: Option<Framing> = None;
    for piece in bytes.chunks(size) {
        buf.extend_from_slice(piece);
        while !seen.is_refused && seen.messages.len() < MAX_MESSAGES {
            match &mut body {
                Some(framing) if framing.is_complete() => body = None,
                Some(framing) => match framing.take(&mut buf) {
                    Ok(Some(data)) => {
                        if let Some((_, content)) = seen.messages.last_mut() {
                            content.extend_from_slice(&data);
                        }
                    }
                    Ok(None) if framing.is_complete() => body = None,
                    Ok(None) => break,
                    Err(_) => seen.is_refused = true,
                },
                None => match read(&mut buf, &mut n_seen) {
                    Ok(Some((text, framing))) => {
                        seen.messages.push((text, Vec::new()));
                        body = Some(framing);
                    }
                    Ok(None) => break,
                    Err(()) => seen.is_refused = true,
                },
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn kept(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files: Vec<_> = fs::read_dir(&folder).expect("a folder").map(|file| file.expect("a file").path()).collect();
        assert!(files.len() >= 3, "{} is the seed of a fuzzer", folder.display());
        files.iter().map(|file| fs::read(file).expect("a seed")).collect()
    }

    #[test]
    fn what_is_kept_for_the_fuzzer_holds() {
        for bytes in kept("requests") {
            requests(&bytes);
        }
        for bytes in kept("answers") {
            answers(&bytes);
        }
    }

    #[test]
    fn the_seeds_reach_the_bodies() {
        let read = |buf: &mut BytesMut, n_seen: &mut usize| server::read_head(buf, n_seen).map_err(|_| ());
        let seen: Vec<_> = kept("requests").iter().map(|bytes| connection(bytes, bytes.len(), &read)).collect();
        let n_messages: usize = seen.iter().map(|seen| seen.messages.len()).sum();
        assert!(n_messages > 3 && seen.iter().any(|seen| seen.is_refused), "{seen:?}");
        assert!(seen.iter().flat_map(|seen| &seen.messages).any(|(_, body)| body == b"hello, world"), "{seen:?}");
    }

    proptest! {
        #[test]
        fn a_kept_connection_with_other_bytes_in_it_is_read_the_same_in_any_split(
            which in any::<prop::sample::Index>(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            for (target, check) in [("requests", requests as fn(&[u8])), ("answers", answers)] {
                let seeds = kept(target);
                let mut bytes = which.get(&seeds).clone();
                for (at, value) in &edits {
                    let at = at.index(bytes.len());
                    bytes[at] = *value;
                }
                check(&bytes);
            }
        }
    }
}
