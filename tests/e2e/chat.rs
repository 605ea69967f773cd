//! What several stories do: one chat call, and waiting for the ledger.

use std::time::Duration;

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};
use testkit::{Actor, Answer, Control, until};

/// The model that the scripted upstreams serve, and that the catalog knows.
pub(crate) const MODEL: &str = "gpt-4o-mini";

/// How long the ledger may take to hold what happened.
pub(crate) const LEDGER_WITHIN: Duration = Duration::from_secs(30);

/// Sends one chat and reads whatever comes.
pub(crate) async fn chat(client: &Actor, model: &str, content: &str) -> Result<Answer> {
    let body = json!({"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 50});
    client.send(Method::POST, "/v1/chat/completions", &[], Some(&body)).await
}

/// The environment of a control plane whose OpenAI is the upstream at `url`.
pub(crate) fn openai_at(url: &str) -> [(&'static str, String); 2] {
    [("OPENAI_API_KEY", "sk-upstream-secret-000000".to_owned()), ("OPENAI_BASE_URL", format!("{url}/v1"))]
}

/// Waits until the ledger has at least `n` events and returns all of them.
pub(crate) async fn ledger_of(control: &Control, n: usize) -> Result<Vec<Value>> {
    until(&format!("the ledger has {n} events"), LEDGER_WITHIN, || async {
        let events = control.ledger().await?;
        Ok((events.len() >= n).then_some(events))
    })
    .await
}
