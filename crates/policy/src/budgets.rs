//! Which budgets bind a call, and of which account of each.
//!
//! Compiled once for an organization; a call of an organization without budgets costs nothing here. Which provider will answer is
//! not known beforehand, so a budget that asks for it binds a call by every provider that may, and says which it counts. Not
//! here: windows, amounts and what is left of them; those the control plane alone knows.

use std::sync::Arc;

use domain::budget::{AccountKey, Dimension, Enforcement, Measure, Subject, WhenUnreachable, Window, group_key};
use domain::{BudgetId, EnvironmentId, OrganizationId, RouteId, VirtualKeyId, WorkspaceId};

use crate::resource;

/// One budget, as a node needs it.
#[derive(Debug, Clone)]
pub struct BudgetPolicy {
    /// Its id.
    pub id: BudgetId,
    /// Its name for people.
    pub name: Box<str>,
    /// The only workspace whose calls count.
    pub workspace: Option<WorkspaceId>,
    /// Which calls count.
    pub subject: Subject,
    /// By what accounts are kept apart.
    pub group_by: Vec<Dimension>,
    /// What is counted.
    pub measure: Measure,
    /// The windows that have a limit.
    pub windows: Vec<Window>,
    /// Calls are refused before they could go beyond it.
    pub is_hard: bool,
    /// Calls are served while the control plane cannot be asked.
    pub fails_open: bool,
}

/// Who spends, and on what: what is known of a call before it is sent.
#[derive(Debug, Clone, Copy)]
pub struct Spender<'a> {
    /// The workspace of the key.
    pub workspace: WorkspaceId,
    /// The environment of the key.
    pub environment: EnvironmentId,
    /// The key.
    pub key: VirtualKeyId,
    /// Whom the client says it calls for.
    pub end_user: Option<&'a str>,
    /// Pairs of the client's own.
    pub metadata: &'a [(String, String)],
    /// Words of the client's own.
    pub tags: &'a [String],
    /// The model as the client asks for it; `None` while that is not known, which every condition on models takes for its own.
    pub model: Option<&'a str>,
    /// The route that is taken.
    pub route: Option<RouteId>,
}

/// A budget that binds a call.
#[derive(Debug, Clone)]
pub struct Binding<'a> {
    /// The budget.
    pub budget: &'a BudgetPolicy,
    /// The group of its accounts.
    pub group: Arc<str>,
    /// The only providers whose answers count; `None` for all.
    pub providers: Option<Vec<Box<str>>>,
}

/// The budgets of an organization.
#[derive(Debug, Clone, Default)]
pub struct Budgets {
    all: Vec<BudgetPolicy>,
    /// The group of what is not grouped.
    single: Arc<str>,
}

impl Budgets {
    /// Takes budgets over, in the order of their ids.
    #[must_use]
    pub fn new(mut all: Vec<BudgetPolicy>) -> Self {
        all.sort_by_key(|budget| budget.id);
        Self { all, single: Arc::from("") }
    }

    /// Says whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Finds a budget.
    #[must_use]
    pub fn find(&self, id: BudgetId) -> Option<&BudgetPolicy> {
        self.all.iter().find(|budget| budget.id == id)
    }

    /// Lists those that bind a call which one of `providers` may answer.
    #[must_use]
    pub fn of_call<'a>(&'a self, spender: &Spender<'_>, providers: &[&str]) -> Vec<Binding<'a>> {
        let mut bindings = Vec::new();
        for budget in self.all.iter().filter(|budget| budget.counts(spender)) {
            self.bind(budget, spender, providers, &mut bindings);
        }
        bindings
    }

