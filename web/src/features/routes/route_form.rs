//! Making and changing a route: its name, its targets with step and weight, its attempts and timeouts.

use api::ops::routes::{CreateRoute, NewRoute, RouteChange, RoutePath, RouteView, UpdateRoute};
use domain::route::{Route, Target, Timeouts};
use domain::{DeploymentId, ModelName};
use leptos::prelude::*;

use super::Switchboard;
use crate::api::{Command, use_command};
use ui::button::{Button, IconButton, Size, Weight};
use ui::dialog::{DialogBody, DialogFoot};
use ui::field::{FormError, FormErrors, InputKind, SelectField, TextField};
use ui::icon::Icon;
use ui::toast::Toasts;

/// One line of the editor.
#[derive(Clone, Copy)]
struct Line {
    id: usize,
    deployment: RwSignal<String>,
    step: RwSignal<String>,
    weight: RwSignal<String>,
}

impl Line {
    fn new(id: usize, deployment: &str, step: u16, weight: u32) -> Self {
        Self {
            id,
            deployment: RwSignal::new(deployment.to_owned()),
            step: RwSignal::new(step.to_string()),
            weight: RwSignal::new(weight.to_string()),
        }
    }

    fn read(self) -> Option<Target> {
        let deployment_id: DeploymentId = self.deployment.get_untracked().parse().ok()?;
        let step: u16 = self.step.get_untracked().trim().parse().ok()?;
        Some(Target {
            deployment_id,
            priority: step.saturating_sub(1),
            weight: self.weight.get_untracked().trim().parse().ok()?,
        })
    }
}

/// The state of the form.
#[derive(Clone, Copy)]
struct Draft {
    name: RwSignal<String>,
    lines: RwSignal<Vec<Line>>,
    next: StoredValue<usize>,
    attempts: RwSignal<String>,
    /// Connect, first byte, idle, total; in milliseconds.
    timeouts: [RwSignal<String>; 4],
}

impl Draft {
    fn new(route: Option<&RouteView>) -> Self {
        // Steps of the form count from 1 without gaps, whatever the priorities are.
        let steps = route.map(|route| super::picture::steps(&route.targets)).unwrap_or_default();
        let targets =
            steps.iter().enumerate().flat_map(|(step, members)| members.iter().map(move |member| (step, member.0)));
        let mut lines: Vec<Line> = targets
            .enumerate()
            .map(|(id, (step, target))| {
                Line::new(id, &target.deployment_id.to_string(), u16::try_from(step + 1).unwrap_or(1), target.weight)
            })
            .collect();
        if lines.is_empty() {
            lines.push(Line::new(0, "", 1, 1));
        }
        let timeouts = route.map_or_else(Timeouts::default, |route| route.timeouts);
        Self {
            name: RwSignal::new(route.map(|route| route.name.to_string()).unwrap_or_default()),
            next: StoredValue::new(lines.len()),
            lines: RwSignal::new(lines),
            attempts: RwSignal::new(route.map_or(Route::DEFAULT_ATTEMPTS, |route| route.max_attempts).to_string()),
            timeouts: [timeouts.connect_ms, timeouts.first_byte_ms, timeouts.idle_ms, timeouts.total_ms]
                .map(|ms| RwSignal::new(ms.to_string())),
        }
    }

    fn add(self) {
        let id = self.next.get_value();
        self.next.set_value(id + 1);
        let step = self.lines.with_untracked(|lines| {
            lines.iter().filter_map(|line| line.step.get_untracked().parse::<u16>().ok()).max().unwrap_or(0)
        });
        self.lines.update(|lines| lines.push(Line::new(id, "", step.saturating_add(1), 1)));
    }

    /// Reads the form, or says which field is wrong.
    fn read(self) -> Result<NewRoute, (&'static str, String)> {
        let name = ModelName::parse(self.name.get_untracked().trim())
            .map_err(|error| ("name", format!("A model name {error}.")))?;
        let targets: Option<Vec<Target>> = self.lines.get_untracked().into_iter().map(Line::read).collect();
        let targets = targets
            .filter(|targets| !targets.is_empty())
            .ok_or(("targets", "Choose a deployment, a step from 1 and a whole weight for every target.".to_owned()))?;
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
        Ok(NewRoute {
            name,
            targets,
            max_attempts: Some(max_attempts),
            timeouts: Some(Timeouts { connect_ms, first_byte_ms, idle_ms, total_ms }),
            tree: None,
            rules: None,
        })
    }
}

