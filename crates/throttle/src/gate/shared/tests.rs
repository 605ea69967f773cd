use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};

use domain::RateLimitId;
use domain::rate_limit::{Measure, Per, Rate, Share};
use futures_util::FutureExt as _;
use parking_lot::Mutex;

use super::*;
use crate::joint::BoxFuture;

const ONE: Use = Use { requests: 1, input_tokens: 0, output_tokens: 0, cost: 0 };
const CALL: Need = Need { least: ONE, most: Use { output_tokens: 400, ..ONE }, occupies: true };

/// Answers as it was told to, and notes what it was asked.
#[derive(Debug, Default)]
struct Script {
    members: AtomicU32,
    answers: Mutex<VecDeque<Option<Answer>>>,
    questions: Mutex<Vec<Question>>,
    settled: Mutex<Vec<Settlement>>,
}

impl Common for Script {
    fn members(&self) -> Option<u32> {
        Some(self.members.load(Ordering::Relaxed)).filter(|members| *members > 0)
    }

    fn take(&self, question: Question) -> BoxFuture<'_, Option<Answer>> {
        self.questions.lock().push(question);
        let answer = self.answers.lock().pop_front().expect("nobody said what to answer");
        Box::pin(std::future::ready(answer))
    }

    fn look(&self, question: Question) -> BoxFuture<'_, Option<Vec<Stand>>> {
        Box::pin(std::future::ready(Some(question.counts.iter().map(|_| stand(1)).collect())))
    }

    fn settle(&self, settlement: Settlement) {
        self.settled.lock().push(settlement);
    }
}

fn stand(used: u64) -> Stand {
    Stand { slot: 7, used, reset: Duration::from_secs(60) }
}

fn script(nodes: u32) -> (Arc<Script>, Throttle) {
    let script = Arc::new(Script::default());
    script.members.store(nodes, Ordering::Relaxed);
    let throttle = Throttle::in_common(script.clone());
    throttle.set_share(Share::new(2, 0));
    (script, throttle)
}

fn limit() -> Vec<Ask> {
    vec![Ask {
        organization: OrganizationId::from_uuid(1),
        limit: RateLimitId::from_uuid(1),
        mark: Some([1; 16]),
        name: "Fair use".into(),
        rates: [
            Rate { measure: Measure::Requests, per: Some(Per::Minute), amount: 10 },
            Rate { measure: Measure::Tokens, per: Some(Per::Minute), amount: 1_000 },
            Rate { measure: Measure::Concurrent, per: None, amount: 4 },
        ]
        .into(),
        group: "ann".into(),
        providers: None,
    }]
}

fn admit(throttle: &Throttle, now_us: u64) -> Result<Pass, Box<Refused>> {
    throttle.admit_in_common(now_us, limit(), &CALL).now_or_never().expect("the script answers at once")
}

#[test]
fn what_was_taken_in_common_is_put_right_there_once() {
    let (script, throttle) = script(2);
    script.answers.lock().push_back(Some(Answer::Taken { ticket: 5, stands: vec![stand(3), stand(900), stand(1)] }));
    let pass = admit(&throttle, 0).expect("taken");
    let standing = pass.standing();
    assert_eq!(standing.requests.map(|left| (left.part, left.left)), Some((10, 7)));
    assert_eq!(standing.tokens.map(|left| (left.part, left.left)), Some((1_000, 100)));
    let amounts: Vec<u64> = script.questions.lock()[0].counts.iter().map(|count| count.amount).collect();
    assert_eq!(amounts, [1, 400, 1]);
    pass.settle(1, &Use { input_tokens: 20, output_tokens: 30, ..ONE }, None);
    let settled = script.settled.lock();
    assert_eq!((settled.len(), settled[0].ticket), (1, Some(5)));
    let told: Vec<_> = settled[0].corrections.iter().map(|it| (it.count.rate.measure, it.slot, it.used)).collect();
    assert_eq!(told, [(Measure::Tokens, Some(7), 50), (Measure::Concurrent, Some(7), 0)]);
}

