//! Which rate limits bind a call, and which counter of each.
//!
//! The same conditions and groups as with budgets ([`crate::budgets`]). Which provider will answer is not known beforehand, so a
//! limit that asks for it binds a call by every provider that may, and says which it counts. Not here: counting.

use std::sync::Arc;

use domain::budget::{Dimension, Subject};
use domain::rate_limit::Rate;
use domain::{RateLimitId, WorkspaceId};

use crate::budgets::{Spender, counts, group};
use crate::resource;

/// One rate limit, as a node needs it.
#[derive(Debug, Clone)]
pub struct LimitPolicy {
    /// Its id.
    pub id: RateLimitId,
    /// Its name for people.
    pub name: Arc<str>,
    /// The only workspace whose calls count.
    pub workspace: Option<WorkspaceId>,
    /// Which calls count.
    pub subject: Subject,
    /// By what counters are kept apart.
    pub group_by: Vec<Dimension>,
    /// The amounts.
    pub rates: Arc<[Rate]>,
}

/// A rate limit that binds a call.
#[derive(Debug, Clone)]
pub struct Binding<'a> {
    /// The limit.
    pub limit: &'a LimitPolicy,
    /// The group of its counters.
    pub group: Arc<str>,
    /// The only providers whose answers count; `None` for all.
    pub providers: Option<Vec<Box<str>>>,
}

/// The rate limits of an organization.
#[derive(Debug, Clone, Default)]
pub struct RateLimits {
    all: Vec<LimitPolicy>,
    /// The group of what is not grouped.
    single: Arc<str>,
}

impl RateLimits {
    /// Takes limits over, in the order of their ids.
    #[must_use]
    pub fn new(mut all: Vec<LimitPolicy>) -> Self {
        all.sort_by_key(|limit| limit.id);
        Self { all, single: Arc::from("") }
    }

    /// Says whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Lists the ids.
    pub fn ids(&self) -> impl Iterator<Item = RateLimitId> {
        self.all.iter().map(|limit| limit.id)
    }

    /// Lists those that bind a call which one of `providers` may answer.
    #[must_use]
    pub fn of_call<'a>(&'a self, spender: &Spender<'_>, providers: &[&str]) -> Vec<Binding<'a>> {
        let mut bindings = Vec::new();
        for limit in self.all.iter().filter(|limit| counts(limit.workspace, &limit.subject, spender)) {
            self.bind(limit, spender, providers, &mut bindings);
        }
        bindings
    }

    fn bind<'a>(
        &'a self,
        limit: &'a LimitPolicy,
        spender: &Spender<'_>,
        providers: &[&str],
        bindings: &mut Vec<Binding<'a>>,
    ) {
        let listed = &limit.subject.providers;
        let by_provider = limit.group_by.contains(&Dimension::Provider);
        if listed.is_empty() && !by_provider {
            let group = if limit.group_by.is_empty() {
                self.single.clone()
            } else {
                Arc::from(group(&limit.group_by, spender, ""))
            };
            bindings.push(Binding { limit, group, providers: None });
            return;
        }
        let mut counted: Vec<&str> = Vec::new();
        for provider in providers {
            if (listed.is_empty() || listed.iter().any(|known| known == provider)) && !counted.contains(provider) {
                counted.push(provider);
            }
        }
        if by_provider {
            for provider in counted {
                let group = Arc::from(group(&limit.group_by, spender, provider));
                bindings.push(Binding { limit, group, providers: Some(vec![provider.into()]) });
            }
        } else if !counted.is_empty() {
            let group = Arc::from(group(&limit.group_by, spender, ""));
            bindings.push(Binding { limit, group, providers: Some(counted.into_iter().map(Into::into).collect()) });
        }
    }
}

impl From<resource::RateLimit> for LimitPolicy {
    fn from(it: resource::RateLimit) -> Self {
        Self {
            id: it.id,
            name: it.name.into(),
            workspace: it.workspace,
            subject: it.subject,
            group_by: it.group_by,
            rates: it.rates.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::rate_limit::{Measure, Per};
    use domain::{EnvironmentId, VirtualKeyId};

    use super::*;

    fn limits(subject: Subject, group_by: &[&str]) -> RateLimits {
        RateLimits::new(vec![LimitPolicy {
            id: RateLimitId::from_uuid(1),
            name: "fair use".into(),
            workspace: None,
            subject,
            group_by: group_by.iter().map(|text| text.parse().unwrap()).collect(),
            rates: [Rate { measure: Measure::Requests, per: Some(Per::Minute), amount: 1 }].into(),
        }])
    }

    fn spender() -> Spender<'static> {
        Spender {
            workspace: WorkspaceId::from_uuid(1),
            environment: EnvironmentId::from_uuid(2),
            key: VirtualKeyId::from_uuid(3),
            end_user: Some("ann"),
            metadata: &[],
            tags: &[],
            model: Some("gpt-5-mini"),
            route: None,
        }
    }

    #[test]
    fn a_limit_binds_by_who_calls_and_by_who_may_answer() {
        let listed = || Subject { providers: vec!["openai".to_owned()], ..Subject::default() };
        let of_bob = Subject { end_users: vec!["bob".to_owned()], ..Subject::default() };
        assert!(limits(of_bob, &[]).of_call(&spender(), &["openai"]).is_empty());
        assert!(limits(listed(), &[]).of_call(&spender(), &["mistral"]).is_empty());
        let bound = limits(listed(), &[]);
        let bound = bound.of_call(&spender(), &["mistral", "openai", "openai"]);
        assert_eq!(bound[0].providers, Some(vec!["openai".into()]));
        let groups = |limits: &RateLimits, providers: &[&str]| {
            let bindings = limits.of_call(&spender(), providers);
            bindings.iter().map(|binding| binding.group.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            groups(&limits(Subject::default(), &["end_user", "provider"]), &["a", "b", "a"]),
            ["ann|a", "ann|b"]
        );
        assert_eq!(groups(&limits(Subject::default(), &["end_user"]), &[]), ["ann"]);
        assert_eq!(groups(&limits(Subject::default(), &[]), &["a"]), [""]);
    }
}
