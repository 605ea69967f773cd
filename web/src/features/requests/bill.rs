//! Tokens and cost line by line: every kind of token, the rate that was charged for it, and what that makes.
//!
//! The rates are those of the price that the request names, so an old request shows the price of its day. Invariant: the sum is
//! the ledger's; lines only explain it.

use api::ops::models::{ImageRateView, PriceView, RatesView, UnitRatesView};
use api::ops::usage::RequestView;
use domain::NanoUsd;
use domain::image::ImageKind;
use domain::usage::{CacheOutcome, ModalUsage, TokenUsage, UnitUsage};
use leptos::prelude::*;
use ui::Tone;
use ui::badge::Note;
use ui::copy_button::CopyId;
use ui::format::{money, number};

/// One kind of token.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    name: &'static str,
    tokens: u64,
    /// Dollars per million.
    rate: Option<NanoUsd>,
}

impl Line {
    fn cost(&self) -> Option<NanoUsd> {
        let nanos = i128::from(self.rate?.as_nanos()) * i128::from(self.tokens) / 1_000_000;
        i64::try_from(nanos).ok().map(NanoUsd::from_nanos)
    }
}

/// The rates for a call of this size: a long context has its own.
fn rates_for(price: &PriceView, usage: &TokenUsage) -> RatesView {
    let long = price.long_context.iter().rfind(|long| usage.total_input() > long.above_input_tokens);
    long.map_or(price.usd_per_million_tokens, |long| long.usd_per_million_tokens)
}

/// The prices of units for pictures of a kind: some have their own.
fn units_for(price: &PriceView, kind: Option<&ImageKind>) -> UnitRatesView {
    let of_kind = kind.and_then(|kind| {
        let rate = |it: &ImageRateView| {
            let wider = ImageKind { size: it.size.clone(), quality: it.quality.clone() };
            (kind.is_a(&wider)).then_some((wider.size.is_some(), wider.quality.is_some(), it.usd))
        };
        price.images.iter().filter_map(rate).max_by_key(|(size, quality, _)| (*size, *quality)).map(|(.., usd)| usd)
    });
    UnitRatesView { image: of_kind.or(price.usd_per_unit.image), ..price.usd_per_unit }
}

fn lines(usage: &TokenUsage, modal: &ModalUsage, rates: Option<RatesView>) -> Vec<Line> {
    let input = |own: fn(&RatesView) -> Option<NanoUsd>| rates.map(|rates| own(&rates).unwrap_or(rates.input));
    let cached = |own: fn(&RatesView) -> Option<NanoUsd>| {
        rates.map(|rates| own(&rates).or(rates.cached_input).unwrap_or(rates.input))
    };
    let lines = [
        Line {
            name: "Input",
            tokens: usage.input.saturating_sub(modal.audio_input + modal.image_input),
            rate: input(|rates| Some(rates.input)),
        },
        Line { name: "Input, sound", tokens: modal.audio_input, rate: input(|rates| rates.audio_input) },
        Line { name: "Input, pictures", tokens: modal.image_input, rate: input(|rates| rates.image_input) },
        Line {
            name: "Input from cache",
            tokens: usage.cached_input.saturating_sub(modal.cached_audio_input + modal.cached_image_input),
            rate: input(|rates| rates.cached_input),
        },
        Line {
            name: "Sound from cache",
            tokens: modal.cached_audio_input,
            rate: cached(|rates| rates.cached_audio_input),
        },
        Line {
            name: "Pictures from cache",
            tokens: modal.cached_image_input,
            rate: cached(|rates| rates.cached_image_input),
        },
        Line {
            name: "Written to cache, 5 min",
            tokens: usage.cache_write_5m,
            rate: input(|rates| rates.cache_write_5m),
        },
        Line { name: "Written to cache, 1 h", tokens: usage.cache_write_1h, rate: input(|rates| rates.cache_write_1h) },
        Line {
            name: "Output",
            tokens: usage.output.saturating_sub(usage.reasoning + modal.audio_output + modal.image_output),
            rate: rates.map(|rates| rates.output),
        },
        Line {
            name: "Output, sound",
            tokens: modal.audio_output,
            rate: rates.map(|rates| rates.audio_output.unwrap_or(rates.output)),
        },
        Line {
            name: "Output, pictures",
            tokens: modal.image_output,
            rate: rates.map(|rates| rates.image_output.unwrap_or(rates.output)),
        },
        Line {
            name: "Reasoning",
            tokens: usage.reasoning,
            rate: rates.map(|rates| rates.reasoning.unwrap_or(rates.output)),
        },
    ];
    lines.into_iter().filter(|line| line.tokens > 0).collect()
}

