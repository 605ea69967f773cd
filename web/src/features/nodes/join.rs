//! Bringing nodes in: groups, and join tokens that work once.

use api::Empty;
use api::ops::auth::MembershipView;
use api::ops::nodes::{
    CreateJoinToken, CreateNodeGroup, IssuedJoinTokenView, JoinTokenPath, JoinTokenView, NewJoinToken, NewNodeGroup,
    NodeGroupChange, NodeGroupPath, NodeGroupView, NodeView, RevokeJoinToken, UpdateNodeGroup,
};
use domain::{NodeGroupId, OrganizationId, Page, Slug};
use leptos::prelude::*;

use super::{Fleet, Grouping};
use kit::api::{Command, use_act, use_command};
use ui::badge::{Badge, Tag};
use ui::button::{Button, Size, Weight};
use ui::check_list::{CheckList, Item};
use ui::code_block::CodeBlock;
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::dialog::{Dialog, DialogBody, DialogFoot, Placement};
use ui::field::{FormError, SelectField, TextField};
use ui::format::number;
use ui::icon::Icon;
use ui::secret_box::SecretBox;
use ui::table::{Column, DataTable};
use ui::toast::Toasts;
use ui::when::When;

/// What a group's nodes may hold, in words.
fn holds(fleet: Fleet, group: &NodeGroupView) -> String {
    if group.holds_all {
        return "every organization".to_owned();
    }
    match group.organization_ids.as_slice() {
        [id] if *id == fleet.organization_id => "this organization".to_owned(),
        ids => number::plural(u64::try_from(ids.len()).unwrap_or(0), "organization", "organizations"),
    }
}

fn group_columns(fleet: Fleet) -> Vec<Column<NodeGroupView>> {
    let n_nodes = move |group: &NodeGroupView| {
        let is_member = |node: &NodeView| node.group_id == group.id && node.revoked_at.is_none();
        let count = fleet.nodes.items().with(|nodes| nodes.iter().filter(|node| is_member(node)).count());
        u64::try_from(count).unwrap_or(0)
    };
    vec![
        Column::new("Group", |group: &NodeGroupView| group.slug.to_string()),
        Column::new("Region", |group: &NodeGroupView| group.region.clone()).cell(|group| {
            if group.region.is_empty() {
                view! { <span class="faint">"none"</span> }.into_any()
            } else {
                group.region.clone().into_any()
            }
        }),
        Column::new("Holds", move |group: &NodeGroupView| holds(fleet, group))
            .cell(move |group| view! { <Badge text=holds(fleet, group) /> }.into_any()),
        Column::new("Nodes", move |group: &NodeGroupView| n_nodes(group).to_string())
            .number(move |group| number::as_f64(n_nodes(group))),
        Column::new("Created", |group: &NodeGroupView| group.created_at.to_string())
            .sorted_by(|group| number::signed_as_f64(group.created_at.as_micros()))
            .cell(|group| view! { <When at=group.created_at /> }.into_any())
            .wide_only(),
    ]
}

