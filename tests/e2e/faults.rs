//! A flipped bit on the wire, in the sealed copy, in the audit table: refused, detected, named.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testkit::fault::{Fault, Wire};
use testkit::{Actor, Control, Gateway, Upstream, until};
use tokio::process::Command;

use crate::chat::{MODEL, chat, openai_at};

async fn start(upstream: &Upstream) -> Result<Control> {
    let variables = openai_at(&upstream.url());
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Control::start(&variables).await
}

async fn until_works(client: &Actor, what: &str) -> Result<()> {
    until(what, Duration::from_secs(30), || async {
        Ok((chat(client, MODEL, "Hi").await?.status == 200).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_bit_flipped_on_the_wire_is_refused_and_the_node_recovers() -> Result<()> {
    let upstream = Upstream::counting().await?;
    let control = start(&upstream).await?;
    let wire = Wire::to(control.sync_address()).await?;
    let gateway = Gateway::join(&control, &wire.address()).await?;
    for fault in [Fault::FlipFromTarget, Fault::FlipTowardsTarget] {
        let before = wire.n_flipped();
        wire.set(fault);
        let (_, key) = control.issue_key(&format!("through {fault:?}")).await?;
        let client = gateway.as_client(&key)?;
        until_works(&client, "a key issued over a broken wire works").await?;
        until("a bit was flipped", Duration::from_secs(60), || async { Ok((wire.n_flipped() > before).then_some(())) })
            .await?;
        // Whatever the flip hit, the next change arrives as well.
        let (_, key) = control.issue_key(&format!("after {fault:?}")).await?;
        until_works(&gateway.as_client(&key)?, "a key issued after the flip works").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_bit_flipped_in_the_sealed_copy_is_detected_and_nothing_is_served_from_it() -> Result<()> {
    let upstream = Upstream::counting().await?;
    let mut control = start(&upstream).await?;
    let mut gateway = Gateway::join(&control, control.sync_address()).await?;
    let key = control.first("virtual_key").to_owned();
    until_works(&gateway.as_client(&key)?, "the first key works").await?;
    assert!(gateway.process.stop().await?.success());
    control.process.kill().await?;

    let copies = list_sealed(gateway.folder())?;
    assert!(!copies.is_empty(), "there is no sealed copy in {}", gateway.folder().display());
    for copy in &copies {
        let mut bytes = std::fs::read(copy)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(copy, bytes)?;
    }
    let process = gateway.describe_again()?.ready().await?;
    let refused = chat(&Actor::new(process.field("gateway_url"), Some(&key))?, MODEL, "Hi").await?;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "policy_stale"), "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty(), "who cannot be verified now may be later");
    let readiness = process.as_operator()?.send(http::Method::GET, "/readyz", &[], None).await?;
    assert_eq!(readiness.status, 503, "{}", readiness.text());
    assert!(process.log().contains("sealed"), "the damage is not named:\n{}", process.log());

    // With the control plane back, the node mends itself.
    control.again().await?;
    process.until_ready().await?;
    until_works(&Actor::new(process.field("gateway_url"), Some(&key))?, "the node resynchronised").await
}

/// Lists the files of a node's sealed policy.
fn list_sealed(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().contains("sealed") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_changed_audit_entry_is_named_by_the_server_and_by_the_offline_check() -> Result<()> {
    let upstream = Upstream::counting().await?;
    let control = start(&upstream).await?;
    let admin = control.as_admin()?;
    for n in 0..3 {
        control.issue_key(&format!("entry {n}")).await?;
    }
    let base = format!("/api/v1/organizations/{}/audit", control.first("organization_id"));
    let before = admin.get(&format!("{base}/verification")).await?;
    assert_eq!(before["is_valid"], true, "{before}");

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("audit.jsonl");
    let exported = admin.send(http::Method::GET, &format!("{base}/export"), &[], None).await?;
    std::fs::write(&file, &exported.body)?;
    let checked = verify(&file).await?;
    assert_eq!(checked.0, Some(0), "{}", checked.1);

    // In the file: one letter of one entry.
    let text = exported.text().replacen("entry 1", "entry 7", 1);
    assert_ne!(text, exported.text());
    std::fs::write(&file, text)?;
    let changed = exported.text().lines().find(|line| line.contains("entry 1")).map(serde_json::from_str::<Value>);
    let changed = changed.context("the entry was exported")??;
    let seq = changed["seq"].as_u64().or_else(|| changed["entry"]["seq"].as_u64()).context("an entry has a number")?;
    let (code, said) = verify(&file).await?;
    assert!(code == Some(1) && said.contains(&format!("entry {seq} was altered")), "{code:?}: {said}");

    // In the table, by somebody with the database's own powers.
    let seq = change_entry(control.folder()).await?;
    let after = admin.get(&format!("{base}/verification")).await?;
    assert_eq!(after["is_valid"], false, "{after}");
    assert_eq!(after["first_bad_seq"], json!(seq), "{after}");

    // And what is exported from that table is refused by whoever checks it elsewhere.
    let exported = admin.send(http::Method::GET, &format!("{base}/export"), &[], None).await?;
    std::fs::write(&file, &exported.body)?;
    let (code, said) = verify(&file).await?;
    assert!(code == Some(1) && said.contains(&format!("entry {seq} was altered")), "{code:?}: {said}");
    Ok(())
}

/// Checks an exported log offline: the exit code, and what was said.
async fn verify(file: &Path) -> Result<(Option<i32>, String)> {
    let output = Command::new(testkit::headgate::executable()?).args(["audit", "verify"]).arg(file).output().await?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
    Ok((output.status.code(), said))
}

/// Changes the actor's name in one audit entry, with triggers and row security out of the way; returns its number.
async fn change_entry(data_dir: &Path) -> Result<u64> {
    let password =
        std::fs::read_to_string(data_dir.join("postgres.password")).context("the private cluster has a password")?;
    let sql = "SET session_replication_role = replica; \
               UPDATE audit_entries SET actor_name = 'nobody' WHERE seq = (SELECT max(seq) - 1 FROM audit_entries) RETURNING seq";
    let output = Command::new("psql")
        .args([
            "--host",
            &data_dir.join("postgres/run").to_string_lossy(),
            "--username",
            "headgate_super",
            "--dbname",
            "headgate",
        ])
        .args(["--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1", "--command", sql])
        .env("PGPASSWORD", password.trim())
        .output()
        .await
        .context("running psql")?;
    anyhow::ensure!(output.status.success(), "psql ended with {}", output.status);
    String::from_utf8(output.stdout)?.trim().parse().context("the number of the entry")
}
