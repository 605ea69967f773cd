//! Answers kept for later calls: found by their whole key until they expire.

use std::time::Duration;

use domain::{EnvironmentId, OrganizationId, WorkspaceId};
use store::kept_responses::{self, KeptResponse, Place};

use crate::support::{NOON, World};

#[tokio::test]
async fn a_response_is_found_at_its_place_until_it_expires() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant("acme").await, world.tenant("other").await);
    let place = Place {
        organization: tenant.id,
        workspace: tenant.workspace.id,
        environment: tenant.environment.id,
        id: "resp_1".to_owned(),
    };
    let until = NOON.plus(Duration::from_mins(10));
    let kept = KeptResponse { data_key_version: 2, sealed: b"sealed".to_vec(), created_at: NOON, expires_at: until };
    let mut tx = world.store.system().await.expect("a transaction");
    kept_responses::insert(&mut tx, &place, &kept).await.expect("is kept");
    let again = KeptResponse { sealed: b"changed".to_vec(), ..kept.clone() };
    kept_responses::insert(&mut tx, &place, &again).await.expect("is no error");
    assert_eq!(kept_responses::find(&mut tx, &place, NOON).await.expect("a look-up"), Some(kept), "the first stays");
    assert_eq!(kept_responses::find(&mut tx, &place, until).await.expect("a look-up"), None, "its time is over");
    for elsewhere in [
        Place { organization: other.id, ..place.clone() },
        Place { organization: OrganizationId::from_uuid(1), ..place.clone() },
        Place { workspace: WorkspaceId::from_uuid(1), ..place.clone() },
        Place { environment: EnvironmentId::from_uuid(1), ..place.clone() },
        Place { id: "resp_2".to_owned(), ..place.clone() },
    ] {
        assert_eq!(kept_responses::find(&mut tx, &elsewhere, NOON).await.expect("a look-up"), None, "{elsewhere:?}");
        assert!(!kept_responses::delete(&mut tx, &elsewhere).await.expect("is no error"), "{elsewhere:?}");
    }
    assert_eq!(kept_responses::delete_expired(&mut tx, NOON).await.expect("is no error"), 0);
    assert_eq!(
        kept_responses::delete_expired(&mut tx, until.plus(Duration::from_millis(1))).await.expect("is no error"),
        1
    );
    assert!(!kept_responses::delete(&mut tx, &place).await.expect("is no error"));
    tx.commit().await.expect("commits");
}
