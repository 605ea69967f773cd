use domain::rate_limit::Per;
use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000;
const ONE: Use = Use { requests: 1, input_tokens: 0, output_tokens: 0, cost: 0 };
const CALL: Need = Need { least: ONE, most: ONE, occupies: true };

fn rate(measure: Measure, per: Option<Per>, amount: u64) -> Rate {
    Rate { measure, per, amount }
}

fn ask(id: u128, group: &str, rates: &[Rate]) -> Ask {
    Ask {
        organization: OrganizationId::from_uuid(1),
        limit: RateLimitId::from_uuid(id),
        mark: None,
        name: format!("limit {id}").into(),
        rates: rates.into(),
        group: group.into(),
        providers: None,
    }
}

fn tokens(input: u64, most_output: u64) -> Need {
    Need {
        least: Use { input_tokens: input, ..ONE },
        most: Use { input_tokens: input, output_tokens: most_output, ..ONE },
        occupies: true,
    }
}

fn per_minute(amount: u64) -> Rate {
    rate(Measure::Requests, Some(Per::Minute), amount)
}

#[test]
fn a_refused_call_has_taken_nothing_and_hears_of_the_longest_wait() {
    let throttle = Throttle::default();
    let wide = ask(1, "", &[per_minute(10)]);
    let tight = ask(2, "", &[rate(Measure::Requests, Some(Per::Second), 1)]);
    let daily = ask(3, "", &[rate(Measure::Requests, Some(Per::Day), 1)]);
    let all = || vec![wide.clone(), tight.clone(), daily.clone()];
    drop(throttle.admit(0, all(), &CALL).expect("the first"));
    let refused = throttle.admit(1, all(), &CALL).expect_err("the second");
    assert_eq!((&*refused.name, refused.why), ("limit 3", Why::Full));
    let wait = refused.retry_after.expect("an end");
    assert!(wait >= Per::Day.span() && wait <= Per::Day.span().mul_f64(1.05), "{wait:?}");
    let left = &throttle.list(1, std::slice::from_ref(&wide))[0][0];
    assert_eq!((left.part, left.left), (10, 9), "only the admitted call");
    assert!(throttle.admit(u64::try_from(wait.as_micros()).unwrap() + 1, all(), &CALL).is_ok());
}

#[test]
fn tokens_are_guessed_then_counted() {
    let throttle = Throttle::default();
    let limit = || vec![ask(1, "", &[rate(Measure::Tokens, Some(Per::Minute), 1_000)])];
    let left = |now| throttle.list(now, &limit())[0][0].left;
    let pass = throttle.admit(0, limit(), &tokens(100, 500)).expect("fits");
    assert_eq!(left(0), 400);
    assert!(throttle.admit(0, limit(), &tokens(100, 500)).is_err());
    pass.settle(SECOND, &Use { input_tokens: 90, output_tokens: 10, ..ONE }, None);
    assert_eq!(left(SECOND), 900);
    let pass = throttle.admit(SECOND, limit(), &tokens(100, 0)).expect("fits");
    pass.settle(2 * SECOND, &Use { input_tokens: 100, output_tokens: 2_000, ..ONE }, None);
    assert_eq!(left(2 * SECOND), 0, "an answer longer than was said counts whole");
    // A call that may be longer than the limit goes when nothing else does; one that is, never.
    let later = 200 * SECOND;
    assert!(throttle.admit(later, limit(), &tokens(100, 1_000_000)).is_ok());
    let refused = throttle.admit(later, limit(), &tokens(1_001, 1)).expect_err("too large");
    assert_eq!((refused.why, refused.retry_after), (Why::TooLarge, None));
}

#[test]
fn calls_at_once_come_back_when_they_end_however_they_end() {
    let throttle = Throttle::default();
    let limit = || vec![ask(1, "", &[rate(Measure::Concurrent, None, 2), per_minute(100)])];
    let first = throttle.admit(0, limit(), &CALL).expect("one");
    let second = throttle.admit(0, limit(), &CALL).expect("two");
    let refused = throttle.admit(0, limit(), &CALL).expect_err("three");
    assert_eq!((refused.rate.measure, refused.retry_after), (Measure::Concurrent, Some(Duration::from_secs(1))));
    drop(throttle.admit(0, limit(), &Need { occupies: false, ..CALL }).expect("what is done within a call"));
    first.settle(1, &ONE, None);
    drop(second);
    let lefts: Vec<u64> = throttle.list(2, &limit())[0].iter().map(|left| left.left).collect();
    assert_eq!(lefts, [2, 97], "a dropped call was a call all the same");
}

#[test]
fn what_another_provider_answered_does_not_count() {
    let throttle = Throttle::default();
    let limit = || vec![Ask { providers: Some(vec!["openai".into()]), ..ask(1, "", &[per_minute(5)]) }];
    throttle.admit(0, limit(), &CALL).expect("fits").settle(1, &ONE, Some("mistral"));
    throttle.admit(0, limit(), &CALL).expect("fits").settle(1, &ONE, Some("openai"));
    assert_eq!(throttle.list(2, &limit())[0][0].left, 4);
}