/// What was counted beside tokens: the name, how much of it, the rate of one and its word, and the cost.
fn unit_lines(units: &UnitUsage, rates: Option<UnitRatesView>) -> Vec<[Option<String>; 4]> {
    let rate = |own: fn(&UnitRatesView) -> Option<NanoUsd>| rates.as_ref().and_then(own);
    // Sound is counted in milliseconds and billed by the second.
    let all = [
        ("Images", units.images, 1, rate(|rates| rates.image), "image"),
        ("Sound", units.audio_ms, 1_000, rate(|rates| rates.audio_second), "second"),
        ("Characters spoken", units.characters, 1, rate(|rates| rates.character), "character"),
        ("Searches", units.searches, 1, rate(|rates| rates.search), "search"),
        ("Pages", units.pages, 1, rate(|rates| rates.page), "page"),
    ];
    let counted = all.into_iter().filter(|(_, n, ..)| *n > 0);
    let line = counted.map(|(name, n, per, rate, word)| {
        let amount = if per == 1_000 { format!("{}.{:03} s", n / 1_000, n % 1_000) } else { number::grouped(n) };
        let nanos = rate.map(|rate| i128::from(rate.as_nanos()) * i128::from(n) / i128::from(per));
        let cost = nanos.and_then(|nanos| i64::try_from(nanos).ok()).map(NanoUsd::from_nanos);
        [
            Some(name.to_owned()),
            Some(amount),
            rate.map(|rate| format!("× {} / {word}", money::exact(rate))),
            cost.map(|cost| money::aligned(cost, 6)),
        ]
    });
    line.collect()
}

/// Says what an answer that was given again has saved.
fn saved(request: &RequestView) -> Option<String> {
    let word = match request.cache {
        CacheOutcome::Hit => "Given again from the cache",
        CacheOutcome::Coalesced => "Shared with an identical call under way",
        _ => return None,
    };
    let tokens = number::grouped(request.saved_input.saturating_add(request.saved_output));
    Some(format!("{word}: {tokens} tokens and {} saved.", money::usd(request.saved_cost_usd)))
}

/// Says whether one try used all tokens, so that one price explains the sum.
fn is_of_one_try(request: &RequestView) -> bool {
    request.attempts.iter().filter(|attempt| attempt.usage != TokenUsage::default()).count() <= 1
}