    fn bind<'a>(
        &'a self,
        budget: &'a BudgetPolicy,
        spender: &Spender<'_>,
        providers: &[&str],
        bindings: &mut Vec<Binding<'a>>,
    ) {
        let listed = &budget.subject.providers;
        let counts = |provider: &&&str| listed.is_empty() || listed.iter().any(|known| known == **provider);
        let counted: Vec<&str> = providers.iter().filter(counts).copied().collect();
        if counted.is_empty() {
            return;
        }
        if budget.group_by.contains(&Dimension::Provider) {
            for provider in counted {
                let group = Arc::from(budget.group(spender, provider));
                bindings.push(Binding { budget, group, providers: Some(vec![provider.into()]) });
            }
            return;
        }
        let group = if budget.group_by.is_empty() { self.single.clone() } else { Arc::from(budget.group(spender, "")) };
        let providers = (!listed.is_empty()).then(|| counted.into_iter().map(Into::into).collect());
        bindings.push(Binding { budget, group, providers });
    }
}

impl Binding<'_> {
    /// Lists the accounts, one for each limit.
    pub fn accounts(&self, organization_id: OrganizationId) -> impl Iterator<Item = AccountKey> {
        let windows = self.budget.windows.iter();
        windows.map(move |window| AccountKey {
            organization_id,
            budget_id: self.budget.id,
            window: *window,
            group_key: self.group.clone(),
        })
    }
}

impl BudgetPolicy {
    /// Says whether a call counts, whoever answers it.
    #[must_use]
    pub fn counts(&self, spender: &Spender<'_>) -> bool {
        counts(self.workspace, &self.subject, spender)
    }

    fn group(&self, spender: &Spender<'_>, provider: &str) -> String {
        group(&self.group_by, spender, provider)
    }
}

/// Says whether a call is one of a subject, whoever answers it.
pub(crate) fn counts(workspace: Option<WorkspaceId>, subject: &Subject, spender: &Spender<'_>) -> bool {
    let Subject { environment_ids, virtual_key_ids, end_users, metadata, tags, models, providers: _, route_ids } =
        subject;
    let is_of = |values: &[String], value: Option<&str>| {
        values.is_empty() || value.is_some_and(|value| values.iter().any(|known| known == value))
    };
    workspace.is_none_or(|id| id == spender.workspace)
        && (environment_ids.is_empty() || environment_ids.contains(&spender.environment))
        && (virtual_key_ids.is_empty() || virtual_key_ids.contains(&spender.key))
        && (route_ids.is_empty() || spender.route.is_some_and(|id| route_ids.contains(&id)))
        && is_of(end_users, spender.end_user)
        && (tags.is_empty() || spender.tags.iter().any(|tag| tags.contains(tag)))
        && spender.model.is_none_or(|model| models.is_empty() || models.iter().any(|pattern| pattern.matches(model)))
        && metadata.iter().all(|(name, values)| is_of(values, find(spender.metadata, name)))
}

/// Writes the group that a call belongs to.
pub(crate) fn group(group_by: &[Dimension], spender: &Spender<'_>, provider: &str) -> String {
    let values: Vec<String> = group_by.iter().map(|dimension| value(dimension, spender, provider)).collect();
    group_key(values.iter().map(String::as_str))
}

