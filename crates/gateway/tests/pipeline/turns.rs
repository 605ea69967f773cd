//! What calls that run at the same time tell the spool is written together, and nobody waits for one that leaves.

use std::sync::atomic::Ordering;

use crate::harness::Bench;
use crate::harness::client::{Connection, chat};
use crate::harness::upstream::openai_whole;

#[tokio::test(start_paused = true)]
async fn calls_at_the_same_time_are_written_together() {
    const N: usize = 30;
    let bench = Bench::new();
    for _ in 0..N {
        bench.upstreams.play("openai.test", openai_whole());
    }
    let answers = futures_util::future::join_all((0..N).map(|_| bench.ask(chat("gpt")))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let (opened, events) = (bench.ledger.opened.lock().clone(), bench.ledger.events.lock().clone());
    assert_eq!((opened.len(), events.len()), (N, N), "what has been answered is on file");
    for call in &opened {
        assert_eq!(events.iter().filter(|event| event.id == call.id).count(), 1);
    }
    let n_told = bench.ledger.n_told.load(Ordering::Relaxed);
    assert!(n_told <= N / 3, "{n_told} writes for {N} calls");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_call_that_was_given_up() {
    let bench = Bench::new();
    // Given up at every step of its way.
    for n_steps in 0..40 {
        for _ in 0..3 {
            bench.upstreams.play("openai.test", openai_whole());
        }
        let leaving = async {
            let mut connection = Connection::open(&bench.lane).await;
            let leaves = async {
                for _ in 0..n_steps {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                () = leaves => {}
                _ = connection.send(chat("gpt")) => {}
            }
        };
        let ((), one, other) = tokio::join!(leaving, bench.ask(chat("gpt")), bench.ask(chat("gpt")));
        assert_eq!((one.status.as_u16(), other.status.as_u16()), (200, 200), "left after {n_steps} steps");
    }
    let events = bench.ledger.events.lock().clone();
    let opened = bench.ledger.opened.lock().clone();
    assert!(opened.iter().all(|call| events.iter().any(|event| event.id == call.id)), "who is opened ends");
}
