//! Which calls count and by what they are kept apart, as parts of a form: the same for budgets and for rate limits.

use std::borrow::Cow;

use api::ops::routes::ListRoutes;
use api::ops::virtual_keys::{ListVirtualKeys, VirtualKeyQuery};
use api::ops::{PageQuery, WorkspacePath};
use domain::budget::{Dimension, Subject};
use domain::{ModelPattern, WorkspaceId};
use kit::api::use_query;
use kit::session::use_environments;
use leptos::prelude::*;
use model::amounts::{list, pairs};
use ui::check_list::{CheckList, Item};
use ui::field::{Fold, FormErrors, TextField};

/// Which field is wrong and why.
pub(crate) type Wrong = (Cow<'static, str>, String);

/// Conditions as typed.
#[derive(Clone, Copy)]
pub(crate) struct SubjectDraft {
    environments: RwSignal<Vec<String>>,
    keys: RwSignal<Vec<String>>,
    routes: RwSignal<Vec<String>>,
    models: RwSignal<String>,
    providers: RwSignal<String>,
    end_users: RwSignal<String>,
    tags: RwSignal<String>,
    metadata: RwSignal<String>,
}

impl SubjectDraft {
    pub(crate) fn new(it: &Subject) -> Self {
        let metadata: Vec<String> = it
            .metadata
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| format!("{name}={value}")))
            .collect();
        Self {
            environments: RwSignal::new(it.environment_ids.iter().map(ToString::to_string).collect()),
            keys: RwSignal::new(it.virtual_key_ids.iter().map(ToString::to_string).collect()),
            routes: RwSignal::new(it.route_ids.iter().map(ToString::to_string).collect()),
            models: RwSignal::new(it.models.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
            providers: RwSignal::new(it.providers.join(", ")),
            end_users: RwSignal::new(it.end_users.join(", ")),
            tags: RwSignal::new(it.tags.join(", ")),
            metadata: RwSignal::new(metadata.join(", ")),
        }
    }

    pub(crate) fn read(self) -> Result<Subject, Wrong> {
        fn ids<T: std::str::FromStr>(texts: RwSignal<Vec<String>>) -> Vec<T> {
            texts.get_untracked().iter().filter_map(|text| text.parse().ok()).collect()
        }
        let models = list(&self.models.get_untracked()).iter().map(|text| ModelPattern::parse(text)).collect();
        Ok(Subject {
            environment_ids: ids(self.environments),
            virtual_key_ids: ids(self.keys),
            route_ids: ids(self.routes),
            models: Result::<Vec<_>, _>::map_err(models, |error| {
                ("subject/models".into(), format!("A model name {error}."))
            })?,
            providers: list(&self.providers.get_untracked()),
            end_users: list(&self.end_users.get_untracked()),
            tags: list(&self.tags.get_untracked()),
            metadata: pairs(&self.metadata.get_untracked()).map_err(|text| ("subject/metadata".into(), text))?,
        })
    }

    /// The fields, folded until they are wanted or something stands in them.
    pub(crate) fn fields(self, workspace_id: WorkspaceId, errors: FormErrors) -> AnyView {
        let is_set = self.read().is_ok_and(|subject| subject != Subject::default());
        view! {
            <Fold summary="Which calls count: every call, unless you say" open=is_set wrong=errors.under("subject")>
                <div class="columns-2">
                    <TextField label="Models" value=self.models optional=true placeholder="gpt-5, claude-*" error=errors.under("subject/models") />
                    <TextField label="Providers" value=self.providers optional=true placeholder="openai, anthropic" error=errors.under("subject/providers") />
                    <TextField label="End users" value=self.end_users optional=true placeholder="as in x-headgate-user" error=errors.under("subject/end_users") />
                    <TextField label="Tags" value=self.tags optional=true error=errors.under("subject/tags") />
                </div>
                <TextField label="Metadata" value=self.metadata optional=true placeholder="team=blue, team=red" hint="A call counts when it has each name with one of its values." error=errors.under("subject/metadata") />
                {self.lists(workspace_id)}
            </Fold>
        }
        .into_any()
    }

    fn lists(self, workspace_id: WorkspaceId) -> AnyView {
        let environments = use_environments();
        let path = WorkspacePath { workspace_id };
        let keys = use_query::<ListVirtualKeys>(move || {
            Some((path, VirtualKeyQuery { environment_id: None, limit: Some(200), cursor: None }))
        });
        let routes = use_query::<ListRoutes>(move || Some((path, PageQuery { limit: Some(200), cursor: None })));
        let item = |value: String, text: String, detail: String| Item { value, text, detail };
        let environments = Signal::derive(move || {
            let all = environments.all().into_iter();
            all.map(|it| item(it.id.to_string(), it.name.to_string(), it.slug.to_string())).collect::<Vec<_>>()
        });
        let keys = Signal::derive(move || {
            let all = keys.items().get().into_iter();
            all.map(|it| item(it.id.to_string(), it.name.to_string(), it.hint)).collect::<Vec<_>>()
        });
        let routes = Signal::derive(move || {
            let all = routes.items().get().into_iter();
            all.map(|it| item(it.id.to_string(), it.name.to_string(), String::new())).collect::<Vec<_>>()
        });
        view! {
            <CheckList label="Environments" hint="Choose none for all." items=environments chosen=self.environments />
            <CheckList label="Virtual keys" hint="Choose none for all." items=keys chosen=self.keys />
            <CheckList label="Routes" hint="Choose none for all." items=routes chosen=self.routes />
        }
        .into_any()
    }
}

