//! What one request asks of the choice of targets: `OpenRouter`'s `models` and `provider`, and the `:nitro` and `:floor` variants.
//!
//! Read here and nowhere else, and taken out of what goes upstream, except to a provider that understands it itself. What
//! Headgate cannot honour is refused and not ignored: a client that asks for its data to be kept from training must not be
//! told yes by silence.

use std::ops::Deref;

use bytes::Bytes;
use domain::Price as Rate;
use domain::code::GatewayCode;
use domain::credential::DataPolicy;
use domain::model::Quantization;
use domain::usage::SkipReason;
use policy::Signals;
use policy::plan::Wish;
use policy::resource::Price;
use policy::snapshot::{DeploymentPolicy, OrganizationPolicy};
use provider::scan::{Proofs, Scan, quote, visit_fields};
use provider::task::Likely;
use serde::Deserialize;

use crate::rejection::Rejection;

/// Most models that a request may fall back on.
const MAX_MODELS: usize = 3;
/// Most names in a list.
const MAX_NAMES: usize = 32;

/// What a request asks for.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    order: Vec<String>,
    only: Vec<String>,
    ignore: Vec<String>,
    sort: Option<Sort>,
    max_price: MaxPrice,
    /// How the numbers of a model may be held; `None` where nobody said how they are.
    quantizations: Vec<Option<Quantization>>,
    /// The least that a provider has to promise of what it is sent.
    data: Option<DataPolicy>,
    /// A target that cannot express all of the request is passed over.
    pub requires_parameters: bool,
    /// Only the first target is tried.
    pub forbids_fallbacks: bool,
}

/// Which of the usable targets goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// The cheapest first.
    Price,
    /// The fastest writer first.
    Throughput,
    /// The soonest to begin first.
    Latency,
}

/// The most that a target may ask for.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct MaxPrice {
    /// Dollars per million tokens of input.
    prompt: Option<f64>,
    /// Dollars per million tokens of output.
    completion: Option<f64>,
    /// Dollars for what a call is reckoned to cost beside its tokens.
    request: Option<f64>,
    /// Dollars for what a picture is reckoned to cost.
    image: Option<f64>,
}

/// The `provider` object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    order: Vec<String>,
    #[serde(default)]
    only: Vec<String>,
    #[serde(default)]
    ignore: Vec<String>,
    #[serde(default)]
    sort: Option<Sort>,
    #[serde(default)]
    max_price: MaxPrice,
    #[serde(default)]
    require_parameters: bool,
    #[serde(default)]
    quantizations: Vec<String>,
    #[serde(default)]
    data_collection: Option<DataCollection>,
    #[serde(default)]
    zdr: bool,
    #[serde(default)]
    allow_fallbacks: Option<bool>,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum DataCollection {
    Allow,
    Deny,
}

/// Splits a model's name into the name and what its variant asks for.
pub fn split_variant(name: &str) -> Option<(&str, Sort)> {
    let (base, variant) = name.rsplit_once(':')?;
    match variant {
        "nitro" => Some((base, Sort::Throughput)),
        "floor" => Some((base, Sort::Price)),
        _ => None,
    }
}

/// Reads the models to fall back on.
pub fn read_models(body: &[u8], scan: &Scan) -> Result<Vec<String>, Rejection> {
    let Some(span) = scan.models else { return Ok(Vec::new()) };
    match serde_json::from_slice::<Vec<String>>(span.of(body)) {
        Ok(models) if models.len() <= MAX_MODELS + 1 => Ok(models),
        _ => Err(refuse("models", format!("\"models\" must be an array of at most {} model names", MAX_MODELS + 1))),
    }
}

/// Reads what a request asks for; `None` when it asks for nothing.
pub fn read(body: &[u8], scan: &Scan, variant: Option<Sort>) -> Result<Option<Box<Choice>>, Rejection> {
    let Some(span) = scan.provider else {
        return Ok(variant.map(|sort| Box::new(Choice { sort: Some(sort), ..Choice::default() })));
    };
    if !span.of(body).starts_with(b"{") {
        return Err(refuse("provider", "\"provider\" must be an object"));
    }
    let asked: Asked = serde_json::from_slice(span.of(body))
        .map_err(|error| refuse("provider", format!("\"provider\" cannot be honoured: {error}")))?;
    if [&asked.order, &asked.only, &asked.ignore].iter().any(|list| list.len() > MAX_NAMES) {
        return Err(refuse("provider", format!("a list in \"provider\" has more than {MAX_NAMES} names")));
    }
    let quantizations = asked.quantizations.iter().map(|word| quantization(word)).collect::<Result<_, _>>()?;
    let data = match (asked.zdr, asked.data_collection) {
        (true, _) => Some(DataPolicy::ZeroRetention),
        (false, Some(DataCollection::Deny)) => Some(DataPolicy::NoTraining),
        (false, _) => None,
    };
    let forbids_fallbacks = asked.allow_fallbacks == Some(false);
    // Without fallbacks, what is listed is all there is.
    let only = if forbids_fallbacks && asked.only.is_empty() { asked.order.clone() } else { asked.only };
    Ok(Some(Box::new(Choice {
        forbids_fallbacks: forbids_fallbacks && asked.order.is_empty(),
        order: asked.order,
        only,
        ignore: asked.ignore,
        sort: asked.sort.or(variant),
        max_price: asked.max_price,
        quantizations,
        data,
        requires_parameters: asked.require_parameters,
    })))
}