#[test]
fn a_refusal_costs_a_flood_one_question_and_no_longer_than_it_is_certain() {
    let (script, throttle) = script(2);
    let wait = Duration::from_secs(9);
    script.answers.lock().push_back(Some(Answer::Refused { at: 1, wait }));
    let refused = admit(&throttle, 0).expect_err("refused");
    assert_eq!((refused.rate.measure, refused.nodes, refused.retry_after), (Measure::Tokens, 1, Some(wait)));
    for now_us in [1, 50_000, 99_999] {
        let refused = admit(&throttle, now_us).expect_err("remembered");
        assert_eq!(refused.retry_after, wait.checked_sub(Duration::from_micros(now_us)));
    }
    assert_eq!(script.questions.lock().len(), 1);
    // Who wants less than what was refused asks.
    let small = Need { most: Use { output_tokens: 10, ..ONE }, ..CALL };
    script.answers.lock().push_back(Some(Answer::Taken { ticket: 1, stands: vec![stand(1); 3] }));
    drop(throttle.admit_in_common(10, limit(), &small).now_or_never().expect("at once").expect("taken"));
    // A call that ended may have left room.
    script.answers.lock().push_back(Some(Answer::Refused { at: 0, wait }));
    drop(admit(&throttle, 20).expect_err("asked anew"));
    script.answers.lock().push_back(None);
    assert!(admit(&throttle, 200_000).is_ok(), "asked anew, and nobody answered");
    assert_eq!(script.questions.lock().len(), 4);
}

#[test]
fn what_is_larger_than_the_limit_is_refused_without_a_question() {
    let (_script, throttle) = script(2);
    let large = Need { least: Use { input_tokens: 1_001, ..ONE }, ..CALL };
    let refused = throttle.admit_in_common(0, limit(), &large).now_or_never().expect("at once").expect_err("too large");
    assert_eq!((refused.why, refused.retry_after), (Why::TooLarge, None));
}

#[test]
fn without_an_answer_the_share_decides_and_what_was_used_is_told_all_the_same() {
    let (script, throttle) = script(0);
    let passes: Vec<Pass> = (0..9).filter_map(|_| admit(&throttle, 0).ok()).collect();
    assert_eq!(passes.len(), 1, "500 tokens are its share, and a call may use 400");
    for pass in passes {
        pass.settle(1, &Use { output_tokens: 30, ..ONE }, None);
    }
    let settled = script.settled.lock();
    let told: Vec<_> = settled[0].corrections.iter().map(|it| (it.count.rate.measure, it.slot, it.used)).collect();
    assert_eq!((settled[0].ticket, told), (None, vec![(Measure::Requests, None, 1), (Measure::Tokens, None, 30)]));
}

#[test]
fn what_was_let_through_in_common_counts_when_the_node_is_on_its_own() {
    let (script, throttle) = script(2);
    let stands = vec![stand(1); 3];
    let taken = Answer::Taken { ticket: 1, stands };
    script.answers.lock().extend((0..5).map(|_| Some(taken.clone())));
    for now in 0..5 {
        let pass = admit(&throttle, now).expect("taken");
        pass.settle(now, &ONE, None);
    }
    script.members.store(0, Ordering::Relaxed);
    assert_eq!(admit(&throttle, 6).expect_err("it had its five").rate.measure, Measure::Requests);
}

#[test]
fn some_nodes_in_common_have_their_part_of_the_limit_together() {
    let (script, throttle) = script(1);
    script.answers.lock().push_back(Some(Answer::Refused { at: 0, wait: SHORTLY }));
    let refused = admit(&throttle, 0).expect_err("refused");
    assert_eq!((refused.part, refused.nodes, refused.is_common), (5, 2, true));
    assert_eq!(script.questions.lock()[0].counts.iter().map(|count| count.part).collect::<Vec<_>>(), [5, 500, 2]);
}
