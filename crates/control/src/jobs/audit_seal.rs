//! Signs a checkpoint over every audit chain that has grown since its last one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use store::audit::Checkpoint;

use operation::cx::Cx;
use operation::error::{Failure, Outcome};

pub(super) async fn run(cx: &Cx) -> Outcome<()> {
    let mut tx = cx.store.system().await?;
    let grown = store::audit::list_unsealed(&mut tx).await?;
    for (organization_id, (seq, hash)) in grown {
        let signed = cx.audit_signer.sign(organization_id, seq, hash, cx.now());
        let signature = STANDARD.decode(&signed.signature).map_err(|error| Failure::Internal(error.to_string()))?;
        let checkpoint = Checkpoint { organization_id, seq, hash, kid: signed.key_id, signature, signed_at: signed.at };
        store::audit::insert_checkpoint(&mut tx, &checkpoint).await?;
    }
    Ok(tx.commit().await?)
}
