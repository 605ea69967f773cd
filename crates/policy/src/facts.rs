//! What a routing decision may know of a call, and which tests hold for it.
//!
//! The node answers from the request, the dry run from the ledger; both decide by the same tests. Nothing here is content: no
//! prompt and no answer.

use domain::route::{Bound, HashKey, Test};
use domain::usage::TokenUsage;
use domain::{BudgetId, Timestamp};

/// Output tokens that a call without a cap is reckoned with when prices are compared.
const USUAL_OUTPUT: u64 = 500;

/// A call, as far as a route may ask about it. What is not known is absent.
pub trait Facts {
    /// When the call came.
    fn at(&self) -> Timestamp;
    /// The model as the client asked for it.
    fn model(&self) -> &str;
    /// A pair of `x-headgate-metadata`.
    fn metadata(&self, _name: &str) -> Option<&str> {
        None
    }
    /// A header of the request.
    fn header(&self, _name: &str) -> Option<&str> {
        None
    }
    /// Says whether one of `x-headgate-tags` is wanted.
    fn has_tag(&self, _is_wanted: &dyn Fn(&str) -> bool) -> bool {
        false
    }
    /// The end user.
    fn user(&self) -> Option<&str> {
        None
    }
    /// The conversation.
    fn conversation(&self) -> Option<&str> {
        None
    }
    /// What calls of one conversation have in common, when the route asks for that and nothing names the conversation.
    fn prefix(&self) -> Option<u64> {
        None
    }
    /// Whether the conversation must stay where it is: it holds, or will hold, what only that account reads.
    fn is_bound(&self) -> bool {
        false
    }
    /// Whether a stream is asked for.
    fn is_stream(&self) -> bool {
        false
    }
    /// Whether tools are offered.
    fn has_tools(&self) -> bool {
        false
    }
    /// Whether the prompt holds images.
    fn has_images(&self) -> bool {
        false
    }
    /// Whether an answer of a given shape is asked for.
    fn has_schema(&self) -> bool {
        false
    }
    /// The cap on output tokens.
    fn max_tokens(&self) -> Option<u64> {
        None
    }
    /// The estimated input tokens.
    fn input_tokens(&self) -> u64 {
        0
    }
    /// A field of the body that is no content: text, a number or a boolean, as text.
    fn parameter(&self, _path: &str) -> Option<String> {
        None
    }
    /// What is left of a budget that binds the call, or of the tightest, in whole percent of its limit.
    fn budget_left(&self, _budget: Option<BudgetId>) -> Option<u8> {
        None
    }
}

/// Says whether a test holds.
pub fn holds(test: &Test, facts: &dyn Facts) -> bool {
    match test {
        Test::Metadata { name, is } => facts.metadata(name).is_some_and(|value| matches(is, value)),
        Test::Header { name, is } => facts.header(name).is_some_and(|value| matches(is, value)),
        Test::Tag { is } => facts.has_tag(&|tag| matches(is, tag)),
        Test::Model { is } => matches(is, facts.model()),
        Test::Stream { is } => facts.is_stream() == *is,
        Test::Tools { is } => facts.has_tools() == *is,
        Test::Images { is } => facts.has_images() == *is,
        Test::Schema { is } => facts.has_schema() == *is,
        Test::MaxTokens { at_least, at_most } => {
            facts.max_tokens().is_some_and(|tokens| within(tokens, *at_least, *at_most))
        }
        Test::InputTokens { at_least, at_most } => within(facts.input_tokens(), *at_least, *at_most),
        Test::Parameter { name, is, at_least, at_most } => {
            facts.parameter(name).is_some_and(|value| is_parameter(&value, is, *at_least, *at_most))
        }
        Test::BudgetLeft { budget_id, at_least, at_most } => facts
            .budget_left(*budget_id)
            .is_some_and(|left| at_least.is_none_or(|least| left >= least) && at_most.is_none_or(|most| left <= most)),
        Test::Time { from_minute, until_minute, days, utc_offset_minutes } => {
            let (day, minute) = local(facts.at(), *utc_offset_minutes);
            let is_on = |day: i64| days.is_empty() || days.iter().any(|on| i64::from(*on) == weekday(day));
            if from_minute < until_minute {
                (*from_minute..*until_minute).contains(&minute) && is_on(day)
            } else {
                // Over midnight: the range belongs to the day on which it begins.
                (minute >= *from_minute && is_on(day)) || (minute < *until_minute && is_on(day - 1))
            }
        }
    }
}

