//! Short words that nodes say to each other through Redis, and that nobody relies on.
//!
//! `PUBLISH` on one channel; a connection of its own listens. Invariant: a cry carries a word of a closed set and the process that said
//! it, nothing of a tenant, and is lost whenever Redis is away.

use futures_util::{Stream, StreamExt as _};
use redis::{Client, RedisError};

const CHANNEL: &str = "headgate:cries";
/// Longest word that is looked at.
const MAX_WORD: usize = 32;

/// Takes what other nodes cry.
pub type Ear = Box<dyn Fn(&str) + Send + Sync>;

/// Makes the command that says a word.
pub(super) fn publish(process: u32, word: &str) -> redis::Cmd {
    let mut command = redis::cmd("PUBLISH");
    command.arg(CHANNEL).arg(format!("{process} {word}"));
    command
}

/// Listens to all nodes.
pub(super) async fn listen(client: &Client) -> Result<impl Stream<Item = String> + Unpin + use<>, RedisError> {
    let mut listening = client.get_async_pubsub().await?;
    listening.subscribe(CHANNEL).await?;
    let texts = listening.into_on_message().filter_map(|message| {
        std::future::ready(message.get_payload::<String>().ok().filter(|text| text.len() <= MAX_WORD))
    });
    Ok(texts)
}

/// Returns the word, unless this process said it itself.
pub(super) fn heard(process: u32, text: &str) -> Option<&str> {
    let (by, word) = text.split_once(' ')?;
    by.parse::<u32>().is_ok_and(|by| by != process).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_others_are_heard() {
        assert_eq!(heard(1, "2 wanted"), Some("wanted"));
        for text in ["1 wanted", "wanted", "x wanted", ""] {
            assert_eq!(heard(1, text), None, "{text}");
        }
    }
}