/// Reads how numbers may be held; `unknown` is a target of which nobody said it.
fn quantization(word: &str) -> Result<Option<Quantization>, Rejection> {
    if word == "unknown" {
        return Ok(None);
    }
    Quantization::find(word).map(Some).ok_or_else(|| {
        let known: Vec<_> = Quantization::ALL.iter().map(|it| it.as_str()).collect();
        refuse("provider.quantizations", format!("\"{word}\" is none; use {} or unknown", known.join(", ")))
    })
}

/// Refuses a request that asks for what the route does not let it choose.
pub fn refuse_override(param: &'static str) -> Rejection {
    refuse(param, "the route of this model does not let requests choose among its targets; leave this out")
}

/// Refuses a variant of a name where nothing chooses.
pub fn refuse_variant() -> Rejection {
    refuse("model", "here `:nitro` and `:floor` choose nothing; leave the variant out of the model's name")
}

/// Refuses a request for what one of its fields says.
pub fn refuse(param: &'static str, detail: impl Into<String>) -> Rejection {
    Rejection::new(GatewayCode::RequestInvalid, detail.into()).with_param(param)
}

/// Takes `models` and `provider` out of a body.
pub fn strip(body: &Bytes) -> Bytes {
    let mut out = Vec::with_capacity(body.len());
    out.push(b'{');
    let read = visit_fields(body, |key, span| {
        if matches!(key, "models" | "provider") {
            return;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(&quote(key));
        out.push(b':');
        out.extend_from_slice(span.of(body));
    });
    out.push(b'}');
    // It was scanned before, so it reads again.
    if read.is_ok() { Bytes::from(out) } else { body.clone() }
}

fn is_named(list: &[String], deployment: &DeploymentPolicy) -> Option<usize> {
    list.iter()
        .position(|name| name.eq_ignore_ascii_case(&deployment.provider) || name.eq_ignore_ascii_case(&deployment.name))
}

/// A choice, whose reasoning the conversation holds, and what prices the choice is measured by.
pub struct Choosing<'a> {
    /// What the request asks for.
    pub choice: Option<&'a Choice>,
    /// The signed reasoning that the conversation holds.
    pub proofs: Proofs,
    /// Nothing may be left out.
    pub refuses: bool,
    /// Whose prices are compared.
    pub organization: &'a OrganizationPolicy,
    /// When.
    pub at: domain::Timestamp,
    /// What the call is taken to use.
    pub likely: &'a dyn Deref<Target = Likely>,
}

impl Choosing<'_> {
    /// Says whether a deployment takes back the reasoning of the conversation.
    fn takes_reasoning(&self, deployment: &DeploymentPolicy) -> bool {
        let provider = provider::find(&deployment.provider);
        provider.is_none_or(|it| self.proofs.are_taken_by(it.spec(), &deployment.upstream_model))
    }
}

impl Wish for Choosing<'_> {
    fn refuses(&self, deployment: &DeploymentPolicy, _: &dyn Signals) -> Option<SkipReason> {
        let is_dropped = || provider::find(&deployment.provider).is_some_and(|it| !it.spec().quirks.replay_reasoning);
        if self.refuses && self.proofs.are_content() && !self.takes_reasoning(deployment) && is_dropped() {
            return Some(SkipReason::ForeignReasoning);
        }
        let Choice { only, ignore, max_price, quantizations, data, .. } = self.choice?;
        if is_named(ignore, deployment).is_some() || (!only.is_empty() && is_named(only, deployment).is_none()) {
            return Some(SkipReason::Excluded);
        }
        if data.is_some_and(|least| deployment.data_policy().is_none_or(|policy| policy < least)) {
            return Some(SkipReason::DataPolicy);
        }
        if !quantizations.is_empty() && !quantizations.contains(&deployment.quantization) {
            return Some(SkipReason::Quantization);
        }
        if !max_price.is_any() {
            return None;
        }
        let price = self.organization.price(deployment, self.at);
        let is_within = price.is_some_and(|price| max_price.admits(price, self.likely));
        (!is_within).then_some(SkipReason::TooExpensive)
    }

    fn rank(&self, deployment: &DeploymentPolicy, signals: &dyn Signals) -> u64 {
        // Whoever lacks the reasoning comes after all who have it.
        let is_foreign = !self.proofs.is_empty() && !self.takes_reasoning(deployment);
        let place = self.choice.map_or(0, |choice| choice.place(deployment, signals));
        u64::from(is_foreign) << 63 | place >> 1
    }

    fn has_ranks(&self) -> bool {
        !self.proofs.is_empty() || self.choice.is_some_and(|choice| !choice.order.is_empty() || choice.sort.is_some())
    }
}

