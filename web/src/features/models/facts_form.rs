//! Describing a model: one that the catalog lacks, or one of the catalog as the organization has it.

use api::ops::OrganizationPath;
use api::ops::models::{
    AddModel, ListProviders, ModelChange, ModelFactsView, ModelPath, ModelView, NewModel, RemoveModel, UpdateModel,
};
use api::{Empty, NoQuery};
use domain::model::{Capability, Modality, ModelKind, Quantization};
use leptos::prelude::*;

use super::{Catalog, key_of};
use kit::api::{use_command, use_query};
use kit::ask::use_ask;
use ui::button::{Button, Weight};
use ui::check_list::{CheckList, Item};
use ui::confirm::Question;
use ui::dialog::{Dialog, DialogBody, DialogFoot};
use ui::field::{FormError, InputKind, SelectField, TextField};
use ui::toast::Toasts;

/// What is being described.
#[derive(Clone, PartialEq)]
pub(super) enum Described {
    /// A model that is on no list.
    New,
    /// One that is.
    Listed(Box<ModelView>),
}

/// The dialog, open while something is described.
#[component]
pub(super) fn FactsDialog(catalog: Catalog) -> impl IntoView {
    let close = Callback::new(move |()| catalog.describing.set(None));
    let title = Signal::derive(move || match catalog.describing.get() {
        Some(Described::Listed(model)) => format!("Describe {}", model.title),
        _ => "Describe a model".to_owned(),
    });
    view! {
        <Dialog open=Signal::derive(move || catalog.describing.with(Option::is_some)) on_close=close title test_id="facts-dialog">
            {move || catalog.describing.get().map(|described| view! { <FactsForm catalog described close /> })}
        </Dialog>
    }
}

/// Asks, and forgets a description.
pub(super) fn forget(catalog: Catalog, model: &ModelView) {
    let Some(own) = model.own else { return };
    let question = Question {
        act: "Forget description".to_owned(),
        warning: "What the catalog has holds again".to_owned(),
        text: "Of a model that it lacks, nothing is known then. Prices stay.".to_owned().into(),
        name: model.title.clone(),
    };
    let path = ModelPath { organization_id: catalog.organization_id, model_id: own.id };
    let toasts = expect_context::<Toasts>();
    let title = model.title.clone();
    use_ask().before::<RemoveModel>(question, path, move |_: Empty| {
        toasts.done(format!("{title} is as the catalog has it."));
        catalog.nav.set(&[("model", None)], true);
        catalog.models.refetch();
    });
}

fn items(words: impl Iterator<Item = &'static str>) -> Vec<Item> {
    let item = |word: &str| Item { value: word.to_owned(), text: word.replace('_', " "), detail: String::new() };
    words.map(item).collect()
}

fn choices(words: impl Iterator<Item = &'static str>) -> Vec<(String, String)> {
    words.map(|word| (word.to_owned(), word.replace('_', " "))).collect()
}

/// What is typed, as texts.
#[derive(Clone, Copy)]
struct Typed {
    kind: RwSignal<String>,
    context_tokens: RwSignal<String>,
    max_output_tokens: RwSignal<String>,
    capabilities: RwSignal<Vec<String>>,
    input: RwSignal<Vec<String>>,
    output: RwSignal<Vec<String>>,
    dimensions: RwSignal<String>,
    quantization: RwSignal<String>,
}