fn target_line(board: Switchboard, draft: Draft, line: Line) -> AnyView {
    let choices = Signal::derive(move || {
        board
            .deployments
            .items()
            .get()
            .into_iter()
            .map(|deployment| (deployment.id.to_string(), format!("{} ({})", deployment.name, deployment.provider)))
            .collect::<Vec<_>>()
    });
    let remove = Callback::new(move |()| draft.lines.update(|lines| lines.retain(|other| other.id != line.id)));
    view! {
        <li class="target-line">
            <SelectField label="Deployment" value=line.deployment choices placeholder="Choose" />
            <TextField label="Step" value=line.step kind=InputKind::Number />
            <TextField label="Weight" value=line.weight kind=InputKind::Number />
            <IconButton icon=Icon::Trash label=Signal::stored("Remove target".to_owned()) on_press=remove />
        </li>
    }
    .into_any()
}

fn fields(board: Switchboard, draft: Draft, errors: FormErrors) -> AnyView {
    let [connect, first_byte, idle, total] = draft.timeouts;
    let targets_error = errors.of("targets");
    let timeouts_error = errors.of("timeouts");
    view! {
        <TextField label="Model name" value=draft.name kind=InputKind::Code required=true autofocus=true placeholder="support-chat" hint="What clients send as “model”. It must differ from every deployment's name." error=errors.of("name") />
        <fieldset class="stack-tight">
            <legend class="field-label">"Targets"</legend>
            <p class="field-hint">"Calls go to step 1, shared by weight. When an attempt fails, the next target of the step is tried, then the next step."</p>
            <ul class="target-lines"><For each=move || draft.lines.get() key=|line| line.id let:line>{target_line(board, draft, line)}</For></ul>
            {move || targets_error.get().map(|text| view! { <p class="field-error">{text}</p> })}
            <div class="row"><Button size=Size::Small icon=Icon::Plus on_press=Callback::new(move |()| draft.add())>"Add a target"</Button></div>
        </fieldset>
        <TextField label="Most attempts per request" value=draft.attempts kind=InputKind::Number error=errors.of("max_attempts") />
        <details class="more">
            <summary>"Timeouts"</summary>
            <div class="columns-2">
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

fn save(board: Switchboard, route: RouteView, body: NewRoute, update: Command<UpdateRoute>, toasts: Toasts) {
    let path = RoutePath { workspace_id: board.workspace_id, route_id: route.id };
    let change = RouteChange {
        version: Some(route.version),
        name: Some(body.name),
        targets: Some(body.targets),
        max_attempts: body.max_attempts,
        timeouts: body.timeouts,
        ..RouteChange::default()
    };
    update.run(path, change, move |route| {
        toasts.done(format!("Saved “{}”.", route.name));
        board.changed();
    });
}

/// The form; without a route it makes a new one.
#[component]
pub(super) fn RouteForm(board: Switchboard, route: Option<RouteView>, close: Callback<()>) -> impl IntoView {
    let draft = Draft::new(route.as_ref());
    let create = use_command::<CreateRoute>();
    let update = Command::<UpdateRoute>::sharing(create);
    let toasts = expect_context::<Toasts>();
    let is_new = route.is_none();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let body = match draft.read() {
            Ok(body) => body,
            Err((field, text)) => return create.errors.set(vec![(field.to_owned(), text)], None),
        };
        match route.clone() {
            Some(route) => save(board, route, body, update, toasts),
            None => create.run(board.path(), body, move |route| {
                toasts.done(format!("Route “{}” is ready; nodes serve it within a second.", route.name));
                close.run(());
                board.changed();
            }),
        }
    };
    view! {
        <form on:submit=submit>
            <DialogBody>{fields(board, draft, create.errors)}</DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=create.is_busy>{if is_new { "Create route" } else { "Save route" }}</Button>
            </DialogFoot>
        </form>
    }
}
