//! Why a call that was understood is served by nobody: no target fits, or it was stopped. In words that say what to do.

use domain::code::GatewayCode;
use domain::usage::SkipReason;
use policy::plan::Plan;

use crate::rejection::Rejection;

/// Refuses a call of a model that nobody can serve now.
#[must_use]
pub fn refuse_without_target() -> Rejection {
    Rejection::new(
        GatewayCode::NoHealthyTarget,
        "no deployment can serve this model at the moment: each is switched off or lacks a usable credential; an administrator \
         can mend that in the console",
    )
}

/// Refuses a call that no target was left for, by what kept them from it.
#[must_use]
pub fn refuse_plan(plan: &Plan, n_targets: usize) -> Rejection {
    let reasons: Vec<_> = (0..n_targets).filter_map(|slot| plan.skip(u8::try_from(slot).ok()?)).collect();
    if reasons.contains(&SkipReason::ForeignReasoning) {
        return refuse_reasoning();
    }
    let words = [
        (SkipReason::Excluded, "which ones"),
        (SkipReason::TooExpensive, "the price"),
        (SkipReason::DataPolicy, "what the provider does with data"),
        (SkipReason::Quantization, "the quantization"),
    ];
    let unmet: Vec<_> = words.iter().filter(|(reason, _)| reasons.contains(reason)).map(|(_, word)| *word).collect();
    if unmet.is_empty() {
        return refuse_without_target();
    }
    let detail = format!(
        "no target of this model that could serve is what \"provider\" asks for ({}); ask for less, or for another model",
        unmet.join(", ")
    );
    Rejection::new(GatewayCode::RequestInvalid, detail).with_param("provider")
}

fn refuse_reasoning() -> Rejection {
    let detail = "the conversation holds reasoning that only the vendor reads which made it, no target of that vendor is left, and \
                  nothing may be left out here; send the conversation without its reasoning, or begin anew";
    Rejection::new(GatewayCode::RequestInvalid, detail)
}

/// Refuses to leave out parts of a request.
#[must_use]
pub fn refuse_losses(paths: &[String]) -> Rejection {
    let detail = format!(
        "no target can be told all of this request, and nothing may be left out of it here; remove {}",
        paths.join(", ")
    );
    Rejection::new(GatewayCode::RequestInvalid, detail)
}

/// Refuses a call for a stopped user. The key serves others.
#[must_use]
pub fn refuse_user() -> Rejection {
    let detail = "the user that x-headgate-user names was stopped by an administrator; the key serves others; ask them before you try \
                  again";
    Rejection::new(GatewayCode::UserStopped, detail).with_param("x-headgate-user")
}

/// Refuses a call of a stopped key, workspace or organization. Why it was stopped is for the organization's people.
#[must_use]
pub fn refuse_stopped() -> Rejection {
    let detail = "this key was stopped by an administrator, alone or with all of its workspace or organization; ask them before you \
                  try again";
    Rejection::new(GatewayCode::KeyRevoked, detail)
}

/// Says whether a refusal ends a realtime session: what will not pass by itself.
#[must_use]
pub const fn ends_session(code: GatewayCode) -> bool {
    matches!(
        code,
        GatewayCode::KeyInvalid
            | GatewayCode::KeyExpired
            | GatewayCode::KeyRevoked
            | GatewayCode::ModelNotAllowed
            | GatewayCode::UserStopped
            | GatewayCode::ModelUnknown
            | GatewayCode::PromptUnknown
            | GatewayCode::NoHealthyTarget
    )
}