impl MaxPrice {
    fn is_any(&self) -> bool {
        [self.prompt, self.completion, self.request, self.image].iter().any(Option::is_some)
    }

    fn admits(&self, price: &Price, likely: &dyn Deref<Target = Likely>) -> bool {
        let per_million = |rate: Rate, most| is_at_most(rate.nano_usd_per_million, most, 1);
        let beside = || likely.unit_cost(&price.rates.units, &price.images).as_nanos();
        let pictures = || likely.cost(&price.rates, &price.long_context, &price.images).as_nanos();
        per_million(price.rates.input, self.prompt)
            && per_million(price.rates.output, self.completion)
            && (self.request.is_none() || is_at_most(beside(), self.request, 1))
            && (self.image.is_none() || likely.n_images() == 0 || is_at_most(pictures(), self.image, likely.n_images()))
    }
}

impl Choice {
    fn place(&self, deployment: &DeploymentPolicy, signals: &dyn Signals) -> u64 {
        if let Some(place) = is_named(&self.order, deployment) {
            return place as u64 * 2;
        }
        let measured = match self.sort {
            None => 0,
            Some(Sort::Price) => signals.cost(deployment).unwrap_or(u64::MAX),
            Some(Sort::Throughput) => known(signals.load(deployment.id).per_token_us),
            Some(Sort::Latency) => known(signals.load(deployment.id).first_token_us),
        };
        measured.saturating_add(self.order.len() as u64 * 2)
    }
}

/// What was never measured comes after what was.
const fn known(measured: u64) -> u64 {
    if measured == 0 { u64::MAX / 2 } else { measured }
}

#[expect(clippy::cast_precision_loss, reason = "a bound in dollars, compared with a price far below 2^53 nano-dollars")]
fn is_at_most(nanos: i64, dollars: Option<f64>, n: u64) -> bool {
    dollars.is_none_or(|dollars| nanos as f64 <= dollars * 1_000_000_000.0 * n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use provider::scan::scan;

    fn read_text(text: &str) -> Result<Option<Box<Choice>>, Rejection> {
        let body = format!(r#"{{"model":"m","provider":{text}}}"#);
        read(body.as_bytes(), &scan(body.as_bytes()).expect("JSON"), None)
    }

    #[test]
    fn variants_are_split_off_and_other_colons_stay() {
        assert_eq!(split_variant("a/b:nitro"), Some(("a/b", Sort::Throughput)));
        assert_eq!(split_variant("b:floor"), Some(("b", Sort::Price)));
        assert_eq!(split_variant("anthropic.claude-v1:0"), None);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for text in [
            r#"{"quantizations":["fp9"]}"#,
            r#"{"data_collection":"never"}"#,
            r#"{"preferred_max_latency":1}"#,
            r#"{"order":"openai"}"#,
            r#"{"max_price":{"audio":1}}"#,
            "[]",
        ] {
            assert!(read_text(text).is_err(), "{text}");
        }
        assert!(read_text(r#"{"data_collection":"allow","sort":"price"}"#).expect("fine").is_some());
        assert!(read_text("null").expect("fine").is_none());
    }

    #[test]
    fn without_fallbacks_the_listed_ones_are_all_there_is() {
        let choice = read_text(r#"{"order":["openai"],"allow_fallbacks":false}"#).expect("fine").expect("a choice");
        assert_eq!((choice.only, choice.forbids_fallbacks), (vec!["openai".to_owned()], false));
        let choice = read_text(r#"{"allow_fallbacks":false}"#).expect("fine").expect("a choice");
        assert!(choice.forbids_fallbacks);
    }

    #[test]
    fn a_stripped_body_keeps_the_rest_to_the_byte() {
        let body = br#"{"models":["a"], "model" : "m","messages":[{"role":"user","content":"\u00e9 {"}], "provider":{"only":["x"]},"n":1.50}"#;
        let stripped = strip(&Bytes::from_static(body));
        assert_eq!(&stripped[..], br#"{"model":"m","messages":[{"role":"user","content":"\u00e9 {"}],"n":1.50}"#);
        assert_eq!(&strip(&Bytes::from_static(br#"{"provider":{}}"#))[..], b"{}");
    }
}
