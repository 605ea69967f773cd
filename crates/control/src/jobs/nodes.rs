//! Looks whether the nodes are there and take what they are told, and raises alerts when they are not.

use std::time::Duration;

use domain::watch::told;

use operation::cx::Cx;
use operation::error::Outcome;

/// A node that is silent for longer is nobody's surprise any more: it was told of, or it was gone before anybody looked.
const LOOKS_BACK: Duration = Duration::from_secs(7 * 24 * 3_600);

pub(super) async fn run(cx: &Cx) -> Outcome<()> {
    let now = cx.now();
    let mut tx = cx.store.system().await?;
    let nodes = store::nodes::watch::list(&mut tx, now.minus(LOOKS_BACK)).await?;
    let alerts: Vec<_> = nodes.iter().flat_map(|node| told(node, &nodes, now)).collect();
    store::alerts::raise(&mut tx, &alerts).await?;
    tx.commit().await?;
    Ok(())
}
