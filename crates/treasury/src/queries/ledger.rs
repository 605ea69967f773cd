//! What was posted for a call, and whether the books keep their rules.

use api::NoQuery;
use api::ops::ledger::{InvariantView, InvariantsView, LedgerInvariants, ListPostings, PostingView};
use domain::Page;
use domain::ledger::{Posting, Rule};

use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};

/// Lists what was posted for a call.
pub async fn postings(call: Call<ListPostings>) -> Outcome<Reply<Page<PostingView>>> {
    let mut tx = call.read().await?;
    let id = call.path.request_id;
    if !store::usage::is_booked(&mut tx, id).await? {
        return Err(Failure::not_found());
    }
    let postings = store::ledger::list(&mut tx, &[id]).await?;
    Ok(Reply::new(operation::page::whole(postings.into_iter().map(view).collect())))
}

/// Says whether the books keep their rules.
pub async fn invariants(call: Call<LedgerInvariants>) -> Outcome<Reply<InvariantsView>> {
    let NoQuery {} = call.query;
    let mut tx = call.read().await?;
    let found = store::ledger::findings(&mut tx).await?;
    let rule = |rule: &Rule| {
        let found = found.iter().find(|it| it.rule == *rule);
        InvariantView {
            rule: *rule,
            about: rule.about().to_owned(),
            checked_at: found.map(|it| it.checked_at),
            since: found.map(|it| it.since),
            broken: found.map_or(0, |it| it.broken),
            sample: found.and_then(|it| it.sample.clone()),
        }
    };
    let rules: Vec<InvariantView> = Rule::ALL.iter().map(rule).collect();
    let is_kept = rules.iter().all(|it| it.checked_at.is_some() && it.broken == 0);
    Ok(Reply::new(InvariantsView { is_kept, rules }))
}

fn view(posting: Posting) -> PostingView {
    PostingView {
        request_id: posting.event_id,
        n: posting.n,
        kind: posting.kind,
        debit: posting.debit,
        credit: posting.credit,
        amount_usd: posting.amount,
        price_id: posting.price_id,
        reason: posting.reason,
        posted_at: posting.posted_at,
    }
}