/// The bill; `price` is the one that the request names, once known.
pub(super) fn bill(request: &RequestView, price: Option<&PriceView>) -> AnyView {
    let price = price.filter(|_| is_of_one_try(request));
    let rates = price.map(|price| rates_for(price, &request.usage));
    let parts = request.attempts.iter().filter_map(|attempt| attempt.modal);
    let modal = parts.fold(ModalUsage::default(), ModalUsage::plus);
    let all = lines(&request.usage, &modal, rates);
    let kind = request.attempts.iter().find_map(|attempt| attempt.image.as_ref());
    let units = unit_lines(&request.units, price.map(|price| units_for(price, kind)));
    let is_none = all.is_empty() && units.is_empty();
    let units = units.into_iter().map(|[name, amount, rate, cost]| {
        view! { <tr><th scope="row">{name}</th><td>{amount}</td><td class="faint">{rate}</td><td>{cost}</td></tr> }
    });
    let rows = all.into_iter().map(|line| {
        let cost = line.cost().map(|cost| view! { <span title=money::exact(cost)>{money::aligned(cost, 6)}</span> });
        view! {
            <tr>
                <th scope="row">{line.name}</th>
                <td>{number::grouped(line.tokens)}</td>
                <td class="faint">{line.rate.map(|rate| format!("× {} / M", money::price(rate)))}</td>
                <td>{cost}</td>
            </tr>
        }
    });
    let tries = (!is_of_one_try(request)).then(|| {
        let tries = request.attempts.iter().filter(|attempt| attempt.usage != TokenUsage::default()).map(|attempt| {
            let name = format!("Try {} · {} at {}", attempt.n, attempt.upstream_model, attempt.provider);
            let tokens = number::grouped(attempt.usage.total());
            view! { <tr><th scope="row">{name}</th><td>{tokens}</td><td></td><td>{money::aligned(attempt.cost_usd, 6)}</td></tr> }
        });
        tries.collect_view()
    });
    let source =
        request.price_id.map(|id| view! { <p class="faint small">"By price " <CopyId id=id.to_string() /></p> });
    view! {
        <table class="bill" data-testid="bill">
            <caption class="visually-hidden">"Tokens by kind, the rate of each, and its cost"</caption>
            <thead class="visually-hidden"><tr><th scope="col">"Kind"</th><th scope="col">"Tokens"</th><th scope="col">"Rate"</th><th scope="col">"Cost"</th></tr></thead>
            <tbody>
                {is_none.then(|| view! { <tr><th scope="row">"No tokens"</th><td>"0"</td><td></td><td></td></tr> })}
                {rows.collect_view()}
                {units.collect_view()}
                {tries}
            </tbody>
            <tfoot><tr><th scope="row">"Cost"</th><td>{number::grouped(request.usage.total())}</td><td></td><td>{money::exact(request.cost_usd)}</td></tr></tfoot>
        </table>
        {saved(request).map(|text| view! { <Note tone=Tone::Ok>{text}</Note> })}
        {request.is_unmetered.then(|| view! { <Note tone=Tone::Warn>"A form of the provider's own API that is not known: nothing could be counted."</Note> })}
        {request.is_estimated.then(|| view! { <Note tone=Tone::Warn>"The upstream did not report tokens; these are an estimate."</Note> })}
        {source}
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::ops::models::LongContextRatesView;
    use domain::price::PriceSource;

    fn usd(text: &str) -> NanoUsd {
        text.parse().expect("an amount")
    }

    fn price() -> PriceView {
        let rates = RatesView {
            input: usd("2.5"),
            cached_input: Some(usd("1.25")),
            cache_write_5m: None,
            cache_write_1h: None,
            output: usd("10"),
            reasoning: None,
            ..RatesView::default()
        };
        let long = RatesView { input: usd("5"), ..rates };
        PriceView {
            id: None,
            provider: "openai".to_owned(),
            upstream_model: "gpt-4o".to_owned(),
            effective_at: domain::Timestamp::default(),
            source: PriceSource::Catalog,
            usd_per_million_tokens: rates,
            usd_per_unit: api::ops::models::UnitRatesView::default(),
            tiers: Vec::new(),
            images: Vec::new(),
            long_context: vec![LongContextRatesView { above_input_tokens: 200_000, usd_per_million_tokens: long }],
        }
    }

    #[test]
    fn every_kind_has_its_rate_and_reasoning_is_a_part_of_output() {
        let usage =
            TokenUsage { input: 1_000, cached_input: 400, output: 300, reasoning: 100, ..TokenUsage::default() };
        let lines = lines(&usage, &ModalUsage::default(), Some(rates_for(&price(), &usage)));
        let told: Vec<_> = lines.iter().map(|line| (line.name, line.tokens, line.cost())).collect();
        let wanted = [
            ("Input", 1_000, Some(usd("0.0025"))),
            ("Input from cache", 400, Some(usd("0.0005"))),
            ("Output", 200, Some(usd("0.002"))),
            ("Reasoning", 100, Some(usd("0.001"))),
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn what_is_counted_beside_tokens_has_its_line() {
        let units = UnitUsage { images: 2, audio_ms: 1_500, ..UnitUsage::default() };
        let rates =
            UnitRatesView { image: Some(usd("0.04")), audio_second: Some(usd("0.0001")), ..UnitRatesView::default() };
        let told: Vec<_> =
            unit_lines(&units, Some(rates)).into_iter().map(|line| line.map(Option::unwrap_or_default)).collect();
        assert_eq!(told[0][..3], ["Images", "2", "× $0.04 / image"]);
        assert_eq!(told[1][..3], ["Sound", "1.500 s", "× $0.0001 / second"]);
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn pictures_of_a_kind_have_their_rate() {
        let mut price = price();
        let rate =
            |size: &str, dollars| ImageRateView { size: Some(size.to_owned()), quality: None, usd: usd(dollars) };
        (price.usd_per_unit.image, price.images) = (Some(usd("0.04")), vec![rate("1024x1792", "0.08")]);
        let kind = |size| ImageKind::of(Some(size), Some("hd"));
        assert_eq!(units_for(&price, Some(&kind("1024x1792"))).image, Some(usd("0.08")));
        assert_eq!(units_for(&price, Some(&kind("1024x1024"))).image, Some(usd("0.04")));
        assert_eq!(units_for(&price, None).image, Some(usd("0.04")));
    }

    #[test]
    fn an_answer_given_again_says_what_it_saved() {
        let mut request = crate::testing::request(100, Vec::new());
        assert_eq!(saved(&request), None);
        (request.cache, request.saved_input, request.saved_output) = (CacheOutcome::Hit, 1_000, 200);
        request.saved_cost_usd = usd("0.25");
        assert_eq!(saved(&request).as_deref(), Some("Given again from the cache: 1,200 tokens and $0.25 saved."));
    }

    #[test]
    fn a_long_context_has_its_own_rates_and_no_price_no_costs() {
        let usage = TokenUsage { input: 200_001, ..TokenUsage::default() };
        assert_eq!(rates_for(&price(), &usage).input, usd("5"));
        assert_eq!(lines(&usage, &ModalUsage::default(), None), [Line { name: "Input", tokens: 200_001, rate: None }]);
    }
}
