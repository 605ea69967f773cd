//! Reads a request body into one buffer, within bounds of size, time and compression ratio.
//!
//! Not here: what the bytes mean. Invariant: never more than `max_body_bytes` plus one network chunk is held, compressed or
//! not, and nothing waits longer than `body_read_ms`.

use std::io::Read;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::code::GatewayCode;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use ingress::Limits;
use ingress::Rejection;
use ingress::admit::Encoding;

use crate::server::body::Incoming;

/// Decompressed size up to which no ratio is checked: a small body may well compress a hundredfold.
pub(crate) const COMPRESSION_ALLOWANCE: usize = 256 * 1024;
/// Compressed bodies above this are unpacked away from the worker's thread.
const BLOCKING_ABOVE: usize = 64 * 1024;
/// Most that is set aside on the word of a Content-Length.
const TRUSTED_LENGTH: usize = 1024 * 1024;

/// Reads the whole body.
pub(crate) async fn read(
    body: Incoming,
    length: Option<u64>,
    encoding: Encoding,
    limits: &Limits,
) -> Result<Bytes, Rejection> {
    let read = collect(body, length, limits.max_body_bytes);
    let Ok(read) = tokio::time::timeout(Duration::from_millis(limits.body_read_ms), read).await else {
        let detail = format!("the body was not complete after {} ms; send it faster or smaller", limits.body_read_ms);
        return Err(Rejection::new(GatewayCode::RequestTimeout, detail).closing());
    };
    let raw = read?;
    if encoding == Encoding::Identity {
        return Ok(raw);
    }
    let (max_bytes, max_ratio) = (limits.max_body_bytes, limits.max_compression_ratio);
    if raw.len() <= BLOCKING_ABOVE {
        return decompress(&raw, encoding, max_bytes, max_ratio);
    }
    let unpacked =
        runtime::tasks::blocking("gateway.decompress", move || decompress(&raw, encoding, max_bytes, max_ratio)).await;
    unpacked.unwrap_or_else(|| Err(Rejection::internal()))
}

async fn collect(mut body: Incoming, length: Option<u64>, max_bytes: usize) -> Result<Bytes, Rejection> {
    if let Incoming::Exclusive(reading) = &mut body
        && let Some(length) = reading.length()
    {
        if length > max_bytes as u64 {
            return Err(Rejection::too_large(max_bytes).closing());
        }
        return reading.read_whole().await.map_err(|_| refuse_broken());
    }
    let Some(first) = frame(&mut body, 0, max_bytes).await? else { return Ok(Bytes::new()) };
    // Most bodies arrive in one read with the head: no copy then.
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = frame(&mut body, first.len(), max_bytes).await? else { return Ok(first) };
    let declared = usize::try_from(length.unwrap_or(0)).unwrap_or(0).min(TRUSTED_LENGTH);
    let mut whole = BytesMut::with_capacity(declared.max(first.len() + second.len()));
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while let Some(next) = frame(&mut body, whole.len(), max_bytes).await? {
        whole.extend_from_slice(&next);
    }
    Ok(whole.freeze())
}

async fn frame(body: &mut Incoming, so_far: usize, max_bytes: usize) -> Result<Option<Bytes>, Rejection> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(refuse_broken()),
            Some(Ok(frame)) => {
                // Trailers are not part of any dialect.
                let Ok(data) = frame.into_data() else { continue };
                if so_far + data.len() > max_bytes {
                    return Err(Rejection::too_large(max_bytes).closing());
                }
                return Ok(Some(data));
            }
        }
    }
}

fn refuse_broken() -> Rejection {
    Rejection::new(GatewayCode::RequestInvalid, "the body broke off; send it whole").closing()
}

fn decompress(raw: &[u8], encoding: Encoding, max_bytes: usize, max_ratio: usize) -> Result<Bytes, Rejection> {
    match encoding {
        Encoding::Identity => Ok(Bytes::copy_from_slice(raw)),
        Encoding::Gzip => inflate(MultiGzDecoder::new(raw), raw.len(), max_bytes, max_ratio),
        // RFC 9110 §8.4.1.2 means zlib, but some clients send the bare deflate stream.
        Encoding::Deflate if is_zlib(raw) => inflate(ZlibDecoder::new(raw), raw.len(), max_bytes, max_ratio),
        Encoding::Deflate => inflate(DeflateDecoder::new(raw), raw.len(), max_bytes, max_ratio),
    }
}

fn is_zlib(raw: &[u8]) -> bool {
    matches!(raw, [first, second, ..]
        if first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0)
}

fn inflate(mut reader: impl Read, compressed: usize, max_bytes: usize, max_ratio: usize) -> Result<Bytes, Rejection> {
    let by_ratio = compressed.saturating_mul(max_ratio).max(COMPRESSION_ALLOWANCE);
    let limit = by_ratio.min(max_bytes);
    let mut out = BytesMut::with_capacity(compressed.saturating_mul(4).min(limit).min(TRUSTED_LENGTH));
    let mut chunk = [0_u8; 8 * 1024];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(out.freeze()),
            Ok(n) if out.len() + n > limit && limit == max_bytes => return Err(Rejection::too_large(max_bytes)),
            Ok(n) if out.len() + n > limit => {
                let detail = format!("the body unpacks to more than {max_ratio} times its size; send it plain");
                return Err(Rejection::new(GatewayCode::RequestTooLarge, detail));
            }
            Ok(n) => out.extend_from_slice(&chunk[..n]),
            Err(_) => {
                let detail = "the body is not what its content-encoding says; send it plain or compress it anew";
                return Err(Rejection::new(GatewayCode::RequestInvalid, detail));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const MAX: usize = 1024 * 1024;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("writes to memory");
        encoder.finish().expect("writes to memory")
    }

    fn unpack(raw: &[u8], encoding: Encoding) -> Result<Bytes, GatewayCode> {
        decompress(raw, encoding, MAX, 100).map_err(|rejection| rejection.code)
    }

    #[test]
    fn gzip_zlib_and_bare_deflate_unpack() {
        let text = br#"{"model":"m"}"#;
        assert_eq!(unpack(&gzip(text), Encoding::Gzip).as_deref(), Ok(&text[..]));
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(text).expect("writes to memory");
        assert_eq!(unpack(&zlib.finish().expect("ends"), Encoding::Deflate).as_deref(), Ok(&text[..]));
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(text).expect("writes to memory");
        assert_eq!(unpack(&bare.finish().expect("ends"), Encoding::Deflate).as_deref(), Ok(&text[..]));
    }

    #[test]
    fn bombs_and_junk_are_refused() {
        let bomb = gzip(&vec![b' '; 64 * MAX]);
        assert_eq!(unpack(&bomb, Encoding::Gzip), Err(GatewayCode::RequestTooLarge));
        let dense = gzip(&vec![b' '; MAX - 1]);
        assert_eq!(unpack(&dense, Encoding::Gzip), Err(GatewayCode::RequestTooLarge), "ratio above 100");
        assert!(unpack(&gzip(&vec![b' '; 200_000]), Encoding::Gzip).is_ok(), "small enough for any ratio");
        assert_eq!(unpack(b"{\"model\":1}", Encoding::Gzip), Err(GatewayCode::RequestInvalid));
        let whole = gzip(b"{}");
        assert_eq!(unpack(&whole[..whole.len() - 4], Encoding::Gzip), Err(GatewayCode::RequestInvalid));
    }
}
