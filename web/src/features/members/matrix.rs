//! The table of roles and permissions, from the same source as the server's decisions.

use domain::rbac::Level;
use domain::{Permission, Role};
use leptos::prelude::*;

use super::People;
use ui::field::InlineSelect;
use ui::format::number;
use ui::icon::{Glyph, Icon};

/// `virtual_keys:create` in words: what it acts on, and how.
fn words(permission: Permission) -> (String, String) {
    let (noun, verb) = permission.as_str().split_once(':').unwrap_or((permission.as_str(), ""));
    (noun.replace('_', " "), verb.replace('_', " "))
}

fn cell(role: Role, permission: Permission) -> AnyView {
    if role.grants(permission) {
        view! { <td class="matrix-yes"><Glyph icon=Icon::Check /><span class="visually-hidden">"yes"</span></td> }
            .into_any()
    } else {
        view! { <td class="matrix-no"><span aria-hidden="true">"·"</span><span class="visually-hidden">"no"</span></td> }.into_any()
    }
}

fn row(permission: Permission) -> AnyView {
    let (noun, verb) = words(permission);
    let level = if permission.level() == Level::Organization { "organization" } else { "workspace" };
    view! {
        <tr>
            <th scope="row"><span class="strong">{noun}</span> " " <span class="muted">{verb}</span> <span class="visually-hidden">{format!(", granted on the {level}")}</span></th>
            {Role::ALL.iter().map(|role| cell(*role, permission)).collect_view()}
        </tr>
    }
    .into_any()
}

fn group(title: &'static str, level: Level) -> AnyView {
    let rows = Permission::ALL
        .iter()
        .filter(|permission| permission.level() == level)
        .map(|permission| row(*permission))
        .collect_view();
    let span = (Role::ALL.len() + 1).to_string();
    view! { <tbody><tr class="matrix-group"><th colspan=span scope="rowgroup">{title}</th></tr>{rows}</tbody> }
        .into_any()
}

/// Who of the organization can do a chosen thing.
fn who_can(people: People, wanted: RwSignal<String>) -> AnyView {
    let choices = std::iter::once((String::new(), "Choose a permission".to_owned())).chain(
        Permission::ALL.iter().map(|permission| (permission.as_str().to_owned(), permission.as_str().to_owned())),
    );
    let choices = Signal::stored(choices.collect::<Vec<_>>());
    let names = move || {
        let permission: Permission = wanted.get().parse().ok()?;
        let members = people.list.items().get();
        let may = members.into_iter().filter(|member| {
            member.role_bindings.iter().any(|binding| {
                binding.role.grants(permission)
                    && (binding.workspace_id.is_none() || permission.level() == Level::Workspace)
            })
        });
        let names: Vec<String> = may.map(|member| member.name.to_string()).collect();
        let count = u64::try_from(names.len()).unwrap_or(0);
        Some(format!(
            "{}: {}",
            number::plural(count, "person", "people"),
            if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
        ))
    };
    view! {
        <div class="row">
            <span class="strong">"Who can"</span>
            <InlineSelect label="Permission" value=Signal::derive(move || wanted.get()) choices on_change=Callback::new(move |value| wanted.set(value)) />
            <span class="muted" role="status">{names}</span>
        </div>
    }
    .into_any()
}

/// The table.
#[component]
pub(super) fn Matrix(people: People) -> impl IntoView {
    let wanted = RwSignal::new(String::new());
    let heads = Role::ALL.iter().map(|role| view! { <th scope="col" title=role.about()>{role.title()}</th> });
    view! {
        <section class="card" aria-label="Roles and permissions">
            <div class="table-tools">{who_can(people, wanted)}</div>
            <div class="table-scroll" role="region" aria-label="Table of roles and permissions" tabindex="0">
                <table class="table matrix">
                    <caption class="visually-hidden">"What each built-in role may do"</caption>
                    <thead><tr><th scope="col">"Permission"</th>{heads.collect_view()}</tr></thead>
                    {group("On a workspace, or on all of them through the organization", Level::Workspace)}
                    {group("On the organization only", Level::Organization)}
                </table>
            </div>
        </section>
        <section class="columns-2" aria-label="What the roles are for">
            {Role::ALL
                .iter()
                .map(|role| {
                    let count = u64::try_from(role.permissions().count()).unwrap_or(0);
                    view! {
                        <div class="card card-pad stack-hair">
                            <h2>{role.title()}</h2>
                            <p class="muted">{role.about()}</p>
                            <p class="faint small">{number::plural(count, "permission", "permissions")}</p>
                        </div>
                    }
                })
                .collect_view()}
        </section>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_read_as_noun_and_verb() {
        assert_eq!(words(Permission::VirtualKeysCreate), ("virtual keys".to_owned(), "create".to_owned()));
    }
}
