//! Making and changing a route: its name, the tree of its targets, its attempts and timeouts, and the code twin of tree and rules.
//!
//! Form and code are two views of one draft; what is wrong is found before it is sent, by the same check as at the server. A tree
//! that is no more than steps of weighted targets is saved in the short form. Invariant: what the form does not show it does not change.

use api::Field;
use api::ops::routes::{CreateRoute, NewRoute, RouteChange, RoutePath, RouteView, UpdateRoute};
use domain::ModelName;
use domain::route::{Document, Flaw, Node, Route, Rules, Timeouts};
use leptos::prelude::*;

use super::dry_run::{DryRun, is_allowed};
use super::{Switchboard, picture, rules_form, tree_editor};
use kit::api::{Command, use_command};
use model::tree::{short_form, tree_of};
use ui::button::{Button, Weight};
use ui::dialog::{DialogBody, DialogFoot};
use ui::element_id;
use ui::field::{Field as Frame, FormError, FormErrors, InputKind, TextField};
use ui::toast::Toasts;

/// Tree and rules as one document.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Twin {
    tree: Node,
    #[serde(default)]
    rules: Rules,
}

/// The state of the form.
#[derive(Clone, Copy)]
struct Draft {
    name: RwSignal<String>,
    tree: RwSignal<Node>,
    rules: RwSignal<Rules>,
    attempts: RwSignal<String>,
    /// Connect, first byte, idle, total; in milliseconds.
    timeouts: [RwSignal<String>; 4],
}

/// What a draft says.
struct Read {
    name: ModelName,
    tree: Node,
    rules: Rules,
    max_attempts: u16,
    timeouts: Timeouts,
}

impl Draft {
    fn new(route: Option<&RouteView>) -> Self {
        let timeouts = route.map_or_else(Timeouts::default, |route| route.timeouts);
        Self {
            name: RwSignal::new(route.map(|route| route.name.to_string()).unwrap_or_default()),
            tree: RwSignal::new(route.map_or_else(tree_editor::blank, tree_of)),
            rules: RwSignal::new(route.map(|route| route.rules.clone()).unwrap_or_default()),
            attempts: RwSignal::new(route.map_or(Route::DEFAULT_ATTEMPTS, |route| route.max_attempts).to_string()),
            timeouts: [timeouts.connect_ms, timeouts.first_byte_ms, timeouts.idle_ms, timeouts.total_ms]
                .map(|ms| RwSignal::new(ms.to_string())),
        }
    }

    fn twin(self) -> Twin {
        Twin { tree: self.tree.get(), rules: self.rules.get() }
    }

    /// Reads the form, or says which field is wrong.
    fn read(self, board: Switchboard) -> Result<Read, (&'static str, String)> {
        let name = ModelName::parse(self.name.get_untracked().trim())
            .map_err(|error| ("name", format!("A model name {error}.")))?;
        let (tree, rules) = (self.tree.get_untracked(), self.rules.get_untracked());
        if !tree_editor::is_complete(&tree) {
            return Err(("targets", "Choose a deployment for every target.".to_owned()));
        }
        let max_attempts: u16 = self
            .attempts
            .get_untracked()
            .trim()
            .parse()
            .map_err(|_| ("max_attempts", "A whole number from 1 to 10.".to_owned()))?;
        let ms = self.timeouts.map(|ms| ms.get_untracked().trim().parse::<u32>().ok());
        let [Some(connect_ms), Some(first_byte_ms), Some(idle_ms), Some(total_ms)] = ms else {
            return Err(("timeouts", "Whole milliseconds, please.".to_owned()));
        };
        let timeouts = Timeouts { connect_ms, first_byte_ms, idle_ms, total_ms };
        let all = board.deployments.items().get_untracked();
        let document = Document { targets: &[], tree: Some(&tree), max_attempts, timeouts: &timeouts, rules: &rules };
        document.check(&|id| all.iter().any(|known| known.id == id)).map_err(|flaw| place_of(&flaw))?;
        Ok(Read { name, tree, rules, max_attempts, timeouts })
    }
}

/// The field of the form that a flaw is about, and what to do.
fn place_of(flaw: &Flaw) -> (&'static str, String) {
    let known =
        [("/max_attempts", "max_attempts"), ("/timeouts", "timeouts"), ("/rules", "code"), ("/tree", "targets")];
    let field = known.iter().find(|(pointer, _)| flaw.pointer.starts_with(pointer)).map_or("targets", |known| known.1);
    (field, format!("{}: {}.", flaw.pointer, flaw.detail))
}

/// The code twin: tree and rules as JSON, read back when one leaves the field.
#[component]
fn CodeTwin(draft: Draft, errors: FormErrors) -> impl IntoView {
    let id = element_id("field");
    let (control_id, wrong) = (id.clone(), RwSignal::new(None::<String>));
    // By way of a value: writing text from a type is code for each type, and requests are written from values, too.
    let text = move || serde_json::to_value(draft.twin()).map(|twin| format!("{twin:#}")).unwrap_or_default();
    let of_form = errors.of("code");
    let error = Signal::derive(move || wrong.get().or(of_form.get()));
    let change = move |event: leptos::ev::Event| match api::from_text::<Twin>(&event_target_value(&event)) {
        Ok(twin) => {
            wrong.set(None);
            draft.rules.set(twin.rules);
            draft.tree.set(twin.tree);
        }
        Err(error) => wrong.set(Some(format!("Not taken over: {error}."))),
    };
    view! {
        <details class="more">
            <summary>"As code"</summary>
            <Frame id label="Tree and rules" hint="Conditions are written here; drawing and form follow when you leave the field." error>
                <textarea id=control_id class="input input-code tree-code" rows="14" spellcheck="false" prop:value=text on:change=change></textarea>
            </Frame>
        </details>
    }
}

