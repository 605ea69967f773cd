//! Kill switches, in force and lifted.

use api::ops::kill_switches::{GetKillSwitch, KillSwitchView, ListKillSwitches};
use domain::Page;
use domain::kill_switch::KillSwitch;

use operation::call::{Call, Reply};
use operation::error::Outcome;

/// Lists kill switches.
pub async fn list(call: Call<ListKillSwitches>) -> Outcome<Reply<Page<KillSwitchView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let with_lifted = call.query.lifted.unwrap_or(false);
    let page = store::kill_switches::list(&mut tx, with_lifted, call.query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(view)))
}

/// Shows a kill switch.
pub async fn get(call: Call<GetKillSwitch>) -> Outcome<Reply<KillSwitchView>> {
    let mut tx = call.read().await?;
    Ok(Reply::new(view(store::kill_switches::get(&mut tx, call.path.kill_switch_id).await?)))
}

pub(crate) fn view(switch: KillSwitch) -> KillSwitchView {
    KillSwitchView {
        id: switch.id,
        target: switch.target,
        reason: switch.reason,
        cuts_calls: switch.is_cutting,
        created_at: switch.created_at,
        lifted_at: switch.lifted_at,
    }
}