/// By what counters can be kept apart, without metadata.
const DIMENSIONS: [(&str, &str); 7] = [
    ("end_user", "End user"),
    ("virtual_key", "Virtual key"),
    ("model", "Model"),
    ("environment", "Environment"),
    ("workspace", "Workspace"),
    ("provider", "Provider"),
    ("route", "Route"),
];

/// A grouping as typed.
#[derive(Clone, Copy)]
pub(crate) struct GroupDraft {
    named: RwSignal<Vec<String>>,
    metadata: RwSignal<String>,
}

impl GroupDraft {
    pub(crate) fn new(by: &[Dimension]) -> Self {
        let is_metadata = |by: &&Dimension| matches!(by, Dimension::Metadata(_));
        let metadata = by.iter().filter_map(|by| match by {
            Dimension::Metadata(name) => Some(name.to_string()),
            _ => None,
        });
        Self {
            named: RwSignal::new(by.iter().filter(|by| !is_metadata(by)).map(ToString::to_string).collect()),
            metadata: RwSignal::new(metadata.collect::<Vec<_>>().join(", ")),
        }
    }

    pub(crate) fn read(self) -> Vec<Dimension> {
        let named = self.named.get_untracked().into_iter().filter_map(|text| text.parse().ok());
        let metadata = list(&self.metadata.get_untracked());
        named.chain(metadata.into_iter().map(|name| Dimension::Metadata(name.into()))).collect()
    }

    pub(crate) fn fields(self, hint: &'static str, errors: FormErrors) -> AnyView {
        let item = |(value, text): (&str, &str)| Item {
            value: value.to_owned(),
            text: text.to_owned(),
            detail: String::new(),
        };
        let items = Signal::stored(DIMENSIONS.map(item).to_vec());
        let is_set = !self.read().is_empty();
        view! {
            <Fold summary="Amounts of its own for each end user, key, model …" open=is_set wrong=errors.under("group_by")>
                <CheckList label="Counted apart for each" hint items chosen=self.named />
                <TextField label="And for each value of metadata" value=self.metadata optional=true placeholder="team" error=errors.under("group_by") />
            </Fold>
        }
        .into_any()
    }
}

/// Choices of a drop-down from its values and words.
pub(crate) fn choices(pairs: &[(&str, &str)]) -> Signal<Vec<(String, String)>> {
    Signal::stored(pairs.iter().map(|(value, text)| ((*value).to_owned(), (*text).to_owned())).collect())
}
