//! Bringing nodes in: groups, and join tokens that work once.

use api::Empty;
use api::ops::nodes::{
    CreateJoinToken, CreateNodeGroup, IssuedJoinTokenView, JoinTokenPath, JoinTokenView, NewJoinToken, NewNodeGroup,
    NodeGroupView, RevokeJoinToken,
};
use domain::{NodeGroupId, Page, Slug};
use leptos::prelude::*;

use super::Fleet;
use crate::api::{use_act, use_command};
use ui::badge::{Badge, Tag};
use ui::button::{Button, Size, Weight};
use ui::code_block::CodeBlock;
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::dialog::{Dialog, DialogBody, DialogFoot, Placement};
use ui::field::{FormError, SelectField, TextField};
use ui::icon::Icon;
use ui::secret_box::SecretBox;
use ui::table::{Column, DataTable};
use ui::toast::Toasts;
use ui::when::When;

fn group_columns() -> Vec<Column<NodeGroupView>> {
    vec![
        Column::new("Group", |group: &NodeGroupView| group.slug.to_string()),
        Column::new("Region", |group: &NodeGroupView| group.region.clone()),
        Column::new("Holds", |group: &NodeGroupView| {
            if group.holds_all { "every organization".to_owned() } else { "this organization".to_owned() }
        })
        .cell(|group| {
            view! { <Badge text=if group.holds_all { "Every organization" } else { "This organization" } /> }.into_any()
        }),
        Column::new("Created", |group: &NodeGroupView| group.created_at.to_string())
            .cell(|group| view! { <When at=group.created_at /> }.into_any()),
    ]
}

/// The tab of groups.
pub(super) fn groups_view(fleet: Fleet) -> AnyView {
    let ready = Callback::new(move |page: Signal<Page<NodeGroupView>>| {
        view! { <DataTable label="Node groups" columns=group_columns() rows=Signal::derive(move || page.get().items) key=|group: &NodeGroupView| group.id.to_string() /> }.into_any()
    });
    let create = Callback::new(move |()| fleet.grouping.set(true));
    view! {
        <section class="card" aria-label="Node groups">
            <div class="card-head">
                <div><h2>"Groups"</h2><p>"A group says which organizations its nodes may hold."</p></div>
                {fleet.may_manage().then(|| view! { <Button size=Size::Small icon=Icon::Plus on_press=create>"New group"</Button> })}
            </div>
            <DataView load=fleet.groups.load on_retry=fleet.groups.retry() skeleton=Skeleton::Rows(2) is_empty=|page| page.items.is_empty() empty=ViewFn::from(|| view! { <EmptyState icon=Icon::Node title="No groups yet" text="Create one for each place in which nodes run." /> }) ready />
        </section>
    }
    .into_any()
}

fn token_columns(fleet: Fleet) -> Vec<Column<JoinTokenView>> {
    let revoke = use_act::<RevokeJoinToken>();
    let toasts = expect_context::<Toasts>();
    let press = move |id| {
        Callback::new(move |()| {
            let path = JoinTokenPath { organization_id: fleet.organization_id, join_token_id: id };
            revoke.run(path, Empty {}, move |_| {
                toasts.done("The join token is revoked.");
                fleet.tokens.refetch();
            });
        })
    };
    vec![
        Column::new("Token", |token: &JoinTokenView| token.hint.clone())
            .cell(|token| view! { <code>{token.hint.clone()}</code> }.into_any()),
        Column::new("Group", move |token: &JoinTokenView| fleet.group_name(token.group_id)),
        Column::new("Created", |token: &JoinTokenView| token.created_at.to_string())
            .cell(|token| view! { <When at=token.created_at /> }.into_any()),
        Column::new("Works until", |token: &JoinTokenView| token.expires_at.to_string())
            .cell(|token| view! { <When at=token.expires_at /> }.into_any()),
        Column::new("Act", |_: &JoinTokenView| String::new()).cell(move |token| {
            let on_press = press(token.id);
            fleet.may_manage().then(|| view! { <Button size=Size::Small on_press>"Revoke"</Button> }).into_any()
        }),
    ]
}

/// The tab of join tokens.
pub(super) fn tokens_view(fleet: Fleet) -> AnyView {
    let columns = StoredValue::new(token_columns(fleet));
    let ready = Callback::new(move |page: Signal<Page<JoinTokenView>>| {
        view! { <DataTable label="Join tokens" columns=columns.get_value() rows=Signal::derive(move || page.get().items) key=|token: &JoinTokenView| token.id.to_string() /> }.into_any()
    });
    view! {
        <section class="card" aria-label="Join tokens">
            <DataView load=fleet.tokens.load on_retry=fleet.tokens.retry() skeleton=Skeleton::Rows(2) is_empty=|page| page.items.is_empty() empty=ViewFn::from(|| view! { <EmptyState icon=Icon::Node title="No join token is open" text="A token works once and for minutes only; make one when a node is about to join." /> }) ready />
        </section>
    }
    .into_any()
}