/// Returns the hash of what a key names; `None` when the call does not have it.
pub fn hash_of(by: &HashKey, facts: &dyn Facts) -> Option<u64> {
    let text = match by {
        HashKey::User => facts.user(),
        HashKey::Conversation => facts.conversation(),
        HashKey::Header { name } => facts.header(name),
    };
    text.map(|text| hash(text.as_bytes()))
}

/// Returns what a call is taken to use when prices are compared before it is made.
#[must_use]
pub fn usual_use(input_tokens: u64, max_tokens: Option<u64>) -> TokenUsage {
    let output = max_tokens.map_or(USUAL_OUTPUT, |cap| cap.min(USUAL_OUTPUT));
    TokenUsage { input: input_tokens, output, ..TokenUsage::default() }
}

/// FNV-1a with a finish; the same at every node and in every version, so that all agree on who serves a key.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    mix(hash)
}

pub(crate) const fn mix(value: u64) -> u64 {
    let mut mixed = value;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn is_parameter(value: &str, is: &[String], at_least: Option<Bound>, at_most: Option<Bound>) -> bool {
    if at_least.is_none() && at_most.is_none() {
        return matches(is, value);
    }
    let is_within =
        |value: f64| at_least.is_none_or(|least| value >= least.0) && at_most.is_none_or(|most| value <= most.0);
    value.parse().is_ok_and(is_within)
}

fn matches(patterns: &[String], value: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => value.starts_with(prefix),
        None => pattern == value,
    })
}

fn within(value: u64, at_least: Option<u64>, at_most: Option<u64>) -> bool {
    at_least.is_none_or(|least| value >= least) && at_most.is_none_or(|most| value <= most)
}

/// Returns the day since 1970 and the minute of it.
fn local(at: Timestamp, utc_offset_minutes: i16) -> (i64, u16) {
    let minutes = at.as_micros().div_euclid(60_000_000).saturating_add(i64::from(utc_offset_minutes));
    (minutes.div_euclid(1_440), u16::try_from(minutes.rem_euclid(1_440)).unwrap_or(0))
}

