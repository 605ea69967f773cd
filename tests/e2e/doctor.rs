//! What `headgate doctor` says of an installation that cannot work, and that it says it of nothing else.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;
use testkit::Headgate;
use testkit::headgate::{Start, data_dir};

use crate::chat::chat;
use crate::operator::run;

/// What one look found.
struct Look {
    is_fine: bool,
    findings: Vec<Value>,
}

impl Look {
    /// The detail of a finding, which must or must not need mending.
    fn detail(&self, what: &str, is_ok: bool) -> Result<&str> {
        let finding = self.findings.iter().find(|finding| finding["what"] == what);
        let finding = finding.with_context(|| format!("nothing of {what}: {:?}", self.findings))?;
        anyhow::ensure!(finding["is_ok"] == is_ok, "{finding}");
        finding["detail"].as_str().context("a detail")
    }

    /// What needs mending.
    fn list_broken(&self) -> Vec<&str> {
        let broken = self.findings.iter().filter(|finding| finding["is_ok"] == false);
        broken.filter_map(|finding| finding["what"].as_str()).collect()
    }
}

/// Lets the doctor look at a data directory; the ports of a test are free ones.
async fn look(folder: &Path, more: &[&str]) -> Result<Look> {
    let mut words = vec!["doctor", "--json"];
    for flag in ["--control-addr", "--sync-addr", "--gateway-addr", "--admin-addr"] {
        words.extend([flag, "127.0.0.1:0"]);
    }
    words.extend(more);
    let (is_fine, said) = run(folder, &words).await?;
    let line = said.lines().next().unwrap_or_default();
    Ok(Look { is_fine, findings: serde_json::from_str(line).with_context(|| format!("the doctor said {said}"))? })
}

#[tokio::test]
async fn a_sound_installation_needs_no_mending_and_is_not_changed() -> Result<()> {
    let folder = data_dir()?;
    let absent = folder.path().join("not/yet");
    let before = look(&absent, &[]).await?;
    assert!(before.is_fine && before.list_broken().is_empty(), "{:?}", before.findings);
    assert!(before.detail("data_dir", true)?.contains("the first start makes it"));
    assert!(!absent.exists(), "it only looks");

    let mut headgate = Headgate::up(folder.path()).await?;
    let running = look(folder.path(), &[]).await?;
    assert!(running.is_fine && running.detail("process", true)?.contains("runs"), "{:?}", running.findings);
    assert_eq!(chat(&headgate.as_client()?, "echo/echo-1", "Unharmed?").await?.status, 200);
    assert!(headgate.stop().await?.success());
    let after = look(folder.path(), &[]).await?;
    assert!(after.is_fine && after.detail("seal", true)?.contains("is the active root key"), "{:?}", after.findings);
    Ok(())
}

#[tokio::test]
async fn what_a_start_would_fail_of_is_named_with_what_to_do() -> Result<()> {
    let folder = data_dir()?;
    let file = folder.path().join("file");
    std::fs::write(&file, "")?;
    let below = look(&file.join("data"), &[]).await?;
    assert_eq!(below.list_broken(), ["data_dir"]);
    assert!(below.detail("data_dir", false)?.contains("is not a folder"));
    // A folder in which not even root makes a file.
    let closed = look(Path::new("/proc/self"), &[]).await?;
    assert!(closed.list_broken().contains(&"data_dir"), "{:?}", closed.findings);
    assert!(closed.detail("data_dir", false)?.contains("--data-dir"));
    assert!(closed.detail("process", true).is_err(), "no Headgate runs there: {:?}", closed.findings);

    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let nobody = "postgres://nobody:canary-password@127.0.0.1:1/nothing";
    let broken = look(folder.path(), &["--gateway-addr", &address, "--database-url", nobody]).await?;
    assert_eq!(broken.list_broken(), ["gateway_addr", "database"]);
    let (port, database) = (broken.detail("gateway_addr", false)?, broken.detail("database", false)?);
    assert!(port.contains(&address) && port.contains("stop what uses it"), "{port}");
    assert!(database.contains("--database-url") && database.contains("refused"), "{database}");
    assert!(!database.contains("canary-password"), "{database}");

    let key = folder.path().join("root.key");
    for (text, mode, word) in [("no key", 0o600, "32 bytes"), ("0".repeat(64).as_str(), 0o644, "chmod 600")] {
        std::fs::write(&key, text)?;
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode))?;
        let wrong = look(folder.path(), &[]).await?;
        assert_eq!(wrong.list_broken(), ["root_key"]);
        assert!(wrong.detail("root_key", false)?.contains(word), "{:?}", wrong.findings);
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_root_key_is_missed_and_no_new_one_takes_its_place() -> Result<()> {
    let folder = data_dir()?;
    let mut first = Headgate::up(folder.path()).await?;
    let key = first.field("virtual_key").to_owned();
    assert!(first.stop().await?.success());
    let (file, away) = (folder.path().join("root.key"), folder.path().join("away"));
    std::fs::rename(&file, &away)?;
    let lost = look(folder.path(), &[]).await?;
    assert_eq!(lost.list_broken(), ["root_key", "seal"]);
    assert!(lost.detail("root_key", false)?.contains("put it back from a backup"));
    let (status, said) = Start::role("up", folder.path())?.ended().await?;
    assert!(!status.success() && said.contains("is sealed by the root key") && said.contains("root.key"), "{said}");
    assert!(!file.exists(), "a new key would open nothing");
    std::fs::rename(&away, &file)?;
    let mut second = Headgate::up(folder.path()).await?;
    assert_eq!(chat(&second.as_client()?.with_bearer(&key), "echo/echo-1", "Found?").await?.status, 200);
    assert!(second.stop().await?.success());
    Ok(())
}
