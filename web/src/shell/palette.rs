//! The command palette (Ctrl or Cmd and K): go anywhere, change the look, sign out; by a few letters and the enter key.

use leptos::prelude::*;

use super::Frame;
use super::rail::{icon_of, visible_pages};
use crate::theme::{Choice, Theme};
use kit::page::{Page, WorkspacePage};
use ui::dialog::{Dialog, Placement};
use ui::icon::{Glyph, Icon};

/// What an entry does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Act {
    Go(String),
    Look(Choice),
}

/// One line of the palette.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    icon: Icon,
    text: String,
    detail: String,
    act: Act,
}

/// Ranks entries for a few letters: those that begin with them, then those with a word that does, then those whose letters
/// contain them in order.
fn rank(entries: &[Entry], wanted: &str) -> Vec<Entry> {
    let wanted = wanted.trim().to_lowercase();
    if wanted.is_empty() {
        return entries.to_vec();
    }
    let score = |entry: &Entry| {
        let text = entry.text.to_lowercase();
        let is_subsequence = || {
            let mut letters = text.chars();
            wanted.chars().all(|letter| letters.any(|other| other == letter))
        };
        match () {
            () if text.starts_with(&wanted) => Some(0),
            () if text.split([' ', '/', '-']).any(|word| word.starts_with(&wanted)) => Some(1),
            () if text.contains(&wanted) => Some(2),
            () if is_subsequence() => Some(3),
            () => None,
        }
    };
    let mut ranked: Vec<(u8, &Entry)> =
        entries.iter().filter_map(|entry| score(entry).map(|score| (score, entry))).collect();
    ui::sort::by(&mut ranked, |left, right| left.0.cmp(&right.0));
    ranked.into_iter().map(|entry| entry.1.clone()).collect()
}

fn entries(frame: Frame) -> Vec<Entry> {
    let go = |page: Page, icon, text: &str, detail: &str| Entry {
        icon,
        text: text.to_owned(),
        detail: detail.to_owned(),
        act: Act::Go(frame.nav.href(page)),
    };
    let (of_workspace, of_organization) = visible_pages(frame.session, frame);
    let pages = of_workspace.iter().map(|page| go(*page, icon_of(*page), page.title(), "Workspace"));
    let pages = pages.chain(of_organization.iter().map(|page| go(*page, icon_of(*page), page.title(), "Organization")));
    let mut all: Vec<Entry> = pages.collect();
    if let Some(workspace) = frame.place.get().and_then(|place| place.workspace) {
        let acts =
            [("New virtual key", WorkspacePage::Keys, Icon::Key), ("New route", WorkspacePage::Routes, Icon::Route)];
        for (text, page, icon) in acts {
            let address = frame.nav.href_with(Page::Workspace(workspace, page), &[("new", "1".to_owned())]);
            all.push(Entry { icon, text: text.to_owned(), detail: "Create".to_owned(), act: Act::Go(address) });
        }
    }
    for membership in frame.session.memberships() {
        for access in &membership.workspaces {
            all.push(go(
                Page::Workspace(access.workspace_id, WorkspacePage::Overview),
                Icon::Workspace,
                access.name.as_str(),
                membership.name.as_str(),
            ));
        }
    }
    all.push(go(Page::Account, Icon::User, "Your account", "Password, sessions"));
    for (choice, icon) in [(Choice::Light, Icon::Sun), (Choice::Dark, Icon::Moon), (Choice::System, Icon::System)] {
        all.push(Entry {
            icon,
            text: format!("{} theme", choice.title()),
            detail: "Look".to_owned(),
            act: Act::Look(choice),
        });
    }
    all
}

/// The button that opens the palette.
#[component]
pub(super) fn SearchButton(frame: Frame) -> impl IntoView {
    view! {
        <button type="button" class="search-button" aria-keyshortcuts="Control+K Meta+K" on:click=move |_| frame.is_palette_open.set(true)>
            <Glyph icon=Icon::Search />
            <span class="search-button-text" aria-hidden="true">"Search"</span>
            <span class="visually-hidden">"Search and commands"</span>
            <kbd aria-hidden="true">"Ctrl K"</kbd>
        </button>
    }
}

/// The palette.
#[component]
pub(super) fn Palette(frame: Frame) -> impl IntoView {
    let open = frame.is_palette_open;
    view! {
        <Dialog open on_close=Callback::new(move |()| open.set(false)) title=Signal::stored("Search and commands".to_owned()) placement=Placement::CenterWide bare=true test_id="palette">
            <PaletteBody frame />
        </Dialog>
    }
}

#[component]
fn PaletteBody(frame: Frame) -> impl IntoView {
    let wanted = RwSignal::new(String::new());
    let at = RwSignal::new(0_usize);
    let theme = expect_context::<Theme>();
    let found = Memo::new(move |_| rank(&entries(frame), &wanted.get()));
    let run = move |entry: &Entry| {
        frame.is_palette_open.set(false);
        match &entry.act {
            Act::Go(address) => frame.nav.go(address),
            Act::Look(choice) => theme.0.set(*choice),
        }
    };
    let on_key = move |event: leptos::ev::KeyboardEvent| {
        let count = found.with_untracked(Vec::len);
        let index = at.get_untracked();
        match event.key().as_str() {
            "ArrowDown" if count > 0 => at.set((index + 1) % count),
            "ArrowUp" if count > 0 => at.set((index + count - 1) % count),
            "Enter" => {
                if let Some(entry) = found.with_untracked(|found| found.get(index).cloned()) {
                    run(&entry);
                }
            }
            _ => return,
        }
        event.prevent_default();
    };
    let lines = move || {
        let lines = found.get().into_iter().enumerate().map(|(index, entry)| {
            let pressed = entry.clone();
            view! {
                <li
                    class="palette-item"
                    id=format!("palette-{index}")
                    role="option"
                    aria-selected=move || if at.get() == index { "true" } else { "false" }
                    on:pointermove=move |_| at.set(index)
                    on:click=move |_| run(&pressed)
                >
                    <Glyph icon=entry.icon />
                    <span>{entry.text}</span>
                    <small>{entry.detail}</small>
                </li>
            }
        });
        lines.collect_view()
    };
    view! {
        <div class="palette-input">
            <Glyph icon=Icon::Search />
            <input
                type="text"
                role="combobox"
                aria-label="Search pages and commands"
                aria-expanded="true"
                aria-controls="palette-list"
                aria-activedescendant=move || format!("palette-{}", at.get())
                placeholder="Go to a page, or type a command"
                autofocus
                autocomplete="off"
                spellcheck="false"
                on:input=move |event| {
                    at.set(0);
                    wanted.set(event_target_value(&event));
                }
                on:keydown=on_key
            />
        </div>
        <ul class="palette-list" id="palette-list" role="listbox" aria-label="Results">{lines}</ul>
        <Show when=move || found.with(Vec::is_empty)><p class="table-none">"Nothing found."</p></Show>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_ranks_before_the_middle() {
        let entry = |text: &str| Entry {
            icon: Icon::Key,
            text: text.to_owned(),
            detail: String::new(),
            act: Act::Go(String::new()),
        };
        let entries = [entry("Members & roles"), entry("Overview"), entry("Virtual keys"), entry("Routes")];
        let found = |wanted: &str| rank(&entries, wanted).into_iter().map(|entry| entry.text).collect::<Vec<_>>();
        assert_eq!(found("ro"), ["Routes", "Members & roles"]);
        assert_eq!(found("vk"), ["Virtual keys"]);
        assert_eq!(found("  ").len(), 4);
        assert!(found("zzz").is_empty());
    }
}
