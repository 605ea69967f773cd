//! Budgets as resources: [`Budget`] ⇄ message.

use std::collections::BTreeMap;
use std::str::FromStr;

use domain::ModelPattern;
use domain::budget::{self, Dimension, Enforcement, Limit, Measure, Subject, WhenUnreachable, Window};
use proto::v1;

use super::{Reason, WireError, bounded, id, wrong};
use crate::resource::Budget;

pub(super) const MAX_NAME: usize = 1_024;

pub(super) fn decode(it: v1::Budget) -> Result<Budget, WireError> {
    let workspace = if it.workspace_id.is_empty() { None } else { Some(id("workspace_id", &it.workspace_id)?) };
    if it.limits.is_empty() || it.limits.len() > Window::ALL.len() {
        return Err(wrong("limits", Reason::OutOfBounds));
    }
    if it.group_by.len() > budget::Budget::MAX_DIMENSIONS {
        return Err(wrong("group_by", Reason::OutOfBounds));
    }
    let limits = it.limits.iter().map(limit).collect::<Result<Vec<_>, _>>()?;
    if (1..limits.len()).any(|at| limits[..at].iter().any(|other| other.window == limits[at].window)) {
        return Err(wrong("limits.window", Reason::OutOfBounds));
    }
    Ok(Budget {
        id: id("id", &it.id)?,
        workspace,
        name: bounded("name", it.name, MAX_NAME)?,
        measure: Measure::find(&it.measure).ok_or(wrong("measure", Reason::Unknown))?,
        enforcement: Enforcement::find(&it.enforcement).ok_or(wrong("enforcement", Reason::Unknown))?,
        when_unreachable: WhenUnreachable::find(&it.when_unreachable)
            .ok_or(wrong("when_unreachable", Reason::Unknown))?,
        // Absent it would be a budget of everything, which no control plane says by accident.
        subject: subject(it.subject.ok_or(wrong("subject", Reason::Missing))?)?,
        group_by: it.group_by.iter().map(|text| dimension(text)).collect::<Result<_, _>>()?,
        limits,
    })
}

fn limit(it: &v1::BudgetLimit) -> Result<Limit, WireError> {
    if it.amount > budget::Budget::MAX_AMOUNT {
        return Err(wrong("limits.amount", Reason::OutOfBounds));
    }
    Ok(Limit { window: Window::find(&it.window).ok_or(wrong("limits.window", Reason::Unknown))?, amount: it.amount })
}

pub(super) fn dimension(text: &str) -> Result<Dimension, WireError> {
    text.parse().map_err(|_| wrong("group_by", Reason::Unknown))
}

fn ids<T: FromStr>(field: &'static str, texts: &[String]) -> Result<Vec<T>, WireError> {
    count(field, texts.len())?;
    texts.iter().map(|text| id(field, text)).collect()
}

fn texts(field: &'static str, texts: Vec<String>) -> Result<Vec<String>, WireError> {
    count(field, texts.len())?;
    texts.into_iter().map(|text| bounded(field, text, budget::Budget::MAX_TEXT)).collect()
}

fn count(field: &'static str, count: usize) -> Result<(), WireError> {
    if count > budget::Budget::MAX_VALUES { Err(wrong(field, Reason::OutOfBounds)) } else { Ok(()) }
}

pub(super) fn subject(it: v1::BudgetSubject) -> Result<Subject, WireError> {
    count("subject.metadata", it.metadata.len())?;
    count("subject.models", it.models.len())?;
    let mut metadata = BTreeMap::new();
    for pair in it.metadata {
        if pair.values.is_empty() {
            return Err(wrong("subject.metadata", Reason::Missing));
        }
        metadata.insert(pair.name, texts("subject.metadata", pair.values)?);
    }
    let pattern = |text: &String| ModelPattern::parse(text).map_err(|_| wrong("subject.models", Reason::Malformed));
    Ok(Subject {
        environment_ids: ids("subject.environment_ids", &it.environment_ids)?,
        virtual_key_ids: ids("subject.virtual_key_ids", &it.virtual_key_ids)?,
        end_users: texts("subject.end_users", it.end_users)?,
        metadata,
        tags: texts("subject.tags", it.tags)?,
        models: it.models.iter().map(pattern).collect::<Result<_, _>>()?,
        providers: texts("subject.providers", it.providers)?,
        route_ids: ids("subject.route_ids", &it.route_ids)?,
    })
}

