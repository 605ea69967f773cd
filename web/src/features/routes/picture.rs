//! A route drawn as steps: the first step shares the calls by weight, the next ones take over when it fails.

use api::ops::routes::RouteView;
use domain::route::Target;
use leptos::prelude::*;

use super::Switchboard;
use ui::Tone;
use ui::badge::Badge;
use ui::format::{number, time};
use ui::icon::{Glyph, Icon};
use ui::meter::Bar;

/// Targets by priority, ascending; within a step each with its share of the weight.
pub(super) fn steps(targets: &[Target]) -> Vec<Vec<(Target, f64)>> {
    let mut priorities: Vec<u16> = targets.iter().map(|target| target.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let step = |priority: u16| {
        let members: Vec<Target> = targets.iter().copied().filter(|target| target.priority == priority).collect();
        let total: u64 = members.iter().map(|target| u64::from(target.weight)).sum();
        let count = number::as_f64(u64::try_from(members.len()).unwrap_or(1).max(1));
        let share = |weight: u32| if total == 0 { 1.0 / count } else { f64::from(weight) / number::as_f64(total) };
        members.into_iter().map(|target| (target, share(target.weight))).collect()
    };
    priorities.into_iter().map(step).collect()
}

fn target(board: Switchboard, target: Target, share: f64) -> AnyView {
    let found = board.deployment(target.deployment_id);
    let (name, detail, is_enabled) = match &found {
        Some(deployment) => (
            deployment.name.to_string(),
            format!("{} at {}", deployment.upstream_model, deployment.provider),
            deployment.is_enabled,
        ),
        None => (ui::format::id::short(&target.deployment_id.to_string()), "not visible".to_owned(), true),
    };
    let (tone, fared) = board.fared(target.deployment_id);
    let p95 = board.p95(target.deployment_id).map(|ms| format!("p95 {}", time::millis(ms)));
    view! {
        <li class="target">
            <div class="row-between">
                <span class="strong truncate">{name}</span>
                <span class="number strong">{format!("{}%", number::trimmed(share * 100.0, 1))}</span>
            </div>
            <Bar share tone=Tone::Accent />
            <p class="small muted truncate">{detail}</p>
            <p class="row">
                {if is_enabled { view! { <Badge tone text=fared dot=true /> <span class="faint small number">{p95}</span> }.into_any() } else { view! { <Badge tone=Tone::Warn text="Switched off" /> }.into_any() }}
            </p>
        </li>
    }
    .into_any()
}

/// The drawing.
#[component]
pub(super) fn RoutePicture(board: Switchboard, route: RouteView) -> impl IntoView {
    let steps = steps(&route.targets);
    let count = steps.len();
    let drawn = move || {
        let drawn = steps.iter().enumerate().map(|(index, members)| {
            let title = match index {
                0 if members.len() == 1 => "All calls".to_owned(),
                0 => "Shared by weight".to_owned(),
                1 => "When that fails".to_owned(),
                _ => format!("Then, step {}", index + 1),
            };
            let targets = members.iter().map(|(member, share)| target(board, *member, *share)).collect_view();
            view! {
                <div class="step">
                    <p class="small faint">{title}</p>
                    <ul class="step-targets">{targets}</ul>
                </div>
                {(index + 1 < count).then(|| view! { <span class="step-arrow" aria-hidden="true"><Glyph icon=Icon::ChevronRight /></span> })}
            }
        });
        drawn.collect_view()
    };
    view! {
        <div class="steps">{drawn}</div>
        <p class="faint small">"Shares as configured; calls and failures of the last hour."</p>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::DeploymentId;

    #[test]
    fn steps_follow_priority_and_share_weight() {
        let target = |id, priority, weight| Target { deployment_id: DeploymentId::from_uuid(id), priority, weight };
        let steps = steps(&[target(1, 5, 1), target(2, 0, 3), target(3, 0, 1), target(4, 9, 0)]);
        let shares: Vec<Vec<f64>> = steps.iter().map(|step| step.iter().map(|member| member.1).collect()).collect();
        assert_eq!(shares, [vec![0.75, 0.25], vec![1.0], vec![1.0]]);
    }
}
