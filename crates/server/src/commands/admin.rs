//! `headgate admin …`: what only whoever runs the machine may do.
//!
//! `reset` makes a new password, access token and virtual key for the administrator, `reset-password` a one-time password for
//! anybody, `restored` declares that the database came back from a backup. Secrets that are printed here are shown once.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use runtime::config::Resolved;
use serde_json::json;

use crate::data_dir::DataDir;
use crate::output;
use crate::roles::control::{Base, config, explained};

/// Makes and prints new secrets; earlier sessions and the earlier token end.
pub(crate) async fn reset(settings: &Resolved, data_dir: &DataDir, is_json: bool) -> Result<()> {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let base = Base::open(settings, data_dir.path(), config(settings, nowhere, nowhere)?, false).await?;
    let reset = control::bootstrap::reset_admin(&base.cx).await.map_err(|failure| explained(&failure));
    base.close().await?;
    let reset = reset?;
    let Some(secrets) = reset.secrets else { anyhow::bail!("nothing was made") };
    if is_json {
        let made = json!({
            "admin_email": reset.admin_email,
            "admin_password": secrets.admin_password.expose(),
            "access_token": secrets.access_token.expose(),
            "virtual_key": secrets.virtual_key.expose(),
        });
        return output::line(&made.to_string());
    }
    output::line(&format!("Sign in   {}\nPassword  {}", reset.admin_email, secrets.admin_password.expose()))?;
    output::line(&format!("API token {}\nKey       {}", secrets.access_token.expose(), secrets.virtual_key.expose()))
}

/// Declares that the database was restored from a backup: nodes that hold later policy than it has take the restored one.
pub(crate) async fn restored(settings: &Resolved, data_dir: &DataDir, is_json: bool) -> Result<()> {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let base = Base::open(settings, data_dir.path(), config(settings, nowhere, nowhere)?, false).await?;
    let declared = downlink::sync::restored::declare(&base.cx).await;
    base.close().await?;
    let declared = declared?;
    if is_json {
        return output::line(&serde_json::to_string(&declared)?);
    }
    for (organization, revision) in &declared.revisions {
        output::line(&format!("{organization}  revision {revision}"))?;
    }
    output::line("Nodes take the restored policy as soon as they reach a control plane.")
}

/// Makes and prints a one-time password for a person; their sessions end.
pub(crate) async fn reset_password(settings: &Resolved, data_dir: &DataDir, email: &str, is_json: bool) -> Result<()> {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let base = Base::open(settings, data_dir.path(), config(settings, nowhere, nowhere)?, false).await?;
    let made = control::operator::reset_password(&base.cx, email).await.map_err(|failure| explained(&failure));
    base.close().await?;
    let made = made?;
    let password = made.password.expose().as_str();
    if is_json {
        let made = json!({ "email": email, "one_time_password": password, "expires_at": made.expires_at });
        return output::line(&made.to_string());
    }
    output::line(&format!(
        "Sign in   {email}\nPassword  {password}\n          works until {}, and must then be changed",
        made.expires_at
    ))
}
