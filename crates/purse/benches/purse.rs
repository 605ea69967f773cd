//! `cargo xtask bench purse`: what it costs a call to hold money and to be charged, while there
//! is money here. Held to the bound that was promised, in CPU time; exit status 1 when it is missed.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use domain::budget::{AccountKey, Measure, Window};
use domain::{BudgetId, OrganizationId};
use purse::testing::{AtOnce, Lender};
use purse::{Item, Purse, Spent};

const CALLS: u32 = 200_000;
const ROUNDS: usize = 5;
/// Bound for holding and for settling, each.
const EACH: Duration = Duration::from_micros(2);

/// Returns the CPU time of this thread, to the nanosecond (proc(5), `schedstat`).
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux accounts for threads");
    let nanos = text.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.expect("a number of nanoseconds"))
}

fn item(n: u16) -> Item {
    let account = AccountKey {
        organization_id: OrganizationId::from_uuid(1),
        budget_id: BudgetId::from_uuid(u128::from(n)),
        window: Window::Month,
        group_key: Arc::from(""),
    };
    Item { account, measure: Measure::Cost, amount: 1_000, is_soft: false, fails_open: false }
}

#[expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]
fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let (purse, lender) = (Purse::default(), Lender::default());
    // A key, a workspace and an organization with a budget each.
    let items: Vec<Item> = (0..3).map(item).collect();
    for item in &items {
        lender.with(|ledger| ledger.set(item.account.clone(), u64::MAX / 4));
    }
    let plenty: Vec<Item> = items.iter().cloned().map(|item| Item { amount: 1 << 50, ..item }).collect();
    let first = runtime.block_on(async {
        tokio::select! {
            () = purse.run(Arc::new(lender.clone()), Arc::new(AtOnce)) => None,
            given = purse.reserve(plenty) => Some(given),
        }
    });
    drop(first);
    let spent = Spent { cost: 700, tokens: 90, requests: 1 };
    let (mut hold, mut settle) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let mut holds = Vec::with_capacity(CALLS as usize);
        let started = cpu_time();
        for _ in 0..CALLS {
            holds.push(purse.try_reserve(black_box(&items)).expect("money is here").expect("held"));
        }
        let held = cpu_time();
        for hold in holds {
            black_box(hold.settle(&|_| spent).take_charges());
        }
        hold = hold.min(held.saturating_sub(started) / CALLS);
        settle = settle.min(cpu_time().saturating_sub(held) / CALLS);
    }
    println!("three accounts: hold {hold:?}, settle {settle:?}, bound {EACH:?} each");
    if hold <= EACH && settle <= EACH { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
