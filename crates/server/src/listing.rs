//! Fetches the list of models of a server that the environment names: within the egress rules, a bounded answer, no redirects.
//!
//! What is asked and what the answer means is `control::bootstrap`'s.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use control::bootstrap::{Fetch, MAX_BYTES};
use upstream::client::{Client, SendError};
use upstream::dial::Dial;

/// Longest time until a connection stands; whoever asks has a bound for the whole.
const CONNECT: Duration = Duration::from_secs(2);

/// Returns what fetches by `dial`.
pub(crate) fn fetch(dial: Arc<dyn Dial>) -> Fetch {
    let client = Arc::new(Client::new(dial));
    Arc::new(move |request| {
        let client = Arc::clone(&client);
        Box::pin(async move {
            let response = client.send(Box::new(request), CONNECT).await.map_err(|error| match error {
                SendError::Denied { reason } => format!("{reason}; allow it with --egress-allow-private"),
                other => other.to_string(),
            })?;
            let (head, mut body) = response.into_parts();
            if !head.status.is_success() {
                return Err(format!("it answered {}", head.status));
            }
            let mut read = Vec::new();
            while let Some(chunk) = poll_fn(|cx| body.poll_chunk(cx)).await {
                read.extend_from_slice(&chunk.map_err(|error| error.to_string())?);
                if read.len() > MAX_BYTES {
                    return Err(format!("its answer is longer than {MAX_BYTES} bytes"));
                }
            }
            Ok(read)
        })
    })
}
