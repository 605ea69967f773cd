//! What an audit entry says as a sentence.

use api::ops::audit::AuditEntryView;
use domain::audit::AuditOutcome;

/// `virtual_key.issue` reads "issued virtual key", or "tried to issue virtual key" when it was denied.
pub fn words(action: &str, outcome: AuditOutcome) -> String {
    let Some((noun, verb)) = action.split_once('.') else { return action.replace('_', " ") };
    let (noun, verb) = (noun.replace('_', " "), verb.replace('_', " "));
    let is_denied = outcome == AuditOutcome::Denied;
    let past = match (noun.as_str(), verb.as_str()) {
        ("session", "create") => return if is_denied { "tried to sign in as" } else { "signed in" }.to_owned(),
        ("session", "end") => return "signed out".to_owned(),
        ("user", "change password") => {
            return if is_denied { "tried to change the password of" } else { "changed the password of" }.to_owned();
        }
        (_, verb) if is_denied => return format!("tried to {verb} {noun}"),
        (_, "set") => "set".to_owned(),
        (_, "bind") => "bound".to_owned(),
        (_, "unbind") => "unbound".to_owned(),
        (_, "enrol") => "enrolled".to_owned(),
        (_, verb) if verb.ends_with("ed") => verb.to_owned(),
        (_, verb) if verb.ends_with('e') => format!("{verb}d"),
        (_, verb) => format!("{verb}ed"),
    };
    format!("{past} {noun}")
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
                "member.add"
            ]
            .map(done),
            [
                "issued virtual key",
                "created route",
                "bound role binding",
                "signed in",
                "enrolled node",
                "set price",
                "added member"
            ]
        );
        assert_eq!(words("virtual_key.revoke", AuditOutcome::Denied), "tried to revoke virtual key");
    }
}
