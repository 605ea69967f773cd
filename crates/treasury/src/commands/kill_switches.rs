//! Kill switches: thrown with a reason, lifted, written down both times. Nodes hear of either within a second.

use api::Empty;
use api::ops::kill_switches::{KillSwitchView, LiftKillSwitch, ThrowKillSwitch};
use domain::alert::{Alert, AlertKind, Severity};
use domain::id::IdMint as _;
use domain::kill_switch::{KillSwitch, Target, TargetKind};
use domain::{KillSwitchId, Timestamp};
use store::Tx;

use crate::queries::kill_switches::view;
use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

/// Throws a kill switch.
pub async fn throw(call: Call<ThrowKillSwitch>) -> Outcome<Reply<KillSwitchView>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    if !KillSwitch::is_reason(&call.body.reason) {
        let detail = format!("say why, in at most {} characters", KillSwitch::MAX_REASON);
        return Err(Failure::unacceptable("/reason", detail));
    }
    let target = call.body.target.clone();
    check(&mut write, &target).await?;
    if store::kill_switches::count(&mut write).await? >= KillSwitch::MAX_IN_FORCE as u64 {
        let detail = format!("at most {} are in force at a time; stop something larger", KillSwitch::MAX_IN_FORCE);
        return Err(Failure::unacceptable("", detail));
    }
    let switch = KillSwitch {
        id: KillSwitchId::from_uuid(call.cx.mint.next_uuid()),
        organization_id: permit.organization(),
        is_cutting: call.body.cuts_calls.unwrap_or_else(|| target.cuts_by_default()),
        target,
        reason: call.body.reason.trim().to_owned(),
        created_at: call.now(),
        lifted_at: None,
    };
    store::kill_switches::insert(&mut write, &permit, &switch).await?;
    store::alerts::raise(&mut *write, &[told(&switch, call.now())]).await?;
    let view = view(switch);
    write.audit(subject(&view).created("kill_switch.throw", &view));
    write.commit(view).await
}

/// Lifts a kill switch.
pub async fn lift(call: Call<LiftKillSwitch>) -> Outcome<Reply<Empty>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let switch = store::kill_switches::get(&mut write, call.path.kill_switch_id).await?;
    store::kill_switches::lift(&mut write, &permit, switch.id, call.now()).await?;
    let lifted = KillSwitch { lifted_at: Some(call.now()), ..switch.clone() };
    store::alerts::raise(&mut *write, &[told(&lifted, call.now())]).await?;
    let before = view(switch);
    write.audit(subject(&before).removed("kill_switch.lift", &before));
    write.commit(Empty {}).await
}

/// A switch on something that is not there would stop nothing, and nobody would notice.
async fn check(tx: &mut Tx, target: &Target) -> Outcome<()> {
    let is_there = match target {
        Target::Organization | Target::Model(_) => true,
        // A user is known by what clients say alone.
        Target::EndUser(user) if Target::read(TargetKind::EndUser, user).is_ok() => true,
        Target::EndUser(_) => {
            let detail = format!("use 1 to {} printable characters", KillSwitch::MAX_END_USER);
            return Err(Failure::unacceptable("/target/id", detail));
        }
        Target::Workspace(id) => !store::workspaces::load(tx, Some(&[*id])).await?.is_empty(),
        Target::VirtualKey(id) => !store::virtual_keys::load(tx, Some(&[*id])).await?.is_empty(),
        Target::Deployment(id) => !store::deployments::load(tx, Some(&[*id])).await?.is_empty(),
        Target::Provider(name) => provider::find(name).is_some(),
    };
    if is_there {
        return Ok(());
    }
    Err(Failure::unacceptable(
        "/target/id",
        format!("there is no such {} here", target.kind().as_str().replace('_', " ")),
    ))
}

/// What those hear who want to.
pub(crate) fn told(switch: &KillSwitch, at: Timestamp) -> Alert {
    let subject = format!("kill_switch/{}", switch.id);
    let (kind, summary) = if switch.lifted_at.is_none() {
        let kind = (AlertKind::KillSwitchThrown, Severity::Critical);
        (kind, format!("A kill switch stops {}: {}", switch.target, switch.reason))
    } else {
        let kind = (AlertKind::KillSwitchLifted, Severity::Info);
        (kind, format!("The kill switch on {} was lifted.", switch.target))
    };
    let workspace = match switch.target {
        Target::Workspace(id) => Some(id),
        _ => None,
    };
    let once = format!("{subject}/{}", kind.0);
    let alert = Alert::new(switch.organization_id, kind, &subject, &once, &summary, at)
        .within(workspace)
        .with("kill_switch_id", switch.id)
        .with("target_kind", switch.target.kind())
        .with("target", switch.target.id_text())
        .with("reason", &switch.reason);
    if switch.lifted_at.is_some() { alert.resolved() } else { alert }
}

fn subject(view: &KillSwitchView) -> Subject {
    Subject::new("kill_switch", view.id, &view.target)
}
