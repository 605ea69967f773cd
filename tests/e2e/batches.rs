//! Files and batches: the vendors' own SDKs, an upstream that runs batches, and what is booked when the output is read.

use anyhow::Result;
use serde_json::{Value, json};
use testkit::{Actor, Control, Gateway, Script, until};

use crate::chat::LEDGER_WITHIN;

/// The model that the message batch asks for.
const CLAUDE: &str = "claude-haiku-4-5";
/// The model whose calls are written in Gemini's form, and their answers in OpenAI's.
const GEMINI: &str = "gemini-2.5-flash";

/// The calls that the ledger has of batches: model, tokens in, tokens out, cost; sorted.
async fn booked(control: &Control, n: usize) -> Result<Vec<Value>> {
    until(&format!("{n} calls of batches"), LEDGER_WITHIN, || async {
        let events = control.ledger().await?;
        let mut found: Vec<Value> = events
            .iter()
            .filter(|event| event["usage"]["output"].as_u64().is_some_and(|output| output > 0))
            .map(|it| json!([it["model"], it["usage"]["input"], it["usage"]["output"], it["cost_usd"]]))
            .collect();
        found.sort_by_key(Value::to_string);
        Ok((found.len() >= n).then_some(found))
    })
    .await
}

#[tokio::test]
async fn the_vendors_sdks_run_batches_whose_output_is_booked_once() -> Result<()> {
    let upstream = Script::new("python/batch_upstream.py")?.serve().await?;
    let openai = format!("{}/v1", upstream.url());
    let variables = [
        ("OPENAI_API_KEY", "sk-upstream-secret-000000"),
        ("OPENAI_BASE_URL", openai.as_str()),
        ("ANTHROPIC_API_KEY", "sk-ant-upstream-000000"),
        ("ANTHROPIC_BASE_URL", upstream.url()),
        ("GEMINI_API_KEY", "gemini-upstream-000000"),
        ("GEMINI_BASE_URL", upstream.url()),
    ];
    let control = Control::start(&variables).await?;
    let gateway = Gateway::join(&control, control.sync_address()).await?;
    let (_, key) = control.issue_key("nightly").await?;
    let client = gateway.as_client(&key)?;
    until("the node knows the key", LEDGER_WITHIN, || async {
        Ok(client.get("/v1/models").await.is_ok().then_some(()))
    })
    .await?;

    let url = gateway.process.field("gateway_url").trim_end_matches('/').to_owned();
    let said = Script::new("python/batches_client.py")?.arg(&url).arg(&key).arg(CLAUDE).arg(GEMINI).run().await?;
    assert_eq!(said["openai"]["answers"], json!([["first", "gpt-4o"], ["second", "gpt-4o-mini"]]), "{said}");
    assert_eq!(said["anthropic"]["answers"], json!([["third", CLAUDE]]), "{said}");
    assert_eq!(said["gemini"]["answers"], json!([["fourth", GEMINI]]), "{said}");
    assert_eq!(said["gemini"]["said"], json!(["hello yourself"]), "{said}");
    let refused = json!({"unknown model": [404, "model_unknown"], "another's id": [404, "object_unknown"]});
    assert_eq!(said["refused"], refused, "{said}");
    // Nothing of the upstream's own is told to clients, and no key of ours to the upstream.
    let ids = said.to_string();
    assert!(!ids.contains("_up") && !ids.contains("file-up") && !ids.contains(upstream.url()), "{ids}");
    let record = Actor::new(upstream.url(), None)?.get("/__record").await?;
    assert!(!record.to_string().contains(&key), "the virtual key was forwarded");

    // At the prices of the batch tier: half of the plain ones.
    let expected = json!([
        [CLAUDE, 1000, 100, "0.00075"],
        [GEMINI, 1000, 100, "0.000275"],
        ["gpt-4o", 1000, 100, "0.00175"],
        ["gpt-4o-mini", 1000, 100, "0.000105"],
    ]);
    assert_eq!(json!(booked(&control, 4).await?), expected);
    Ok(())
}
