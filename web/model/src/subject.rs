//! Whom a budget or a limit is about: the conditions in words, how narrow they are, and by what its counters are kept apart.

use domain::budget::{Dimension, Subject};

/// Each condition with its words; none when every call counts. Ids are named by the one who knows their names.
pub fn conditions(it: &Subject, name_of: &dyn Fn(&str) -> Option<String>) -> Vec<(&'static str, String)> {
    let named = |ids: Vec<String>| -> Vec<String> {
        let name = |id: String| name_of(&id).unwrap_or_else(|| ui::format::id::short(&id));
        ids.into_iter().map(name).collect()
    };
    let pairs = it.metadata.iter().map(|(name, values)| format!("{name} = {}", values.join(" or "))).collect();
    let all: [(&'static str, Vec<String>); 8] = [
        ("Environments", named(it.environment_ids.iter().map(ToString::to_string).collect())),
        ("Virtual keys", named(it.virtual_key_ids.iter().map(ToString::to_string).collect())),
        ("Routes", named(it.route_ids.iter().map(ToString::to_string).collect())),
        ("Models", it.models.iter().map(ToString::to_string).collect()),
        ("Providers", it.providers.clone()),
        ("End users", it.end_users.clone()),
        ("Tags", it.tags.clone()),
        ("Metadata", pairs),
    ];
    all.into_iter().filter(|(_, values)| !values.is_empty()).map(|(name, values)| (name, values.join(", "))).collect()
}

/// How deep in the tree a subject stands below its place: 0 for every call, 1 for an environment, 2 for what is narrower.
pub fn depth(it: &Subject) -> usize {
    let of_environment = usize::from(!it.environment_ids.is_empty());
    let narrower = Subject { environment_ids: Vec::new(), ..it.clone() } != Subject::default();
    if narrower { 1 + of_environment } else { of_environment }
}

/// By what counters are kept apart, in words.
pub fn dimension_text(by: &Dimension) -> String {
    match by {
        Dimension::Metadata(name) => format!("each {name}"),
        other => format!("each {}", other.to_string().replace('_', " ")),
    }
}

/// The values of a group in one line; calls without a value are named so.
pub fn group_text<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let value = |text: &str| if text.is_empty() { "(none)".to_owned() } else { text.to_owned() };
    let values: Vec<String> = values.into_iter().map(value).collect();
    if values.is_empty() { "all calls".to_owned() } else { values.join(" · ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{EnvironmentId, VirtualKeyId};

    #[test]
    fn conditions_name_what_they_know_and_shorten_what_they_do_not() {
        let key = VirtualKeyId::from_uuid(7);
        let it =
            Subject { virtual_key_ids: vec![key], end_users: vec!["ada".into(), "bob".into()], ..Subject::default() };
        let known = |id: &str| (id == key.to_string()).then(|| "ci".to_owned());
        assert_eq!(conditions(&it, &known), [("Virtual keys", "ci".to_owned()), ("End users", "ada, bob".to_owned())]);
        assert_ne!(conditions(&it, &|_| None)[0].1, "ci");
        assert_eq!(conditions(&Subject::default(), &|_| None), []);
    }

    #[test]
    fn the_narrower_the_deeper() {
        let environment = Subject { environment_ids: vec![EnvironmentId::from_uuid(1)], ..Subject::default() };
        let key = Subject { virtual_key_ids: vec![VirtualKeyId::from_uuid(1)], ..Subject::default() };
        let both = Subject { virtual_key_ids: key.virtual_key_ids.clone(), ..environment.clone() };
        assert_eq!([&Subject::default(), &environment, &key, &both].map(depth), [0, 1, 1, 2]);
    }

    #[test]
    fn groups_read_as_one_line() {
        assert_eq!(group_text(["ada", ""]), "ada · (none)");
        assert_eq!(group_text([]), "all calls");
        assert_eq!(dimension_text(&Dimension::EndUser), "each end user");
        assert_eq!(dimension_text(&Dimension::Metadata("team".into())), "each team");
    }
}