/// Returns 1 for Monday to 7 for Sunday; the first of January 1970 was a Thursday.
const fn weekday(day: i64) -> i64 {
    (day + 3).rem_euclid(7) + 1
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A call of a test.
    #[derive(Clone, Default)]
    pub(crate) struct Call {
        pub at_us: i64,
        pub pairs: Vec<(&'static str, &'static str)>,
        pub tools: bool,
        pub cap: Option<u64>,
        pub input: u64,
    }

    impl Facts for Call {
        fn at(&self) -> Timestamp {
            Timestamp::from_micros(self.at_us)
        }
        fn model(&self) -> &str {
            self.metadata("model").unwrap_or("m")
        }
        fn metadata(&self, name: &str) -> Option<&str> {
            self.pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
        }
        fn header(&self, name: &str) -> Option<&str> {
            self.metadata(name)
        }
        fn has_tag(&self, is_wanted: &dyn Fn(&str) -> bool) -> bool {
            self.pairs.iter().any(|(name, _)| is_wanted(name))
        }
        fn user(&self) -> Option<&str> {
            self.metadata("user")
        }
        fn conversation(&self) -> Option<&str> {
            self.metadata("conversation")
        }
        fn prefix(&self) -> Option<u64> {
            None
        }
        fn is_stream(&self) -> bool {
            false
        }
        fn has_tools(&self) -> bool {
            self.tools
        }
        fn has_images(&self) -> bool {
            false
        }
        fn has_schema(&self) -> bool {
            false
        }
        fn max_tokens(&self) -> Option<u64> {
            self.cap
        }
        fn input_tokens(&self) -> u64 {
            self.input
        }
        fn parameter(&self, path: &str) -> Option<String> {
            self.metadata(path).map(str::to_owned)
        }
        fn budget_left(&self, budget: Option<BudgetId>) -> Option<u8> {
            let name = if budget.is_some() { "budget" } else { "tightest" };
            self.metadata(name)?.parse().ok()
        }
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn texts_match_whole_or_by_prefix_and_what_is_absent_never() {
        let call = Call { pairs: vec![("tier", "gold-1")], ..Call::default() };
        let test = |is: &[&str]| Test::Metadata { name: "tier".to_owned(), is: texts(is) };
        assert!(
            holds(&test(&["gold-1"]), &call) && holds(&test(&["x", "gold*"]), &call) && holds(&test(&["*"]), &call)
        );
        assert!(!holds(&test(&["gold"]), &call));
        assert!(!holds(&Test::Metadata { name: "other".to_owned(), is: texts(&["*"]) }, &call));
        assert!(holds(&Test::Tag { is: texts(&["tier"]) }, &call));
    }

    #[test]
    fn numbers_have_inclusive_bounds_and_a_missing_cap_is_in_none() {
        let call = Call { input: 100, ..Call::default() };
        let input = |at_least, at_most| holds(&Test::InputTokens { at_least, at_most }, &call);
        assert!(input(Some(100), Some(100)) && input(None, Some(100)));
        assert!(!input(Some(101), None) && !input(None, Some(99)));
        let cap = Test::MaxTokens { at_least: Some(0), at_most: None };
        assert!(!holds(&cap, &call) && holds(&cap, &Call { cap: Some(5), ..Call::default() }));
    }

    #[test]
    fn parameters_are_compared_as_text_or_as_numbers() {
        let pairs = vec![("temperature", "0.7"), ("reasoning.effort", "high"), ("n", "2")];
        let call = Call { pairs, ..Call::default() };
        let number = |number| Some(Bound(number));
        let test = |name: &str, is: &[&str], at_least, at_most| {
            holds(&Test::Parameter { name: name.to_owned(), is: texts(is), at_least, at_most }, &call)
        };
        assert!(test("reasoning.effort", &["high", "xhigh"], None, None) && test("n", &["2"], None, None));
        assert!(test("temperature", &[], number(0.5), None) && test("temperature", &[], None, number(0.7)));
        assert!(!test("temperature", &[], number(0.71), None) && !test("top_p", &["*"], None, None));
        assert!(!test("reasoning.effort", &[], number(0.0), None), "no number is in no bounds");
    }

    #[test]
    fn what_is_left_of_a_budget_is_in_bounds_only_when_it_is_known() {
        let call = Call { pairs: vec![("tightest", "12")], ..Call::default() };
        let left = |budget_id, at_least, at_most| holds(&Test::BudgetLeft { budget_id, at_least, at_most }, &call);
        assert!(left(None, None, Some(20)) && left(None, Some(12), Some(12)) && !left(None, Some(13), None));
        assert!(!left(Some(BudgetId::from_uuid(1)), Some(0), Some(100)), "not heard of");
    }

    #[test]
    fn times_go_over_midnight_and_belong_to_the_day_they_begin_on() {
        // Friday, 2 January 1970, 23:30 UTC.
        let friday_night = Call { at_us: (1_440 + 23 * 60 + 30) * 60_000_000, ..Call::default() };
        let saturday = Call { at_us: friday_night.at_us + 3_600_000_000, ..Call::default() };
        let night = |days: &[u8], offset| Test::Time {
            from_minute: 22 * 60,
            until_minute: 6 * 60,
            days: days.to_vec(),
            utc_offset_minutes: offset,
        };
        assert!(holds(&night(&[5], 0), &friday_night) && holds(&night(&[5], 0), &saturday));
        assert!(!holds(&night(&[6], 0), &friday_night) && !holds(&night(&[6], 0), &saturday));
        assert!(!holds(&night(&[5], -120), &friday_night), "21:30 there");
        let day = Test::Time { from_minute: 0, until_minute: 1_440, days: vec![], utc_offset_minutes: 0 };
        assert!(holds(&day, &friday_night));
    }
}