fn value(dimension: &Dimension, spender: &Spender<'_>, provider: &str) -> String {
    match dimension {
        Dimension::Workspace => spender.workspace.to_string(),
        Dimension::Environment => spender.environment.to_string(),
        Dimension::VirtualKey => spender.key.to_string(),
        Dimension::EndUser => spender.end_user.unwrap_or_default().to_owned(),
        Dimension::Model => spender.model.unwrap_or_default().to_owned(),
        Dimension::Provider => provider.to_owned(),
        Dimension::Route => spender.route.map(|id| id.to_string()).unwrap_or_default(),
        Dimension::Metadata(name) => find(spender.metadata, name).unwrap_or_default().to_owned(),
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

impl From<resource::Budget> for BudgetPolicy {
    fn from(it: resource::Budget) -> Self {
        Self {
            id: it.id,
            name: it.name.into(),
            workspace: it.workspace,
            subject: it.subject,
            group_by: it.group_by,
            measure: it.measure,
            windows: it.limits.iter().map(|limit| limit.window).collect(),
            is_hard: it.enforcement == Enforcement::Hard,
            fails_open: it.when_unreachable == WhenUnreachable::Allow,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::ModelPattern;

    use super::*;

    fn budget(subject: Subject, group_by: Vec<Dimension>) -> Budgets {
        Budgets::new(vec![BudgetPolicy {
            id: BudgetId::from_uuid(1),
            name: "team".into(),
            workspace: None,
            subject,
            group_by,
            measure: Measure::Cost,
            windows: vec![Window::Day, Window::Month],
            is_hard: true,
            fails_open: false,
        }])
    }

    fn spender<'a>(metadata: &'a [(String, String)], tags: &'a [String]) -> Spender<'a> {
        Spender {
            workspace: WorkspaceId::from_uuid(1),
            environment: EnvironmentId::from_uuid(2),
            key: VirtualKeyId::from_uuid(3),
            end_user: Some("ann"),
            metadata,
            tags,
            model: Some("gpt-5-mini"),
            route: None,
        }
    }

    fn groups(budgets: &Budgets, spender: &Spender<'_>, providers: &[&str]) -> Vec<String> {
        budgets.of_call(spender, providers).iter().map(|binding| binding.group.to_string()).collect()
    }

    #[test]
    fn all_conditions_must_hold_and_one_that_is_empty_holds_always() {
        let metadata = [("team".to_owned(), "red".to_owned())];
        let tags = ["batch".to_owned()];
        let call = spender(&metadata, &tags);
        let fits = |subject: Subject| !budget(subject, Vec::new()).of_call(&call, &["openai"]).is_empty();
        let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        assert!(fits(Subject::default()));
        assert!(fits(Subject { tags: texts(&["other", "batch"]), end_users: texts(&["ann"]), ..Subject::default() }));
        assert!(!fits(Subject { tags: texts(&["batch"]), end_users: texts(&["bob"]), ..Subject::default() }));
        let of_team = |value: &str| Subject {
            metadata: [("team".to_owned(), texts(&[value]))].into_iter().collect(),
            ..Subject::default()
        };
        assert!(fits(of_team("red")));
        assert!(!fits(of_team("blue")));
        assert!(fits(Subject { models: vec![ModelPattern::parse("gpt-5*").unwrap()], ..Subject::default() }));
        assert!(!fits(Subject { models: vec![ModelPattern::parse("gpt-5").unwrap()], ..Subject::default() }));
        assert!(!fits(Subject { route_ids: vec![RouteId::from_uuid(1)], ..Subject::default() }));
        assert!(!fits(Subject { virtual_key_ids: vec![VirtualKeyId::from_uuid(9)], ..Subject::default() }));
    }

    #[test]
    fn each_tuple_has_accounts_of_its_own_and_a_missing_value_is_empty() {
        let metadata = [("team".to_owned(), "a|b".to_owned())];
        let by = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<Dimension>>();
        let call = spender(&metadata, &[]);
        assert_eq!(groups(&budget(Subject::default(), by(&["end_user", "route"])), &call, &["x"]), ["ann|"]);
        assert_eq!(groups(&budget(Subject::default(), by(&["metadata:team"])), &call, &["x"]), ["a\\|b"]);
        assert_eq!(groups(&budget(Subject::default(), Vec::new()), &call, &["x"]), [""]);
    }

    #[test]
    fn who_may_answer_decides_where_providers_count() {
        let listed = Subject { providers: vec!["openai".to_owned(), "azure_openai".to_owned()], ..Subject::default() };
        let call = spender(&[], &[]);
        let budgets = budget(listed.clone(), Vec::new());
        assert!(budgets.of_call(&call, &["mistral"]).is_empty());
        let bound = budgets.of_call(&call, &["mistral", "openai"]);
        assert_eq!(bound[0].providers, Some(vec!["openai".into()]));
        let grouped = budget(listed, vec![Dimension::Provider]);
        assert_eq!(groups(&grouped, &call, &["mistral", "openai", "azure_openai"]), ["openai", "azure_openai"]);
        assert_eq!(bound[0].accounts(OrganizationId::from_uuid(1)).count(), 2);
    }
}