fn fields(board: Switchboard, draft: Draft, errors: FormErrors) -> AnyView {
    let [connect, first_byte, idle, total] = draft.timeouts;
    let targets_error = errors.of("targets");
    let timeouts_error = errors.of("timeouts");
    let preview = move || {
        let tree = draft.tree.get();
        tree_editor::is_complete(&tree).then(|| picture::drawing(board, &draft.name.get(), &tree))
    };
    view! {
        <TextField label="Model name" value=draft.name kind=InputKind::Code required=true autofocus=true placeholder="support-chat" hint="What clients send as “model”. It must differ from every deployment's name." error=errors.of("name") />
        <fieldset class="stack-tight">
            <legend class="field-label">"Targets"</legend>
            <p class="field-hint">"A strategy says which target is tried first; the others are what is left to fall back on."</p>
            {tree_editor::view_of(board, draft.tree)}
            {move || targets_error.get().map(|text| view! { <p class="field-error">{text}</p> })}
        </fieldset>
        {preview}
        {rules_form::view_of(board, draft.rules)}
        <CodeTwin draft errors />
        <details class="more">
            <summary>"Attempts and timeouts"</summary>
            <div class="columns-2">
                <TextField label="Most attempts per request" value=draft.attempts kind=InputKind::Number error=errors.of("max_attempts") />
                <TextField label="Connect (ms)" value=connect kind=InputKind::Number />
                <TextField label="First byte (ms)" value=first_byte kind=InputKind::Number />
                <TextField label="Between chunks (ms)" value=idle kind=InputKind::Number />
                <TextField label="Whole request (ms)" value=total kind=InputKind::Number />
            </div>
        </details>
        {move || timeouts_error.get().map(|text| view! { <p class="field-error">{text}</p> })}
        <FormError errors />
    }
    .into_any()
}

fn save(board: Switchboard, route: &RouteView, read: Read, update: Command<UpdateRoute>, toasts: Toasts) {
    let path = RoutePath { workspace_id: board.workspace_id, route_id: route.id };
    let short = short_form(&read.tree);
    let change = RouteChange {
        version: Some(route.version),
        name: Some(read.name),
        tree: if short.is_some() { Field::Null } else { Field::Value(read.tree) },
        targets: Some(short.unwrap_or_default()),
        max_attempts: Some(read.max_attempts),
        timeouts: Some(read.timeouts),
        rules: (read.rules != route.rules).then_some(read.rules),
    };
    update.run(path, change, move |route| {
        toasts.done(format!("Saved “{}”.", route.name));
        board.changed();
    });
}

fn new_route(read: Read) -> NewRoute {
    let short = short_form(&read.tree);
    NewRoute {
        name: read.name,
        tree: if short.is_some() { None } else { Some(read.tree) },
        targets: short.unwrap_or_default(),
        max_attempts: Some(read.max_attempts),
        timeouts: Some(read.timeouts),
        rules: (read.rules != Rules::default()).then_some(read.rules),
    }
}

/// The form; without a route it makes a new one.
#[component]
pub(super) fn RouteForm(board: Switchboard, route: Option<RouteView>, close: Callback<()>) -> impl IntoView {
    let draft = Draft::new(route.as_ref());
    let create = use_command::<CreateRoute>();
    let update = Command::<UpdateRoute>::sharing(create);
    let toasts = expect_context::<Toasts>();
    let is_new = route.is_none();
    let sound = Callback::new(move |()| match draft.read(board) {
        Ok(read) => {
            create.errors.clear();
            Some(new_route(read))
        }
        Err((field, text)) => {
            create.errors.set(vec![(field.to_owned(), text)], None);
            None
        }
    });
    let dry_run = is_allowed(board).then(|| view! { <DryRun board draft=sound /> });
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let read = match draft.read(board) {
            Ok(read) => read,
            Err((field, text)) => return create.errors.set(vec![(field.to_owned(), text)], None),
        };
        match &route {
            Some(route) => save(board, route, read, update, toasts),
            None => create.run(board.path(), new_route(read), move |route| {
                toasts.done(format!("Route “{}” is ready; nodes serve it within a second.", route.name));
                close.run(());
                board.changed();
            }),
        }
    };
    view! {
        <form on:submit=submit>
            <DialogBody>{fields(board, draft, create.errors)} {dry_run}</DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=create.is_busy>{if is_new { "Create route" } else { "Save route" }}</Button>
            </DialogFoot>
        </form>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flaw_is_shown_where_it_is() {
        let place = |pointer: &str| place_of(&Flaw { pointer: pointer.to_owned(), detail: "is wrong".to_owned() });
        assert_eq!(place("/timeouts/idle_ms"), ("timeouts", "/timeouts/idle_ms: is wrong.".to_owned()));
        assert_eq!(place("/rules/hedge/after_ms").0, "code");
        assert_eq!(place("/tree/children/1").0, "targets");
    }

    #[test]
    fn the_code_twin_reads_what_it_wrote_and_names_what_it_does_not_know() {
        let twin = Twin { tree: tree_editor::blank(), rules: Rules::default() };
        let text = serde_json::to_string_pretty(&twin).expect("plain data");
        assert_eq!(api::from_text::<Twin>(&text).expect("its own text"), twin);
        let error = api::from_text::<Twin>(r#"{"tree": {"kind": "magic"}}"#).expect_err("no such strategy");
        assert!(error.to_string().contains("magic"), "{error}");
    }
}
