//! An own price from a date on: rates by kind of token, and other rates for long contexts. Amounts are dollars per million tokens,
//! exact to the nano-dollar. Invariant: what the form does not show it does not change.

use api::ops::OrganizationPath;
use api::ops::models::{
    ImageRateView, LongContextRatesView, ModelView, NewPrice, PriceView, RatesView, SetPrice, UnitRatesView,
};
use domain::NanoUsd;
use leptos::prelude::*;
use ui::browser;
use ui::button::{Button, IconButton, Size, Weight};
use ui::dialog::{Dialog, DialogBody, DialogFoot, Placement};
use ui::field::{FormError, InputKind, TextField};
use ui::format::time;
use ui::icon::Icon;
use ui::toast::Toasts;

use super::Catalog;
use kit::api::use_command;

/// The dialog.
#[component]
pub(super) fn PriceDialog(catalog: Catalog) -> impl IntoView {
    let close = Callback::new(move |()| catalog.pricing.set(None));
    view! {
        <Dialog open=Signal::derive(move || catalog.pricing.with(Option::is_some)) on_close=close title=Signal::stored("Set an own price".to_owned()) placement=Placement::CenterWide test_id="price-dialog">
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

/// The kinds of tokens with a rate: the field of the API, the words, and what an empty one means.
const KINDS: [(&str, &str, &str); 6] = [
    ("input", "Input", ""),
    ("output", "Output", ""),
    ("cached_input", "Input from cache", "Empty: as input."),
    ("cache_write_5m", "Written to cache, 5 min", "Empty: as input."),
    ("cache_write_1h", "Written to cache, 1 h", "Empty: as input."),
    ("reasoning", "Reasoning", "Empty: as output."),
];

/// What is counted beside tokens: the field of the API and the words.
const UNITS: [(&str, &str); 5] = [
    ("usd_per_unit.image", "Image made"),
    ("usd_per_unit.audio_second", "Second of sound"),
    ("usd_per_unit.character", "Character spoken"),
    ("usd_per_unit.search", "Search"),
    ("usd_per_unit.page", "Page read"),
];

/// Five amounts as typed, in the order of [`UNITS`].
#[derive(Clone, Copy)]
struct Units([RwSignal<String>; 5]);

impl Units {
    fn new(rates: UnitRatesView) -> Self {
        let amounts = [rates.image, rates.audio_second, rates.character, rates.search, rates.page];
        Self(amounts.map(|amount| RwSignal::new(amount.map(|amount| amount.to_string()).unwrap_or_default())))
    }

    fn read(self) -> Result<UnitRatesView, Wrong> {
        let mut amounts = [None; 5];
        for ((slot, text), unit) in amounts.iter_mut().zip(self.0).zip(UNITS) {
            *slot = read(&text.get_untracked()).map_err(|error| (unit.0, error))?;
        }
        let [image, audio_second, character, search, page] = amounts;
        Ok(UnitRatesView { image, audio_second, character, search, page })
    }

    fn fields(self, errors: ui::field::FormErrors) -> AnyView {
        let fields = UNITS.into_iter().zip(self.0).map(|((key, label), value)| {
            view! { <TextField label value optional=true error=errors.of(key) /> }
        });
        view! {
            <details class="stack">
                <summary>"Prices by the unit, in dollars for one"</summary>
                <div class="columns-2">{fields.collect_view()}</div>
            </details>
        }
        .into_any()
    }
}

/// Reads what pictures of a kind cost, separated by semicolons: size, quality or both, and the dollars.
fn read_images(text: &str) -> Result<Vec<ImageRateView>, Wrong> {
    let mut rates = Vec::new();
    for (at, line) in text.split(';').enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |text: &str| ("images", format!("Kind {}: {text}", at + 1));
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((amount, kind @ [_, ..])) = words.split_last() else {
            return Err(wrong("give a size or a quality, and the dollars, such as 1024x1792 hd 0.12."));
        };
        let usd = read(amount).map_err(|error| wrong(&error))?.ok_or_else(|| wrong("the dollars are missing."))?;
        // A size begins with a digit: 1024x1792, 2k.
        let (sizes, qualities): (Vec<&str>, Vec<&str>) =
            kind.iter().partition(|word| word.starts_with(|letter: char| letter.is_ascii_digit()));
        let ([] | [_], [] | [_]) = (&sizes[..], &qualities[..]) else {
            return Err(wrong("name one size and one quality at most."));
        };
        let word = |words: &[&str]| words.first().map(|word| (*word).to_owned());
        rates.push(ImageRateView { size: word(&sizes), quality: word(&qualities), usd });
    }
    Ok(rates)
}

/// Writes rates as [`read_images`] reads them.
fn written_images(rates: &[ImageRateView]) -> String {
    let line = |rate: &ImageRateView| {
        let words = [rate.size.clone(), rate.quality.clone(), Some(rate.usd.to_string())];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    rates.iter().map(line).collect::<Vec<_>>().join("; ")
}

/// Six amounts as typed, in the order of [`KINDS`].
#[derive(Clone, Copy)]
struct Rates([RwSignal<String>; 6]);

/// Which field is wrong and why.
type Wrong = (&'static str, String);

impl Rates {
    fn new(rates: Option<RatesView>) -> Self {
        let amounts = rates.map_or([None; 6], |rates| {
            [
                Some(rates.input),
                Some(rates.output),
                rates.cached_input,
                rates.cache_write_5m,
                rates.cache_write_1h,
                rates.reasoning,
            ]
        });
        Self(amounts.map(|amount| RwSignal::new(amount.map(|amount| amount.to_string()).unwrap_or_default())))
    }

    fn read(self) -> Result<RatesView, Wrong> {
        parse(self.0.map(|text| text.get_untracked()))
    }
}

fn parse(texts: [String; 6]) -> Result<RatesView, Wrong> {
    let mut amounts = [None; 6];
    for ((slot, text), kind) in amounts.iter_mut().zip(&texts).zip(KINDS) {
        *slot = read(text).map_err(|error| (kind.0, error))?;
    }
    let [input, output, cached_input, cache_write_5m, cache_write_1h, reasoning] = amounts;
    let needed = |amount: Option<NanoUsd>, field| amount.ok_or((field, "Give an amount, such as 2.50.".to_owned()));
    Ok(RatesView {
        input: needed(input, "input")?,
        cached_input,
        cache_write_5m,
        cache_write_1h,
        output: needed(output, "output")?,
        reasoning,
        ..RatesView::default()
    })
}

/// Other rates above a length of input.
#[derive(Clone, Copy)]
struct Tier {
    id: usize,
    above: RwSignal<String>,
    rates: Rates,
}

impl Tier {
    fn new(id: usize, long: Option<&LongContextRatesView>) -> Self {
        Self {
            id,
            above: RwSignal::new(long.map(|long| long.above_input_tokens.to_string()).unwrap_or_default()),
            rates: Rates::new(long.map(|long| long.usd_per_million_tokens)),
        }
    }

    fn read(self) -> Result<LongContextRatesView, String> {
        let digits: String = self.above.get_untracked().chars().filter(|letter| !matches!(letter, ',' | ' ')).collect();
        let above_input_tokens: u64 =
            digits.parse().map_err(|_| "say above how many tokens of input it holds.".to_owned())?;
        let rates = self.rates.read().map_err(|(field, text)| {
            let name = KINDS.iter().find(|kind| kind.0 == field).map_or(field, |kind| kind.1);
            format!("{}: {text}", name.to_lowercase())
        })?;
        Ok(LongContextRatesView { above_input_tokens, usd_per_million_tokens: rates })
    }
}

/// Reads all tiers, from the shortest context to the longest, or says what is wrong with which.
fn read_tiers(tiers: &[Tier]) -> Result<Vec<LongContextRatesView>, String> {
    let mut read: Vec<LongContextRatesView> = Vec::with_capacity(tiers.len());
    for (index, tier) in tiers.iter().enumerate() {
        read.push(tier.read().map_err(|text| format!("Long context {}: {text}", index + 1))?);
    }
    ui::sort::by(&mut read, |left, right| left.above_input_tokens.cmp(&right.above_input_tokens));
    Ok(read)
}

fn rate_fields(rates: Rates, errors: Option<ui::field::FormErrors>) -> AnyView {
    let fields = KINDS.into_iter().zip(rates.0).map(|((key, label, hint), value)| {
        let error = errors.map_or_else(|| Signal::stored(None), |errors| errors.of(key));
        // Only the two that must be there have no hint.
        view! { <TextField label value required=hint.is_empty() optional=!hint.is_empty() hint error /> }
    });
    view! { <div class="columns-2">{fields.collect_view()}</div> }.into_any()
}

fn tier_view(tiers: RwSignal<Vec<Tier>>, tier: Tier) -> AnyView {
    let remove = Callback::new(move |()| tiers.update(|tiers| tiers.retain(|other| other.id != tier.id)));
    view! {
        <fieldset class="card card-pad stack" data-testid="long-context">
            <legend class="visually-hidden">"Rates for long contexts"</legend>
            <div class="row-between">
                <TextField label="Above so many tokens of input" value=tier.above required=true placeholder="200000" />
                <IconButton icon=Icon::Trash label=Signal::stored("Remove these rates".to_owned()) on_press=remove />
            </div>
            {rate_fields(tier.rates, None)}
        </fieldset>
    }
    .into_any()
}

#[component]
fn PriceForm(catalog: Catalog, model: ModelView, close: Callback<()>) -> impl IntoView {
    let price: Option<&PriceView> = model.price.as_ref();
    let rates = Rates::new(price.map(|price| price.usd_per_million_tokens));
    let tiers: Vec<Tier> = price
        .iter()
        .flat_map(|price| &price.long_context)
        .enumerate()
        .map(|(id, long)| Tier::new(id, Some(long)))
        .collect();
    // What this form does not show stays as it is.
    let service_tiers = price.map(|price| price.tiers.clone()).unwrap_or_default();
    let units = Units::new(price.map(|price| price.usd_per_unit).unwrap_or_default());
    let images = RwSignal::new(price.map(|price| written_images(&price.images)).unwrap_or_default());
    let next = StoredValue::new(tiers.len());
    let tiers = RwSignal::new(tiers);
    let from = RwSignal::new(String::new());
    let set = use_command::<SetPrice>();
    let toasts = expect_context::<Toasts>();
    let (provider, upstream_model) = (model.provider.clone(), model.upstream_model.clone());
    let add = Callback::new(move |()| {
        let id = next.get_value();
        next.set_value(id + 1);
        tiers.update(|tiers| tiers.push(Tier::new(id, None)));
    });
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let usd_per_million_tokens = match rates.read() {
            Ok(rates) => rates,
            Err((field, text)) => return set.errors.set(vec![(field.to_owned(), text)], None),
        };
        let usd_per_unit = match units.read() {
            Ok(rates) => rates,
            Err((field, text)) => return set.errors.set(vec![(field.to_owned(), text)], None),
        };
        let images = match read_images(&images.get_untracked()) {
            Ok(images) => images,
            Err((field, text)) => return set.errors.set(vec![(field.to_owned(), text)], None),
        };
        let long_context = match tiers.with_untracked(|tiers| read_tiers(tiers)) {
            Ok(long_context) => long_context,
            Err(text) => return set.errors.set(Vec::new(), Some(text)),
        };
        let body = NewPrice {
            provider: provider.clone(),
            upstream_model: upstream_model.clone(),
            effective_at: time::from_input(&from.get_untracked(), browser::zone()),
            usd_per_million_tokens,
            usd_per_unit,
            long_context,
            tiers: service_tiers.clone(),
            images,
        };
        set.run(OrganizationPath { organization_id: catalog.organization_id }, body, move |price| {
            toasts.done(format!("The price of {} is set.", price.upstream_model));
            close.run(());
            catalog.models.refetch();
            catalog.prices.refetch();
        });
    };
    let zone = browser::zone();
    view! {
        <form on:submit=submit>
            <DialogBody>
                <p class="muted">{format!("{} at {}, in dollars per million tokens. Earlier calls keep the price they were made at.", model.title, model.provider)}</p>
                {rate_fields(rates, Some(set.errors))}
                {units.fields(set.errors)}
                <TextField label="Pictures by size and quality" value=images optional=true hint="Size, quality or both, and the dollars for one: 1024x1792 0.08; 1024x1792 hd 0.12. Empty: all as above." error=set.errors.of("images") />
                <For each=move || tiers.get() key=|tier| tier.id let:tier>{tier_view(tiers, tier)}</For>
                <div class="row"><Button size=Size::Small icon=Icon::Plus on_press=add test_id="add-long-context">"Add rates for long contexts"</Button></div>
                <TextField label="Holds from" value=from kind=InputKind::DateTime optional=true hint=format!("In {}. Empty: from now on.", zone.name()) error=set.errors.of("effective_at") />
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

    #[test]
    fn pictures_are_read_by_the_line_and_written_back() {
        let rates = read_images("1024x1792 0.08;; hd $0.08 ;1024x1792 hd 0.12;").expect("rates");
        assert_eq!(written_images(&rates), "1024x1792 0.08; hd 0.08; 1024x1792 hd 0.12");
        assert_eq!((rates[1].size.as_deref(), rates[1].quality.as_deref()), (None, Some("hd")));
        for odd in ["0.08", "hd", "hd low 1", "1024x1024 cheap"] {
            assert!(read_images(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn rates_need_input_and_output_and_keep_what_is_empty_absent() {
        let texts = |texts: [&str; 6]| texts.map(str::to_owned);
        let rates = parse(texts(["2.5", "10", "", "3", "", ""])).expect("rates");
        assert_eq!((rates.input, rates.cache_write_5m), ("2.5".parse().expect("money"), "3".parse().ok()));
        assert_eq!((rates.cached_input, rates.reasoning), (None, None));
        assert_eq!(parse(texts(["2.5", "", "", "", "", ""])).map_err(|wrong| wrong.0), Err("output"));
        assert_eq!(parse(texts(["2.5", "1", "x", "", "", ""])).map_err(|wrong| wrong.0), Err("cached_input"));
    }
}
