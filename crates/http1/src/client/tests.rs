use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

const HOST: HeaderValue = HeaderValue::from_static("api.test");
const OK: &str = "HTTP/1.1 200 OK\r\n";

fn request(body: Vec<u8>) -> Request<Bytes> {
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = http::Method::POST;
    request
}

/// Sends one request; the other side does what `answer` says. Returns the answer's status, its body, and the connection when
/// it can be used again.
async fn call<F: Future<Output = DuplexStream>>(
    room: usize,
    body: Vec<u8>,
    answer: impl FnOnce(DuplexStream) -> F,
) -> Result<(u16, Vec<u8>, Option<Connection>), (String, bool)> {
    let (near, far) = duplex(room);
    let client = async {
        let sent = Connection::new(Box::new(near)).send(Box::new(request(body)), &HOST).await;
        let (head, mut reading) = sent.map_err(|unanswered| (unanswered.why.to_string(), unanswered.has_begun))?;
        let mut whole = Vec::new();
        while let Some(chunk) = poll_fn(|cx| reading.poll_chunk(cx)).await {
            whole.extend_from_slice(&chunk.map_err(|error| (error.to_string(), true))?);
        }
        Ok((head.status().as_u16(), whole, reading.into_connection()))
    };
    let (found, _far) = tokio::join!(client, answer(far));
    found
}

/// Reads a request of a known length and answers it in the pieces given.
async fn answered(mut far: DuplexStream, n_bytes: usize, pieces: &[&str]) -> DuplexStream {
    let mut seen = vec![0; n_bytes];
    far.read_exact(&mut seen).await.expect("a request");
    for piece in pieces {
        far.write_all(piece.as_bytes()).await.expect("is read");
        tokio::task::yield_now().await;
    }
    far
}

/// The bytes of `request(b"{}")` on the wire.
const SMALL: usize = "POST / HTTP/1.1\r\nhost: api.test\r\ncontent-length: 2\r\n\r\n{}".len();

#[tokio::test]
async fn a_connection_is_used_again_after_a_whole_answer_only() {
    for (pieces, body, is_kept) in [
        (&[OK, "content-length: 5\r\n", "\r\nhel", "lo"][..], "hello", true),
        (&[OK, "content-length: 5\r\n\r\nhello!"], "hello", false),
        (&[OK, "content-length: 5\r\nconnection: close\r\n\r\nhello"], "hello", false),
        (&[OK, "transfer-encoding: chunked\r\n\r\n5\r", "\nhello\r\n0\r\n\r\n"], "hello", true),
        (&[OK, "content-length: 0\r\n\r\n"], "", true),
        (&["HTTP/1.1 204 No Content\r\n\r\n"], "", true),
        (&["HTTP/1.1 100 Continue\r\n\r\n", OK, "content-length: 2\r\n\r\n{}"], "{}", true),
    ] {
        let (_, found, connection) =
            call(4_096, b"{}".to_vec(), |far| answered(far, SMALL, pieces)).await.expect("an answer");
        assert_eq!((found.as_slice(), connection.is_some()), (body.as_bytes(), is_kept), "{pieces:?}");
        if let Some(mut connection) = connection {
            let is_open = poll_fn(|cx| Poll::Ready(connection.is_open(cx))).await;
            assert!(!is_open, "the other side is gone");
        }
    }
}

#[tokio::test]
async fn without_a_length_the_body_ends_with_the_connection() {
    let (_, body, connection) = call(4_096, b"{}".to_vec(), |far| async move {
        drop(answered(far, SMALL, &[OK, "\r\nhello"]).await);
        duplex(1).0
    })
    .await
    .expect("an answer");
    assert_eq!((body.as_slice(), connection.is_some()), (&b"hello"[..], false));
}

#[tokio::test]
async fn an_end_that_comes_too_early_is_told() {
    for (pieces, has_begun) in [
        (&[][..], false),
        (&["HTTP/1.1 2"], true),
        (&["HTTP/1.1 100 Continue\r\n\r\n"], false),
        (&[OK, "content-length: 5\r\n\r\nhel"], true),
        (&[OK, "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"], true),
    ] {
        let found = call(4_096, b"{}".to_vec(), |far| async move {
            drop(answered(far, SMALL, pieces).await);
            duplex(1).0
        });
        let (why, begun) = found.await.map(|(status, ..)| status).expect_err("breaks off");
        assert_eq!((why.as_str(), begun), ("the connection closed too early", has_begun), "{pieces:?}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_told() {
    let found = call(4_096, b"{}".to_vec(), |far| answered(far, SMALL, &["SSH-2.0-OpenSSH\r\n\r\n"])).await;
    assert_eq!(found.map(|_| ()), Err(("the message is not HTTP/1.1".to_owned(), true)));
}

#[tokio::test]
async fn an_upstream_may_answer_before_it_has_read_everything() {
    let refusal = ["HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno"];
    let (status, body, connection) =
        call(256, vec![b'x'; 10_000], |far| answered(far, 20, &refusal)).await.expect("an answer");
    assert_eq!((status, body.as_slice()), (413, &b"no"[..]));
    assert!(connection.is_none(), "the rest of the request was not sent");
}

#[tokio::test]
async fn what_is_left_of_a_request_is_sent_while_the_answer_comes() {
    let n_bytes = "POST / HTTP/1.1\r\nhost: api.test\r\ncontent-length: 10000\r\n\r\n".len() + 10_000;
    let (_, body, connection) = call(256, vec![b'x'; 10_000], |far| async move {
        let far = answered(far, 20, &[OK, "content-length: 4\r\n\r\nhe"]).await;
        answered(far, n_bytes - 20, &["re"]).await
    })
    .await
    .expect("an answer");
    assert_eq!((body.as_slice(), connection.is_some()), (&b"here"[..], true));
}

#[tokio::test]
async fn a_long_body_comes_whole() {
    let text = "0123456789".repeat(50_000);
    let head = format!("{OK}content-length: {}\r\n\r\n", text.len());
    let pieces = [head.as_str(), text.as_str()];
    let (_, body, connection) =
        call(100_000, b"{}".to_vec(), |far| answered(far, SMALL, &pieces)).await.expect("an answer");
    assert!(body == text.as_bytes() && connection.is_some());
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_whatever_its_length_says() {
    for lines in ["content-length: 5\r\n", "transfer-encoding: chunked\r\n"] {
        let (near, mut far) = duplex(4_096);
        let mut asked = Request::new(Bytes::new());
        *asked.method_mut() = http::Method::HEAD;
        let answering = async {
            let mut seen = vec![0; "HEAD / HTTP/1.1\r\nhost: api.test\r\n\r\n".len()];
            far.read_exact(&mut seen).await.expect("a request");
            far.write_all(format!("{OK}{lines}\r\n").as_bytes()).await.expect("is read");
        };
        let host = HOST;
        let (sent, ()) = tokio::join!(Connection::new(Box::new(near)).send(Box::new(asked), &host), answering);
        let (head, mut reading) = sent.map_err(|unanswered| unanswered.why).expect("an answer");
        assert_eq!(head.status(), 200);
        assert!(poll_fn(|cx| reading.poll_chunk(cx)).await.is_none());
        assert!(reading.into_connection().is_some(), "{lines:?}");
    }
}
