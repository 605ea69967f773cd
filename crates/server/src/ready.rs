//! What a role says when it is ready: one line of JSON, or a few lines for a person.
//!
//! Invariant: a secret appears here once, on the first start of a data directory, and nowhere else; later it is null.

use std::net::SocketAddr;

use anyhow::Result;
use domain::Secret;
use serde::{Serialize, Serializer};

use crate::output;

/// A secret that is to be shown now: the one place where it can be written out.
#[derive(Debug, Clone)]
pub(crate) struct Shown(pub(crate) Secret<String>);

impl Shown {
    fn text(&self) -> &str {
        self.0.expose()
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// What `headgate up` has to tell. The field names are a contract.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct UpReady {
    pub(crate) console_url: String,
    pub(crate) api_url: String,
    pub(crate) gateway_url: String,
    pub(crate) sync_url: String,
    pub(crate) admin_url: String,
    pub(crate) organization_id: String,
    pub(crate) workspace_id: String,
    pub(crate) environments: Environments,
    pub(crate) admin_email: String,
    pub(crate) admin_password: Option<Shown>,
    pub(crate) access_token: Option<Shown>,
    pub(crate) virtual_key: Option<Shown>,
}

/// The three environments of the first workspace.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Environments {
    pub(crate) development: String,
    pub(crate) staging: String,
    pub(crate) production: String,
}

/// What `headgate control` has to tell: as `up`, without a gateway.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ControlReady {
    pub(crate) console_url: String,
    pub(crate) api_url: String,
    pub(crate) sync_url: String,
    pub(crate) admin_url: String,
    pub(crate) organization_id: String,
    pub(crate) workspace_id: String,
    pub(crate) environments: Environments,
    pub(crate) admin_email: String,
    pub(crate) admin_password: Option<Shown>,
    pub(crate) access_token: Option<Shown>,
    pub(crate) virtual_key: Option<Shown>,
}

/// What `headgate gateway` has to tell.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GatewayReady {
    pub(crate) gateway_url: String,
    pub(crate) admin_url: String,
    pub(crate) node_id: String,
}

/// Writes the URL of a listener; an unspecified address is shown as the loopback address, which works here.
pub(crate) fn url_of(scheme: &str, address: SocketAddr) -> String {
    let host = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => "127.0.0.1".to_owned(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => "[::1]".to_owned(),
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    format!("{scheme}://{host}:{}", address.port())
}

/// Prints a ready line as JSON.
pub(crate) fn print_json(ready: &impl Serialize) -> Result<()> {
    output::line(Secret::new(serde_json::to_string(ready)?).expose())
}

/// Prints what a person needs to go on: where to look, how to sign in, a first call to paste.
pub(crate) fn print_up(ready: &UpReady, model: &str) -> Result<()> {
    output::line(&format!(
        "\nHeadgate is ready.\n\n  Console   {}\n  Gateway   {}",
        ready.console_url, ready.gateway_url
    ))?;
    print_sign_in(&ready.admin_email, ready.admin_password.as_ref(), ready.access_token.as_ref())?;
    let key = ready.virtual_key.as_ref().map(Shown::text);
    if let Some(key) = key {
        output::line(&format!("\n  Key       {key}\n            (environment development; shown this once)"))?;
    }
    let key = key.unwrap_or("$HEADGATE_KEY");
    output::line(&format!(
        "\nA first call:\n\n  curl {}/v1/chat/completions \\\n    -H 'authorization: Bearer {key}' \\\n    -H 'content-type: \
         application/json' \\\n    -d '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n",
        ready.gateway_url
    ))
}

/// Prints what the operator of a control plane needs.
pub(crate) fn print_control(ready: &ControlReady) -> Result<()> {
    output::line(&format!(
        "\nThe control plane is ready.\n\n  Console   {}\n  Nodes     {}\n  Metrics   {}/metrics",
        ready.console_url, ready.sync_url, ready.admin_url
    ))?;
    print_sign_in(&ready.admin_email, ready.admin_password.as_ref(), ready.access_token.as_ref())?;
    if let Some(key) = ready.virtual_key.as_ref().map(Shown::text) {
        output::line(&format!("\n  Key       {key}\n            (environment development; shown this once)"))?;
    }
    output::line("")
}

/// Prints what the operator of a node needs.
pub(crate) fn print_gateway(ready: &GatewayReady) -> Result<()> {
    output::line(&format!(
        "\nThe node {} is ready.\n\n  Gateway   {}\n  Admin     {}\n",
        ready.node_id, ready.gateway_url, ready.admin_url
    ))
}

fn print_sign_in(email: &str, password: Option<&Shown>, token: Option<&Shown>) -> Result<()> {
    match password.map(Shown::text) {
        Some(password) => output::line(&format!("\n  Sign in   {email}\n  Password  {password}"))?,
        None => output::line(&format!(
            "\n  Sign in   {email} (password set earlier; `headgate admin reset` makes a new one)"
        ))?,
    }
    match token.map(Shown::text) {
        Some(token) => output::line(&format!("  API token {token}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_shown_as_one_that_works_here() {
        for (address, url) in [
            ("127.0.0.1:7400", "http://127.0.0.1:7400"),
            ("0.0.0.0:7400", "http://127.0.0.1:7400"),
            ("[::]:7400", "http://[::1]:7400"),
            ("[fd00::1]:80", "http://[fd00::1]:80"),
        ] {
            assert_eq!(url_of("http", address.parse().expect("an address")), url);
        }
    }
}
