//! What only whoever runs the machine may do: `headgate admin reset` makes a new password, access token and virtual key for the
//! administrator; `headgate admin restored` declares that the database came back from a backup.

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
            "admin_password": secrets.admin_password,
            "access_token": secrets.access_token,
            "virtual_key": secrets.virtual_key,
        });
        return output::line(&made.to_string());
    }
    output::line(&format!("Sign in   {}\nPassword  {}", reset.admin_email, secrets.admin_password))?;
    output::line(&format!("API token {}\nKey       {}", secrets.access_token, secrets.virtual_key))
}

/// Declares that the database was restored from a backup: nodes that hold later policy than it has take the restored one.
pub(crate) async fn restored(settings: &Resolved, data_dir: &DataDir, is_json: bool) -> Result<()> {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let base = Base::open(settings, data_dir.path(), config(settings, nowhere, nowhere)?, false).await?;
    let declared = control::sync::restored::declare(&base.cx).await;
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
