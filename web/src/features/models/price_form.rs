//! An own price from a date on. Amounts are dollars per million tokens, exact to the nano-dollar.

use api::ops::OrganizationPath;
use api::ops::models::{ModelView, NewPrice, RatesView, SetPrice};
use domain::NanoUsd;
use leptos::prelude::*;

use super::Catalog;
use crate::api::use_command;
use ui::browser;
use ui::button::{Button, Weight};
use ui::dialog::{Dialog, DialogBody, DialogFoot};
use ui::field::{FormError, InputKind, TextField};
use ui::format::time;
use ui::toast::Toasts;

/// The dialog.
#[component]
pub(super) fn PriceDialog(catalog: Catalog) -> impl IntoView {
    let close = Callback::new(move |()| catalog.pricing.set(None));
    view! {
        <Dialog open=Signal::derive(move || catalog.pricing.with(Option::is_some)) on_close=close title=Signal::stored("Set an own price".to_owned())>
            {move || catalog.pricing.get().map(|model| view! { <PriceForm catalog model close /> })}
        </Dialog>
    }
}

/// Reads an optional amount: empty is none, nonsense is an error.
fn read(text: &str) -> Result<Option<NanoUsd>, String> {
    match text.trim().trim_start_matches('$') {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|error: domain::money::ParseMoneyError| format!("{error}.")),
    }
}

#[component]
fn PriceForm(catalog: Catalog, model: ModelView, close: Callback<()>) -> impl IntoView {
    let now = model.price.as_ref().map(|price| price.usd_per_million_tokens);
    let field = |value: Option<NanoUsd>| RwSignal::new(value.map(|value| value.to_string()).unwrap_or_default());
    let (input, output) = (field(now.map(|rates| rates.input)), field(now.map(|rates| rates.output)));
    let cached = field(now.and_then(|rates| rates.cached_input));
    let from = RwSignal::new(String::new());
    let set = use_command::<SetPrice>();
    let toasts = expect_context::<Toasts>();
    let (provider, upstream_model) = (model.provider.clone(), model.upstream_model.clone());
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let fail = |field: &str, text: String| set.errors.set(vec![(field.to_owned(), text)], None);
        let required = |field: &'static str, value: RwSignal<String>| match read(&value.get_untracked()) {
            Ok(Some(amount)) => Some(amount),
            Ok(None) => {
                fail(field, "Give an amount, such as 2.50.".to_owned());
                None
            }
            Err(text) => {
                fail(field, text);
                None
            }
        };
        let Some(input) = required("input", input) else { return };
        let Some(output) = required("output", output) else { return };
        let cached_input = match read(&cached.get_untracked()) {
            Ok(amount) => amount,
            Err(text) => return fail("cached_input", text),
        };
        let others = now.map(|rates| (rates.cache_write_5m, rates.cache_write_1h, rates.reasoning)).unwrap_or_default();
        let rates = RatesView {
            input,
            cached_input,
            cache_write_5m: others.0,
            cache_write_1h: others.1,
            output,
            reasoning: others.2,
        };
        let body = NewPrice {
            provider: provider.clone(),
            upstream_model: upstream_model.clone(),
            effective_at: time::from_input(&from.get_untracked(), browser::zone()),
            usd_per_million_tokens: rates,
            long_context: Vec::new(),
        };
        set.run(OrganizationPath { organization_id: catalog.organization_id }, body, move |price| {
            toasts.done(format!("The price of {} is set.", price.upstream_model));
            close.run(());
            catalog.models.refetch();
            catalog.prices.refetch();
        });
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <p class="muted">{format!("{} at {}, in dollars per million tokens. Earlier calls keep the price they were made at.", model.title, model.provider)}</p>
                <TextField label="Input" value=input required=true error=set.errors.of("input") />
                <TextField label="Input from cache" value=cached optional=true hint="Empty: as input." error=set.errors.of("cached_input") />
                <TextField label="Output" value=output required=true error=set.errors.of("output") />
                <TextField label="Holds from" value=from kind=InputKind::DateTime optional=true hint="Empty: from now on." error=set.errors.of("effective_at") />
                <FormError errors=set.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=set.is_busy>"Set price"</Button>
            </DialogFoot>
        </form>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_nonsense_is_named() {
        assert_eq!(read(" $2.50 "), Ok("2.5".parse().ok()));
        assert_eq!(read(""), Ok(None));
        assert!(read("cheap").is_err());
    }
}
