//! Takes money back from nodes that are lost: revoked, gone, or with a certificate that has ended. Nothing else frees what a node
//! may have spent and not yet reported.

use operation::cx::Cx;
use operation::error::Outcome;

/// Closes the leases of lost nodes.
pub async fn run(cx: &Cx) -> Outcome<()> {
    let mut tx = cx.store.system().await?;
    let closed = store::leases::close_of_lost_nodes(&mut tx, cx.now()).await?;
    tx.commit().await?;
    if closed > 0 {
        tracing::warn!(
            leases = closed,
            "leases of lost nodes were closed; what they report later is booked all the same"
        );
    }
    Ok(())
}