#[test]
fn nodes_never_admit_more_than_the_limit_together() {
    let nodes: Vec<Throttle> = (0..3).map(|_| Throttle::default()).collect();
    for (place, node) in (0_u32..).zip(&nodes) {
        node.set_share(Share::new(3, place));
    }
    let mut admitted = 0;
    for call in 0..100_u64 {
        let node = &nodes[(call % 3) as usize];
        admitted += u64::from(node.admit(call, vec![ask(1, "", &[per_minute(10)])], &CALL).is_ok());
    }
    assert_eq!(admitted, 10);
    let refused = nodes[2].admit(0, vec![ask(2, "", &[per_minute(2)])], &CALL).expect_err("nothing is left for it");
    assert_eq!((refused.why, refused.part), (Why::NoPart, 0));
    let large = nodes[2].admit(0, vec![ask(3, "", &[rate(Measure::Tokens, Some(Per::Minute), 90)])], &tokens(31, 0));
    assert_eq!(large.expect_err("more than a third").why, Why::TooLarge);
}

#[test]
fn a_change_of_rates_keeps_what_was_counted_of_those_that_stay() {
    let throttle = Throttle::default();
    let old = ask(1, "", &[per_minute(5), rate(Measure::Requests, Some(Per::Hour), 50)]);
    let pass = throttle.admit(0, vec![old], &CALL).expect("fits");
    let new = ask(1, "", &[rate(Measure::Concurrent, None, 3), per_minute(2)]);
    let lefts =
        |now| throttle.list(now, std::slice::from_ref(&new))[0].iter().map(|left| left.left).collect::<Vec<_>>();
    assert_eq!(lefts(1), [3, 1]);
    pass.settle(2, &ONE, None);
    assert_eq!(lefts(2), [3, 1], "a call of before gives nothing back that it did not take");
}

#[test]
fn strange_groups_cannot_grow_a_node_and_share_what_is_left() {
    let throttle = Throttle::bounded(100, 150);
    let limit = |group: &str| vec![ask(1, group, &[per_minute(3)])];
    drop(throttle.admit(0, limit("known"), &CALL).expect("a group of its own"));
    let mut admitted = 0;
    for n in 0..10_000 {
        admitted += usize::from(throttle.admit(1, limit(&format!("stranger {n}")), &CALL).is_ok());
    }
    assert_eq!(throttle.n_groups(), 100);
    assert_eq!(admitted, 99 + 3, "those that found a place, and three for all others together");
    assert!(throttle.admit(2, limit("known"), &CALL).is_ok(), "who was there before is not touched");
    // Another tenant's limit still has room.
    assert!(throttle.admit(2, vec![ask(2, "somebody", &[per_minute(1)])], &CALL).is_ok());
    // Once they are idle, others take their places.
    let later = 100 * SECOND;
    assert!(throttle.admit(later, limit("new"), &CALL).is_ok());
    throttle.sweep(300 * SECOND);
    assert_eq!(throttle.n_groups(), 0);
}

#[test]
fn standing_names_the_tightest_of_each_kind() {
    let throttle = Throttle::default();
    let asks = vec![
        ask(1, "", &[per_minute(1_000), rate(Measure::Requests, Some(Per::Second), 2)]),
        ask(2, "", &[rate(Measure::Tokens, Some(Per::Minute), 500), rate(Measure::Cost, Some(Per::Day), 1)]),
    ];
    let pass = throttle.admit(0, asks, &tokens(100, 100)).expect("fits");
    let requests = pass.standing().requests.expect("a limit on calls");
    assert_eq!((requests.part, requests.left), (2, 1));
    assert!(requests.reset >= Duration::from_secs(1) && requests.reset < Duration::from_millis(1_100));
    assert_eq!(pass.standing().tokens.map(|left| (left.part, left.left)), Some((500, 300)));
}

proptest! {
    /// Any order of calls and ends over two limits of three groups: what is under way never exceeds the limit, and when all has
    /// ended and passed nothing is left behind.
    #[test]
    fn calls_and_their_ends_in_any_order_leave_nothing_behind(
        steps in prop::collection::vec((0_u8..3, any::<bool>(), any::<bool>(), 0_u64..400), 1..200),
    ) {
        let throttle = Throttle::default();
        let mut running: Vec<(u8, Pass)> = Vec::new();
        let mut now = 0;
        for (group, ends, drops, used) in steps {
            now += 50_000;
            if ends && !running.is_empty() {
                let (_, pass) = running.swap_remove(usize::from(group) % running.len());
                if drops { drop(pass) } else {
                    pass.settle(now, &Use { requests: 1, input_tokens: used, output_tokens: used, cost: 0 }, None);
                }
                continue;
            }
            let name = group.to_string();
            let asks = vec![
                ask(1, &name, &[rate(Measure::Concurrent, None, 2)]),
                ask(2, "", &[rate(Measure::Concurrent, None, 4), rate(Measure::Tokens, Some(Per::Second), 1_000)]),
            ];
            if let Ok(pass) = throttle.admit(now, asks, &tokens(used, 100)) {
                running.push((group, pass));
            }
            prop_assert!(running.len() <= 4);
            for group in 0..3 {
                prop_assert!(running.iter().filter(|(known, _)| *known == group).count() <= 2);
            }
        }
        running.clear();
        throttle.sweep(now + 10 * SECOND);
        prop_assert_eq!(throttle.n_groups(), 0);
    }
}

#[test]
fn times_read_as_in_openai_s_headers() {
    let text = |ms| Left { rate: per_minute(1), part: 1, left: 0, reset: Duration::from_millis(ms) }.reset_text();
    let texts = [0, 20, 1_000, 1_500, 360_000, 61_001, 3_723_000].map(text);
    assert_eq!(texts, ["0ms", "20ms", "1s", "1.500s", "6m0s", "1m2s", "1h2m3s"]);
}
