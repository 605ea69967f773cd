//! What an audit entry says as a sentence.

use api::ops::audit::AuditEntryView;
use domain::audit::AuditOutcome;

/// `virtual_key.issue` reads "issued virtual key", or "tried to issue virtual key" when it was denied.
pub fn words(action: &str, outcome: AuditOutcome) -> String {
    let Some((noun, verb)) = action.split_once('.') else { return action.replace('_', " ") };
    let is_denied = outcome == AuditOutcome::Denied;
    match (noun, verb) {
        ("session", "create") => return if is_denied { "tried to sign in as" } else { "signed in" }.to_owned(),
        ("session", "end") => return "signed out".to_owned(),
        _ => {}
    }
    let (verb, part) = verb.split_once('_').map_or((verb, None), |(verb, part)| (verb, Some(part.replace('_', " "))));
    let done = if is_denied { format!("tried to {verb}") } else { past(verb) };
    let noun = noun.replace('_', " ");
    match part {
        // The subject's name follows; of people it says enough.
        Some(part) if noun == "user" => format!("{done} the {part} of"),
        Some(part) => format!("{done} the {part} of {noun}"),
        None => format!("{done} {noun}"),
    }
}

fn past(verb: &str) -> String {
    match verb {
        "set" | "reset" => verb.to_owned(),
        "bind" => "bound".to_owned(),
        "unbind" => "unbound".to_owned(),
        "throw" => "threw".to_owned(),
        "copy" => "copied".to_owned(),
        "enrol" => "enrolled".to_owned(),
        verb if verb.ends_with("ed") => verb.to_owned(),
        verb if verb.ends_with('e') => format!("{verb}d"),
        verb => format!("{verb}ed"),
    }
}

/// The actor's name, also for those who had none.
pub fn actor_name(entry: &AuditEntryView) -> String {
    if entry.actor_name.is_empty() { "Somebody not signed in".to_owned() } else { entry.actor_name.clone() }
}

/// The subject by name, or by a short id; nothing when the actor is the subject.
pub fn subject_name(entry: &AuditEntryView) -> Option<String> {
    let is_oneself = entry.action.starts_with("session.") && entry.subject_name == entry.actor_name;
    match entry.subject_name.as_str() {
        _ if is_oneself => None,
        "" => Some(ui::format::id::short(&entry.subject_id)),
        name => Some(name.to_owned()),
    }
}

/// Who did what to which subject, in one line.
pub fn sentence(entry: &AuditEntryView) -> String {
    let subject = subject_name(entry).map(|name| format!(" {name}")).unwrap_or_default();
    format!("{} {}{subject}", actor_name(entry), words(&entry.action, entry.outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_read_as_sentences() {
        let done = |action: &str| words(action, AuditOutcome::Success);
        assert_eq!(
            [
                "virtual_key.issue",
                "route.create",
                "role_binding.bind",
                "session.create",
                "node.enrol",
                "price.set",
                "member.add",
                "kill_switch.throw",
                "price.copy",
                "member.reset_password",
                "user.change_password",
                "access_token.retire_secret"
            ]
            .map(done),
            [
                "issued virtual key",
                "created route",
                "bound role binding",
                "signed in",
                "enrolled node",
                "set price",
                "added member",
                "threw kill switch",
                "copied price",
                "reset the password of member",
                "changed the password of",
                "retired the secret of access token"
            ]
        );
        let denied = |action: &str| words(action, AuditOutcome::Denied);
        assert_eq!(denied("virtual_key.revoke"), "tried to revoke virtual key");
        assert_eq!(denied("member.reset_password"), "tried to reset the password of member");
    }
}
