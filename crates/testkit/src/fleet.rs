//! A control plane and its gateways as separate processes, the way they run in production.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::actor::Actor;
use crate::headgate::{Headgate, Start, data_dir};

/// A control plane with a data directory of its own. It can be killed and started again on the same ports.
#[derive(Debug)]
pub struct Control {
    /// The running process.
    pub process: Headgate,
    first: Value,
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// A gateway node with a data directory of its own.
#[derive(Debug)]
pub struct Gateway {
    /// The running process.
    pub process: Headgate,
    folder: TempDir,
}

impl Control {
    /// Starts a new control plane; `variables` are its environment (providers for the first start).
    pub async fn start(variables: &[(&str, &str)]) -> Result<Self> {
        let folder = data_dir()?;
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let process = Self::describe(folder.path(), &variables)?.ready().await?;
        Ok(Self { first: process.ready_line().clone(), process, folder, variables })
    }

    fn describe(folder: &Path, variables: &[(String, String)]) -> Result<Start> {
        let start = Start::role("control", folder)?.env("HEADGATE_AUTO_MIGRATE", "true");
        Ok(variables.iter().fold(start, |start, (name, value)| start.env(name, value)))
    }

    /// Starts the same control plane again, on the ports it had; call after it was killed or stopped.
    pub async fn again(&mut self) -> Result<()> {
        let mut start = Self::describe(self.folder.path(), &self.variables)?;
        for (flag, field) in [("--control-addr", "console_url"), ("--sync-addr", "sync_url")] {
            let url = self.first[field].as_str().context("the ready line names its addresses")?;
            let address = url.split_once("://").map_or(url, |(_, address)| address);
            start = start.flag(flag, address);
        }
        self.process = start.ready().await?;
        Ok(())
    }

    /// Returns a field of the first start's ready line; secrets are only there.
    #[must_use]
    pub fn first(&self, name: &str) -> &str {
        self.first[name].as_str().unwrap_or_default()
    }

    /// Returns the address that nodes dial, `host:port`.
    #[must_use]
    pub fn sync_address(&self) -> &str {
        let url = self.first("sync_url");
        url.split_once("://").map_or(url, |(_, address)| address)
    }

    /// Returns the data directory.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The administrator of the first start.
    pub fn as_admin(&self) -> Result<Actor> {
        Actor::new(self.first("api_url").trim_end_matches("/api/v1"), Some(self.first("access_token")))
    }

    /// Issues a join token for the organization's first node group.
    pub async fn issue_join_token(&self) -> Result<String> {
        let admin = self.as_admin()?;
        let base = format!("/api/v1/organizations/{}", self.first("organization_id"));
        let groups = admin.get(&format!("{base}/node-groups")).await?;
        let group = if let Some(id) = groups["items"][0]["id"].as_str() {
            id.to_owned()
        } else {
            let made = admin.post(&format!("{base}/node-groups"), &json!({"slug": "everywhere"})).await?;
            made["id"].as_str().context("a node group has an id")?.to_owned()
        };
        let issued = admin.post(&format!("{base}/join-tokens"), &json!({ "group_id": group })).await?;
        Ok(issued["secret"].as_str().context("a join token's secret is shown once")?.to_owned())
    }

    /// Issues a virtual key in the environment `development`; gives `(id, secret)`.
    pub async fn issue_key(&self, name: &str) -> Result<(String, String)> {
        let path = format!("/api/v1/workspaces/{}/virtual-keys", self.first("workspace_id"));
        let body = json!({"environment_id": self.first["environments"]["development"], "name": name});
        let issued = self.as_admin()?.post(&path, &body).await?;
        let id = issued["virtual_key"]["id"].as_str().context("a key has an id")?.to_owned();
        Ok((id, issued["secret"].as_str().context("a key's secret is shown once")?.to_owned()))
    }

    /// Reads the whole ledger of the first workspace, oldest first.
    pub async fn ledger(&self) -> Result<Vec<Value>> {
        list_all(&self.as_admin()?, &format!("/api/v1/workspaces/{}/logs", self.first("workspace_id"))).await
    }
}

impl Gateway {
    /// Joins a new node to `control`, dialling `sync_address` (the control plane's own, or a wire in between).
    pub async fn join(control: &Control, sync_address: &str) -> Result<Self> {
        Self::join_with(sync_address, &control.issue_join_token().await?).await
    }

    /// Joins a new node with a token that somebody made.
    pub async fn join_with(sync_address: &str, token: &str) -> Result<Self> {
        let folder = data_dir()?;
        let start = Start::role("gateway", folder.path())?
            .flag("--control", &format!("https://{sync_address}"))
            .flag("--join-token", token)
            .flag("--egress-allow-private", "127.0.0.0/8");
        let process = start.ready().await?;
        process.until_ready().await?;
        Ok(Self { process, folder })
    }

    /// Describes the next start on the same data directory: no control address, no token.
    pub fn describe_again(&self) -> Result<Start> {
        Ok(Start::role("gateway", self.folder.path())?.flag("--egress-allow-private", "127.0.0.0/8"))
    }

    /// Starts the node again from its data directory alone; call after it was killed or stopped.
    pub async fn again(&mut self) -> Result<()> {
        self.process = self.describe_again()?.ready().await?;
        self.process.until_ready().await
    }

    /// Starts the node again with a fresh join token; call after it was killed or stopped.
    pub async fn rejoin(&mut self, control: &Control) -> Result<()> {
        let token = control.issue_join_token().await?;
        self.process = self.describe_again()?.flag("--join-token", &token).ready().await?;
        self.process.until_ready().await
    }

    /// A client of this node.
    pub fn as_client(&self, key: &str) -> Result<Actor> {
        Actor::new(self.process.field("gateway_url"), Some(key))
    }

    /// Returns the data directory.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Reads every page of a list.
pub async fn list_all(actor: &Actor, path: &str) -> Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = actor.get(&format!("{path}?limit=100{cursor}")).await?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(items),
        }
    }
}
