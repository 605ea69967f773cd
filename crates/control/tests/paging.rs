//! Lists that show a caller only part of the rows: every page is full until the last, and together they have each row once.

use std::future::Future;

use api::ops::members::{ListWorkspaceMembers, MemberView};
use api::ops::nodes::{CreateJoinToken, JoinTokenView, ListJoinTokens, NewJoinToken};
use api::ops::workspaces::{CreateWorkspace, ListWorkspaces, NewWorkspace, WorkspaceView};
use api::ops::{OrganizationPath, PageQuery, WorkspacePath};
use api::{Empty, NoQuery};
use domain::{Page, Role, Scope, WorkspaceId};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, TestRunner};

use crate::world::World;

/// Reads a list at one limit and checks the promise of paging.
async fn walk<T, F: Future<Output = Page<T>>>(limit: u16, list: impl Fn(PageQuery) -> F) -> Vec<T> {
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = list(PageQuery { limit: Some(limit), cursor }).await;
        let is_full = page.items.len() == usize::from(limit);
        assert!(is_full || page.next_cursor.is_none(), "a short page at limit {limit} has a next one");
        assert!(!page.items.is_empty() || seen.is_empty(), "an empty page at limit {limit} after a full one");
        seen.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return seen;
        }
    }
}

/// Which of `n` rows are visible, in a handful of drawn ways and the two extremes.
fn drawn(n: usize) -> Vec<Vec<bool>> {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let masks = proptest::collection::vec(proptest::bool::ANY, n);
    let mut all: Vec<_> = (0..4).map(|_| masks.new_tree(&mut runner).expect("a mask").current()).collect();
    all.extend([vec![false; n], vec![true; n]]);
    all
}

#[tokio::test]
async fn pages_of_workspaces_have_every_visible_one_once_at_any_limit() {
    let world = World::new().await;
    let place = OrganizationPath { organization_id: world.organization() };
    let mut all = vec![world.workspace()];
    for n in 0..8 {
        let body = NewWorkspace { slug: format!("w-{n}").parse().expect("a slug"), name: "W".parse().expect("a name") };
        all.push(world.as_owner().call::<CreateWorkspace>(place, NoQuery {}, body).await.expect("a workspace").id);
    }
    for mask in drawn(all.len()) {
        let visible: Vec<WorkspaceId> =
            all.iter().zip(&mask).filter(|(_, is_seen)| **is_seen).map(|(id, _)| *id).collect();
        let Some(first) = visible.first() else { continue };
        let member = world.as_role(Role::Viewer, Scope::Workspace(world.organization(), *first)).await;
        for more in visible.iter().skip(1) {
            world.bind_last(Role::Developer, Scope::Workspace(world.organization(), *more)).await;
        }
        for limit in [1, 2, 3, 5, 200] {
            let member = &member;
            let list =
                |query| async move { member.call::<ListWorkspaces>(place, query, Empty {}).await.expect("a page") };
            let listed: Vec<WorkspaceView> = walk(limit, list).await;
            assert_eq!(listed.iter().map(|it| it.id).collect::<Vec<_>>(), visible, "limit {limit}");
        }
    }
}

#[tokio::test]
async fn pages_of_a_workspaces_members_have_each_once_at_any_limit() {
    let world = World::new().await;
    let place = OrganizationPath { organization_id: world.organization() };
    let body = NewWorkspace { slug: "beside".parse().expect("a slug"), name: "Beside".parse().expect("a name") };
    let beside = world.as_owner().call::<CreateWorkspace>(place, NoQuery {}, body).await.expect("a workspace").id;
    let organization = world.organization();
    let mut n_seen = 1;
    for is_seen in drawn(9).concat().into_iter().take(24) {
        let workspace = if is_seen { world.workspace() } else { beside };
        n_seen += usize::from(is_seen);
        world.member(Role::Developer, Scope::Workspace(organization, workspace)).await;
    }
    world.member(Role::Auditor, Scope::Organization(organization)).await;
    let (owner, at) = (world.as_owner(), WorkspacePath { workspace_id: world.workspace() });
    for limit in [1, 2, 7, 200] {
        let owner = &owner;
        let list =
            |query| async move { owner.call::<ListWorkspaceMembers>(at, query, Empty {}).await.expect("a page") };
        let listed: Vec<MemberView> = walk(limit, list).await;
        let ids: std::collections::BTreeSet<_> = listed.iter().map(|it| it.id).collect();
        assert_eq!((listed.len(), ids.len()), (n_seen + 1, n_seen + 1), "limit {limit}");
        assert!(listed.iter().all(|it| !it.role_bindings.is_empty()));
    }
}

#[tokio::test]
async fn pages_of_join_tokens_have_each_that_works_once_at_any_limit() {
    let world = World::new().await;
    let (owner, place) = (world.as_owner(), OrganizationPath { organization_id: world.organization() });
    let mut n_live = 0;
    for lives_on in drawn(12)[0].clone() {
        let ttl_secs = if lives_on { 3_600 } else { 60 };
        n_live += usize::from(lives_on);
        let body = NewJoinToken { group_id: world.installation.node_group_id, ttl_secs };
        owner.call::<CreateJoinToken>(place, NoQuery {}, body).await.expect("a join token");
    }
    world.advance(61);
    for limit in [1, 2, 5, 200] {
        let owner = &owner;
        let list = |query| async move { owner.call::<ListJoinTokens>(place, query, Empty {}).await.expect("a page") };
        let listed: Vec<JoinTokenView> = walk(limit, list).await;
        assert_eq!(listed.len(), n_live, "limit {limit}");
    }
}