/// The tab of groups.
pub(super) fn groups_view(fleet: Fleet) -> AnyView {
    let ready = Callback::new(move |page: Signal<Page<NodeGroupView>>| {
        let rows = Signal::derive(move || page.get().items);
        let key = |group: &NodeGroupView| group.id.to_string();
        let open = Callback::new(move |group: NodeGroupView| fleet.grouping.set(Some(Grouping::Change(group))));
        if fleet.may_manage() {
            view! { <DataTable label="Node groups" columns=group_columns(fleet) rows key on_open=open /> }.into_any()
        } else {
            view! { <DataTable label="Node groups" columns=group_columns(fleet) rows key /> }.into_any()
        }
    });
    let create = Callback::new(move |()| fleet.grouping.set(Some(Grouping::New)));
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
        Column::acts(move |token: &JoinTokenView| {
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

/// The dialog for a group, new or changed.
#[component]
pub(super) fn GroupDialog(fleet: Fleet) -> impl IntoView {
    let close = Callback::new(move |()| fleet.grouping.set(None));
    let title = Signal::derive(move || match fleet.grouping.get() {
        Some(Grouping::Change(group)) => format!("Node group “{}”", group.slug),
        _ => "New node group".to_owned(),
    });
    let body = move || {
        fleet.grouping.get().map(|grouping| {
            let group = if let Grouping::Change(group) = grouping { Some(group) } else { None };
            view! { <GroupForm fleet group close /> }
        })
    };
    view! { <Dialog open=Signal::derive(move || fleet.grouping.with(Option::is_some)) on_close=close title test_id="group-dialog">{body}</Dialog> }
}

/// Organizations that the person sees, to choose from.
fn organizations(fleet: Fleet) -> Vec<Item> {
    let item = |membership: MembershipView| Item {
        value: membership.organization_id.to_string(),
        text: membership.name.to_string(),
        detail: String::new(),
    };
    fleet.session.memberships().into_iter().map(item).collect()
}

#[component]
fn GroupForm(fleet: Fleet, group: Option<NodeGroupView>, close: Callback<()>) -> impl IntoView {
    let slug = RwSignal::new(group.as_ref().map(|group| group.slug.to_string()).unwrap_or_default());
    let region = RwSignal::new(group.as_ref().map(|group| group.region.clone()).unwrap_or_default());
    let held: Vec<String> = group.iter().flat_map(|group| &group.organization_ids).map(ToString::to_string).collect();
    let chosen = RwSignal::new(held.clone());
    let create = use_command::<CreateNodeGroup>();
    let update = Command::<UpdateNodeGroup>::sharing(create);
    let toasts = expect_context::<Toasts>();
    let holds_all = group.as_ref().is_some_and(|group| group.holds_all);
    let done = move |group: NodeGroupView| {
        toasts.done(format!("Group “{}” is saved.", group.slug));
        close.run(());
        fleet.groups.refetch();
    };
    let known = group.clone();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let slug = match Slug::parse(&slug.get_untracked()) {
            Ok(slug) => slug,
            Err(error) => return create.errors.set(vec![("slug".to_owned(), format!("A name {error}."))], None),
        };
        let region = region.get_untracked().trim().to_owned();
        let Some(group) = &known else {
            return create.run(fleet.path(), NewNodeGroup { slug, region, holds_all: false }, done);
        };
        let wanted = chosen.get_untracked();
        // What did not change is not sent: only operators may name organizations of others.
        let organization_ids =
            (wanted != held).then(|| wanted.iter().filter_map(|id| id.parse().ok()).collect::<Vec<OrganizationId>>());
        let path = NodeGroupPath { organization_id: fleet.organization_id, node_group_id: group.id };
        let change = NodeGroupChange {
            version: Some(group.version),
            slug: Some(slug),
            region: Some(region),
            holds_all: None,
            organization_ids,
        };
        update.run(path, change, done);
    };
    let may_choose = group.is_some() && !holds_all && fleet.session.memberships().len() > 1;
    let said = group.as_ref().map_or_else(|| "this organization".to_owned(), |group| holds(fleet, group));
    let is_new = group.is_none();
    view! {
        <form on:submit=submit>
            <DialogBody>
                <TextField label="Name" value=slug required=true autofocus=true placeholder="frankfurt" hint="Lower-case letters, digits and hyphens." error=create.errors.of("slug") />
                <TextField label="Region" value=region optional=true placeholder="eu-central-1" error=create.errors.of("region") />
                {if may_choose {
                    view! { <CheckList label="Organizations" hint="What its nodes may hold. Taking one away makes them drop its policy at once." items=Signal::derive(move || organizations(fleet)) chosen /> }.into_any()
                } else {
                    view! { <p class="field-hint">"Its nodes may hold: " <Tag text=said /></p> }.into_any()
                }}
                <FormError errors=create.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=create.is_busy>{if is_new { "Create group" } else { "Save group" }}</Button>
            </DialogFoot>
        </form>
    }
}