/// Which field is wrong and why.
type Wrong = (&'static str, String);

impl Typed {
    fn new(facts: &ModelFactsView) -> Self {
        let number = |value: Option<u64>| RwSignal::new(value.map(|it| it.to_string()).unwrap_or_default());
        let words = |list: &Option<Vec<Modality>>| {
            RwSignal::new(list.iter().flatten().map(ToString::to_string).collect::<Vec<_>>())
        };
        let usual = vec![Capability::Tools, Capability::JsonSchema, Capability::Sampling];
        let capabilities = facts.capabilities.clone().unwrap_or(usual);
        Self {
            kind: RwSignal::new(facts.kind.unwrap_or(ModelKind::Chat).to_string()),
            context_tokens: number(Some(facts.context_tokens).filter(|it| *it > 0)),
            max_output_tokens: number(facts.max_output_tokens),
            capabilities: RwSignal::new(capabilities.iter().map(ToString::to_string).collect()),
            input: words(&facts.input),
            output: words(&facts.output),
            dimensions: number(facts.dimensions.map(u64::from)),
            quantization: RwSignal::new(facts.quantization.map(|it| it.to_string()).unwrap_or_default()),
        }
    }

    fn read(self) -> Result<ModelFactsView, Wrong> {
        let modalities = |list: RwSignal<Vec<String>>| {
            let list: Vec<_> = list.get_untracked().iter().filter_map(|word| Modality::find(word)).collect();
            Some(list).filter(|list| !list.is_empty())
        };
        let context_tokens = whole(&self.context_tokens.get_untracked(), "context_tokens")?;
        let wanted = || ("context_tokens", "Give the most tokens that prompt and answer may have together.".to_owned());
        let dimensions = whole(&self.dimensions.get_untracked(), "dimensions")?;
        Ok(ModelFactsView {
            kind: ModelKind::find(&self.kind.get_untracked()),
            context_tokens: context_tokens.ok_or_else(wanted)?,
            max_output_tokens: whole(&self.max_output_tokens.get_untracked(), "max_output_tokens")?,
            capabilities: Some(
                self.capabilities.get_untracked().iter().filter_map(|word| Capability::find(word)).collect(),
            ),
            input: modalities(self.input),
            output: modalities(self.output),
            dimensions: dimensions
                .map(u32::try_from)
                .transpose()
                .map_err(|_| ("dimensions", "That is too long.".to_owned()))?,
            quantization: Quantization::find(&self.quantization.get_untracked()),
        })
    }
}

/// Reads a whole number, in groups or not; an empty text is none.
fn whole(text: &str, field: &'static str) -> Result<Option<u64>, Wrong> {
    let digits: String = text.chars().filter(|letter| !matches!(letter, ',' | ' ')).collect();
    if digits.is_empty() {
        return Ok(None);
    }
    digits.parse().map(Some).map_err(|_| (field, "Give a whole number, such as 128000.".to_owned()))
}

#[component]
fn FactsForm(catalog: Catalog, described: Described, close: Callback<()>) -> impl IntoView {
    let listed = match described {
        Described::New => None,
        Described::Listed(model) => Some(*model),
    };
    let facts = listed.as_ref().map(|model| model.facts.clone()).unwrap_or_default();
    let typed = Typed::new(&facts);
    let provider = RwSignal::new(listed.as_ref().map(|model| model.provider.clone()).unwrap_or_default());
    let upstream_model = RwSignal::new(listed.as_ref().map(|model| model.upstream_model.clone()).unwrap_or_default());
    let own = listed.as_ref().and_then(|model| model.own);
    let is_named = listed.is_some();
    let path = OrganizationPath { organization_id: catalog.organization_id };
    let providers = use_query::<ListProviders>(move || (!is_named).then_some((path, NoQuery {})));
    let named = Signal::derive(move || {
        let all = providers.items().get().into_iter();
        all.map(|provider| (provider.name, provider.title)).collect::<Vec<_>>()
    });
    let (add, update) = (use_command::<AddModel>(), use_command::<UpdateModel>());
    let errors = if own.is_some() { update.errors } else { add.errors };
    let busy = Signal::derive(move || add.is_busy.get() || update.is_busy.get());
    let toasts = expect_context::<Toasts>();
    let done = move |model: ModelView| {
        toasts.done(format!("{} is described.", model.title));
        close.run(());
        catalog.models.refetch();
        catalog.nav.set(&[("model", Some(key_of(&model)))], true);
    };
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let facts = match typed.read() {
            Ok(facts) => facts,
            Err((field, text)) => return errors.set(vec![(field.to_owned(), text)], None),
        };
        if let Some(own) = own {
            let path = ModelPath { organization_id: catalog.organization_id, model_id: own.id };
            return update.run(path, ModelChange { version: Some(own.version), facts: Some(facts) }, done);
        }
        let (provider, upstream_model) = (provider.get_untracked(), upstream_model.get_untracked());
        add.run(path, NewModel { provider, upstream_model, facts }, done);
    };
    let which = if is_named {
        view! { <p class="muted">"This holds in place of what the catalog has, for every deployment of the model. Prices are set apart."</p> }.into_any()
    } else {
        view! {
            <div class="columns-2">
                <SelectField label="Provider" value=provider choices=named placeholder="Choose a provider" error=errors.of("provider") />
                <TextField label="Upstream model" value=upstream_model kind=InputKind::Code required=true hint="As the provider names it." error=errors.of("upstream_model") />
            </div>
        }
        .into_any()
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                {which}
                {fields(typed, errors)}
                <FormError errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy>"Save description"</Button>
            </DialogFoot>
        </form>
    }
}

fn fields(typed: Typed, errors: ui::field::FormErrors) -> AnyView {
    let kinds = Signal::stored(choices(ModelKind::ALL.iter().map(|it| it.as_str())));
    let held = Signal::stored(choices(Quantization::ALL.iter().map(|it| it.as_str())));
    let abilities = Signal::stored(items(Capability::ALL.iter().map(|it| it.as_str())));
    let modalities = Signal::stored(items(Modality::ALL.iter().map(|it| it.as_str())));
    view! {
        <div class="columns-2">
            <SelectField label="What it is for" value=typed.kind choices=kinds error=errors.of("kind") />
            <SelectField label="Quantization" value=typed.quantization choices=held placeholder="Not said" hint="Requests may ask for it." error=errors.of("quantization") />
            <TextField label="Context" value=typed.context_tokens required=true placeholder="128000" hint="Tokens of prompt and answer together." error=errors.of("context_tokens") />
            <TextField label="Longest output" value=typed.max_output_tokens optional=true hint="Tokens. Budgets hold so much for a call that sets no bound." error=errors.of("max_output_tokens") />
            <TextField label="Length of vectors" value=typed.dimensions optional=true hint="Of embeddings." error=errors.of("dimensions") />
        </div>
        <CheckList label="What it can do" hint="What is not chosen is left out of requests, or said in another way." items=abilities chosen=typed.capabilities />
        <div class="columns-2">
            <CheckList label="What it reads" hint="Choose none for the usual of its kind." items=modalities chosen=typed.input />
            <CheckList label="What it writes" hint="Choose none for the usual of its kind." items=modalities chosen=typed.output />
        </div>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_and_may_be_grouped() {
        assert_eq!(whole("128,000", "a"), Ok(Some(128_000)));
        assert_eq!(whole(" ", "a"), Ok(None));
        assert_eq!(whole("1.5", "a").map_err(|wrong| wrong.0), Err("a"));
        assert_eq!(whole("-1", "a").map_err(|wrong| wrong.0), Err("a"));
    }
}