/// The dialog for a join token; its secret leaves the document with it.
#[component]
pub(super) fn JoinDialog(fleet: Fleet) -> impl IntoView {
    let issued = RwSignal::new(None::<IssuedJoinTokenView>);
    let close = Callback::new(move |()| {
        fleet.joining.set(false);
        issued.set(None);
        fleet.tokens.refetch();
    });
    view! {
        <Dialog open=fleet.joining on_close=close title=Signal::stored("Join a node".to_owned()) placement=Placement::CenterWide>
            {move || match issued.get() {
                None => view! { <TokenForm fleet issued close /> }.into_any(),
                Some(token) => issued_view(token, close),
            }}
        </Dialog>
    }
}

fn issued_view(token: IssuedJoinTokenView, close: Callback<()>) -> AnyView {
    view! {
        <DialogBody>
            <SecretBox secret=token.secret what="join token" file_name="join.token" />
            <div class="stack-tight">
                <h3>"Run this on the node"</h3>
                <CodeBlock code=Signal::stored(token.command) label="command" />
                <p class="muted">"The token works once, until " <When at=token.join_token.expires_at /> ". The node shows up in the list when it has joined."</p>
            </div>
        </DialogBody>
        <DialogFoot><Button weight=Weight::Primary on_press=close>"Done"</Button></DialogFoot>
    }
    .into_any()
}

#[component]
fn TokenForm(fleet: Fleet, issued: RwSignal<Option<IssuedJoinTokenView>>, close: Callback<()>) -> impl IntoView {
    let (group, ttl) = (RwSignal::new(String::new()), RwSignal::new("900".to_owned()));
    let create = use_command::<CreateJoinToken>();
    let groups = Signal::derive(move || {
        fleet
            .groups
            .items()
            .get()
            .into_iter()
            .map(|group| (group.id.to_string(), group.slug.to_string()))
            .collect::<Vec<_>>()
    });
    let ttls = [("900", "15 minutes"), ("3600", "One hour"), ("86400", "One day")]
        .map(|(key, text)| (key.to_owned(), text.to_owned()))
        .to_vec();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let chosen = group.get_untracked().parse::<NodeGroupId>().ok();
        let Some(group_id) = chosen.or_else(|| fleet.groups.items().get_untracked().first().map(|group| group.id))
        else {
            return create.errors.set(vec![("group_id".to_owned(), "Create a group first.".to_owned())], None);
        };
        let body = NewJoinToken { group_id, ttl_secs: ttl.get_untracked().parse().unwrap_or(900) };
        create.run(fleet.path(), body, move |token| issued.set(Some(token)));
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <p class="muted">"A node enrols once with a join token and then renews its own certificate. The token is bound to a group."</p>
                <SelectField label="Group" value=group choices=groups error=create.errors.of("group_id") />
                <SelectField label="Works for" value=ttl choices=Signal::stored(ttls) error=create.errors.of("ttl_secs") />
                <FormError errors=create.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=create.is_busy>"Create join token"</Button>
            </DialogFoot>
        </form>
    }
}

/// The dialog for a group.
#[component]
pub(super) fn GroupDialog(fleet: Fleet) -> impl IntoView {
    let close = Callback::new(move |()| fleet.grouping.set(false));
    view! { <Dialog open=fleet.grouping on_close=close title=Signal::stored("New node group".to_owned())><GroupForm fleet close /></Dialog> }
}

#[component]
fn GroupForm(fleet: Fleet, close: Callback<()>) -> impl IntoView {
    let (slug, region) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let create = use_command::<CreateNodeGroup>();
    let toasts = expect_context::<Toasts>();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        match Slug::parse(&slug.get_untracked()) {
            Ok(slug) => {
                let body = NewNodeGroup { slug, region: region.get_untracked().trim().to_owned(), holds_all: false };
                create.run(fleet.path(), body, move |group| {
                    toasts.done(format!("Group “{}” is ready.", group.slug));
                    close.run(());
                    fleet.groups.refetch();
                });
            }
            Err(error) => create.errors.set(vec![("slug".to_owned(), format!("A name {error}."))], None),
        }
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <TextField label="Name" value=slug required=true autofocus=true placeholder="frankfurt" hint="Lower-case letters, digits and hyphens." error=create.errors.of("slug") />
                <TextField label="Region" value=region optional=true placeholder="eu-central-1" error=create.errors.of("region") />
                <p class="field-hint"><Tag text="this organization" /> " is all that nodes of this group may hold."</p>
                <FormError errors=create.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=create.is_busy>"Create group"</Button>
            </DialogFoot>
        </form>
    }
}