pub(super) fn encode(it: &Budget) -> v1::Budget {
    v1::Budget {
        id: it.id.to_string(),
        workspace_id: it.workspace.map_or_else(String::new, |id| id.to_string()),
        name: it.name.clone(),
        measure: it.measure.to_string(),
        enforcement: it.enforcement.to_string(),
        when_unreachable: it.when_unreachable.to_string(),
        subject: Some(subject_message(&it.subject)),
        group_by: it.group_by.iter().map(ToString::to_string).collect(),
        limits: it
            .limits
            .iter()
            .map(|limit| v1::BudgetLimit { window: limit.window.to_string(), amount: limit.amount })
            .collect(),
    }
}

fn all_texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

pub(super) fn subject_message(it: &Subject) -> v1::BudgetSubject {
    v1::BudgetSubject {
        environment_ids: all_texts(&it.environment_ids),
        virtual_key_ids: all_texts(&it.virtual_key_ids),
        end_users: it.end_users.clone(),
        metadata: it
            .metadata
            .iter()
            .map(|(name, values)| v1::NamedValues { name: name.clone(), values: values.clone() })
            .collect(),
        tags: it.tags.clone(),
        models: all_texts(&it.models),
        providers: it.providers.clone(),
        route_ids: all_texts(&it.route_ids),
    }
}

#[cfg(test)]
mod tests {
    use domain::{BudgetId, EnvironmentId, OrganizationId, RouteId, WorkspaceId};

    use super::*;
    use crate::resource::Content;

    fn budget() -> Budget {
        Budget {
            id: BudgetId::from_uuid(1),
            workspace: Some(WorkspaceId::from_uuid(2)),
            name: "Research".to_owned(),
            measure: Measure::Tokens,
            enforcement: Enforcement::Hard,
            when_unreachable: WhenUnreachable::Allow,
            subject: Subject {
                environment_ids: vec![EnvironmentId::from_uuid(3)],
                metadata: [("team".to_owned(), vec!["a".to_owned(), "b".to_owned()])].into(),
                models: vec![ModelPattern::parse("openai/*").expect("a pattern")],
                route_ids: vec![RouteId::from_uuid(4)],
                tags: vec!["x".to_owned()],
                ..Subject::default()
            },
            group_by: vec![Dimension::EndUser, Dimension::Metadata("team".into())],
            limits: vec![Limit { window: Window::Day, amount: 7 }, Limit { window: Window::Total, amount: 0 }],
        }
    }

    #[test]
    fn a_budget_round_trips_as_a_resource_of_its_organization() {
        let content = Content::Budget(budget());
        let resource = super::super::encode(OrganizationId::from_uuid(9), &content);
        assert_eq!(resource.workspace, None);
        assert_eq!(super::super::decode(&resource), Ok(content));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let field = |it: v1::Budget| decode(it).expect_err("is refused").field;
        let good = encode(&budget());
        assert_eq!(field(v1::Budget { subject: None, ..good.clone() }), "subject");
        assert_eq!(field(v1::Budget { measure: "votes".to_owned(), ..good.clone() }), "measure");
        assert_eq!(field(v1::Budget { group_by: vec!["moon".to_owned()], ..good.clone() }), "group_by");
        assert_eq!(field(v1::Budget { limits: vec![], ..good.clone() }), "limits");
        let twice = vec![good.limits[0].clone(), good.limits[0].clone()];
        assert_eq!(field(v1::Budget { limits: twice, ..good }), "limits.window");
    }
}
