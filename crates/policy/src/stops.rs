//! What of an organization is stopped: its kill switches, as a node asks about them.
//!
//! Few are in force at a time, mostly none, so they are looked through one by one. A stopped key, user, workspace or organization refuses
//! calls; a stopped deployment, model or provider leaves routing, so that fallbacks serve.

use domain::kill_switch::Target;
use domain::{DeploymentId, VirtualKeyId, WorkspaceId};

use crate::resource::KillSwitch;

/// The kill switches of an organization that are in force.
#[derive(Debug, Clone, Default)]
pub struct Stops {
    all: Vec<KillSwitch>,
}

/// Something that serves, as kill switches name it.
#[derive(Debug, Clone, Copy)]
pub struct Serving<'a> {
    /// The deployment; `None` for a call of a provider's own API.
    pub deployment: Option<DeploymentId>,
    /// The provider's registered name.
    pub provider: &'a str,
    /// The model's name at the provider.
    pub upstream_model: &'a str,
}

impl Stops {
    /// Takes switches over.
    #[must_use]
    pub const fn new(all: Vec<KillSwitch>) -> Self {
        Self { all }
    }

    /// Says whether nothing is stopped.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Says whether calls with a key are refused.
    #[must_use]
    pub fn refuse(&self, workspace: WorkspaceId, key: VirtualKeyId) -> bool {
        self.all.iter().any(|switch| of_caller(&switch.target, workspace, key))
    }

    /// Says whether calls for an end user are refused.
    #[must_use]
    pub fn refuse_user(&self, user: Option<&str>) -> bool {
        let Some(user) = user else { return false };
        self.all.iter().any(|switch| of_user(&switch.target, user))
    }

    /// Says whether a call under way for an end user is to be cut.
    #[must_use]
    pub fn cut_user(&self, user: Option<&str>) -> bool {
        let Some(user) = user else { return false };
        self.all.iter().any(|switch| switch.is_cutting && of_user(&switch.target, user))
    }

    /// Says whether something may not serve.
    #[must_use]
    pub fn take_out(&self, serving: &Serving<'_>) -> bool {
        self.all.iter().any(|switch| of_server(&switch.target, serving))
    }

    /// Says whether a call under way is to be cut: with this key, and served by this now.
    #[must_use]
    pub fn cut(&self, workspace: WorkspaceId, key: VirtualKeyId, serving: Option<&Serving<'_>>) -> bool {
        self.all.iter().filter(|switch| switch.is_cutting).any(|switch| {
            of_caller(&switch.target, workspace, key)
                || serving.is_some_and(|serving| of_server(&switch.target, serving))
        })
    }

    /// Says whether calls under way may have to be cut at all.
    #[must_use]
    pub fn may_cut(&self) -> bool {
        self.all.iter().any(|switch| switch.is_cutting)
    }
}

fn of_caller(target: &Target, workspace: WorkspaceId, key: VirtualKeyId) -> bool {
    match target {
        Target::Organization => true,
        Target::Workspace(id) => *id == workspace,
        Target::VirtualKey(id) => *id == key,
        Target::Deployment(_) | Target::Model(_) | Target::Provider(_) | Target::EndUser(_) => false,
    }
}

fn of_user(target: &Target, user: &str) -> bool {
    matches!(target, Target::EndUser(stopped) if stopped == user)
}

fn of_server(target: &Target, serving: &Serving<'_>) -> bool {
    match target {
        Target::Deployment(id) => serving.deployment == Some(*id),
        Target::Model(pattern) => pattern.matches(&format!("{}/{}", serving.provider, serving.upstream_model)),
        Target::Provider(name) => name == serving.provider,
        Target::Organization | Target::Workspace(_) | Target::VirtualKey(_) | Target::EndUser(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use domain::{KillSwitchId, ModelPattern};

    use super::*;

    fn stops(target: Target, is_cutting: bool) -> Stops {
        Stops::new(vec![KillSwitch { id: KillSwitchId::from_uuid(1), target, is_cutting }])
    }

    #[test]
    fn who_calls_and_who_serves_are_stopped_apart() {
        let (workspace, key) = (WorkspaceId::from_uuid(1), VirtualKeyId::from_uuid(2));
        let serving =
            Serving { deployment: Some(DeploymentId::from_uuid(3)), provider: "openai", upstream_model: "gpt-5" };
        for target in [Target::Organization, Target::Workspace(workspace), Target::VirtualKey(key)] {
            let stops = stops(target, true);
            assert!(stops.refuse(workspace, key) && !stops.take_out(&serving) && stops.cut(workspace, key, None));
        }
        let pattern = |text| Target::Model(ModelPattern::parse(text).expect("a pattern"));
        let servers = [
            Target::Deployment(DeploymentId::from_uuid(3)),
            Target::Provider("openai".to_owned()),
            pattern("openai/gpt-5"),
            pattern("openai/gpt*"),
        ];
        for target in servers {
            let stops = stops(target, true);
            assert!(!stops.refuse(workspace, key) && stops.take_out(&serving));
            assert!(stops.cut(workspace, key, Some(&serving)) && !stops.cut(workspace, key, None));
        }
        let others = [
            Target::Workspace(WorkspaceId::from_uuid(9)),
            Target::VirtualKey(VirtualKeyId::from_uuid(9)),
            Target::Provider("openai2".to_owned()),
            pattern("gpt-5"),
        ];
        for target in others {
            let stops = stops(target, true);
            assert!(!stops.refuse(workspace, key) && !stops.take_out(&serving));
        }
    }

    #[test]
    fn only_a_cutting_switch_cuts() {
        let (workspace, key) = (WorkspaceId::from_uuid(1), VirtualKeyId::from_uuid(2));
        let gentle = stops(Target::Organization, false);
        assert!(gentle.refuse(workspace, key) && !gentle.cut(workspace, key, None) && !gentle.may_cut());
    }
}
