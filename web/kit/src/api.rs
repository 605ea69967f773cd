//! The typed client over `fetch`, and its two reactive forms: a query that follows its arguments, and a command that is run.
//!
//! Same-origin cookies and the CSRF header are the only proof of who asks; no token is ever held in a variable. A 401 anywhere
//! ends the session in this tab; a problem becomes field errors of the form that caused it, or a message.

use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use api::{BASE, CSRF_HEADER, ClientError, Empty, IDEMPOTENCY_HEADER, Method, Operation, Request, Response, client};
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::session::use_session;
use ui::browser;
use ui::data_view::{Failure, Load};
use ui::field::FormErrors;
use ui::toast::Toasts;

/// How long an answer may take before the console gives up, in milliseconds.
const PATIENCE_MS: u32 = 30_000;

fn reason(error: &JsValue) -> String {
    error.dyn_ref::<js_sys::Error>().map_or_else(|| "no answer".to_owned(), |error| String::from(error.message()))
}

async fn fetch(request: Request) -> Result<Response, JsValue> {
    let init = web_sys::RequestInit::new();
    init.set_method(request.method.as_str());
    init.set_credentials(web_sys::RequestCredentials::SameOrigin);
    init.set_signal(Some(&web_sys::AbortSignal::timeout_with_u32(PATIENCE_MS)));
    let headers = web_sys::Headers::new()?;
    headers.set("accept", "application/json")?;
    if request.method.is_unsafe() {
        headers.set(CSRF_HEADER, "1")?;
    }
    for (name, value) in &request.headers {
        headers.set(name, value)?;
    }
    if let Some(body) = &request.body {
        headers.set("content-type", "application/json")?;
        init.set_body(&JsValue::from_str(body));
    }
    init.set_headers(&headers);
    let answer: web_sys::Response =
        JsFuture::from(window().fetch_with_str_and_init(&request.path_and_query, &init)).await?.dyn_into()?;
    let body = JsFuture::from(answer.text()?).await?.as_string().unwrap_or_default();
    Ok(Response { status: answer.status(), body })
}

/// Sends what an operation wrote. Written once for all of them: only writing and reading depends on the operation.
pub async fn exchange(request: Written) -> Result<Response, ClientError> {
    let request = request?;
    debug_assert!(request.path_and_query.starts_with(BASE), "the client writes addresses of the API");
    fetch(request).await.map_err(|error| ClientError::Transport(reason(&error)))
}

/// Says an error for people.
pub fn failure_of(error: &ClientError) -> Failure {
    match error {
        ClientError::Problem(problem) => Failure {
            code: problem.code.to_string(),
            detail: problem.detail.clone().unwrap_or_else(|| format!("{}.", problem.title)),
            retryable: problem.status >= 500 || problem.status == 429,
        },
        ClientError::Transport(_) => Failure {
            code: "network".to_owned(),
            detail: "Headgate could not be reached. Check the connection and that the control plane runs.".to_owned(),
            retryable: true,
        },
        ClientError::Unexpected { .. } => Failure {
            code: "unexpected_answer".to_owned(),
            detail: format!("{error}. Reload the page; the server may have been updated."),
            retryable: true,
        },
    }
}

pub fn is_signed_out(error: &ClientError) -> bool {
    error.problem().is_some_and(|problem| problem.code == domain::code::ProblemCode::Unauthenticated)
}

// === Queries ===

/// Data that follows its arguments.
pub struct Query<T: Send + Sync + 'static> {
    pub load: Load<T>,
    turn: RwSignal<u32>,
}

impl<T: Send + Sync + 'static> Clone for Query<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Send + Sync + 'static> Copy for Query<T> {}

impl<T: Send + Sync + 'static> Query<T> {
    /// Asks again; the old data stays until the new is there.
    pub fn refetch(self) {
        self.turn.update(|turn| *turn = turn.wrapping_add(1));
    }

    /// The same as a callback.
    pub fn retry(self) -> Callback<()> {
        Callback::new(move |()| self.refetch())
    }

    /// Asks again every `period` while the tab is in front.
    #[must_use]
    pub fn every(self, period: Duration) -> Self {
        browser::every(period, move || {
            if browser::is_visible() && !self.load.is_fetching.get_untracked() {
                self.refetch();
            }
        });
        self
    }
}

impl<T: Clone + Send + Sync + 'static> Query<T> {
    /// The data, once there.
    pub fn data(self) -> Signal<Option<T>> {
        self.load.data.into()
    }
}

impl<T: Clone + Send + Sync + 'static> Query<domain::Page<T>> {
    /// The rows, empty until there.
    pub fn items(self) -> Signal<Vec<T>> {
        Signal::derive(move || {
            self.load.data.with(|page| page.as_ref().map(|page| page.items.clone()).unwrap_or_default())
        })
    }
}

/// Asks for `O` whenever `arguments` change; `None` asks nothing.
pub fn use_query<O>(arguments: impl Fn() -> Option<(O::Path, O::Query)> + 'static) -> Query<O::Reply>
where
    O: Operation<Body = Empty>,
    O::Reply: Send + Sync,
{
    ask::<O>(move || arguments().map(|(path, query)| client::request::<O>(&path, &query, &Empty {})))
}

/// Asks for `O`, which has its question in its body, whenever `arguments` change; `None` asks nothing.
pub fn use_question<O>(arguments: impl Fn() -> Option<(O::Path, O::Body)> + 'static) -> Query<O::Reply>
where
    O: Operation,
    O::Query: Default,
    O::Reply: Send + Sync,
{
    ask::<O>(move || arguments().map(|(path, body)| client::request::<O>(&path, &O::Query::default(), &body)))
}

fn ask<O>(written: impl Fn() -> Option<Written> + 'static) -> Query<O::Reply>
where
    O: Operation,
    O::Reply: Send + Sync,
{
    let query = Query { load: Load::default(), turn: RwSignal::new(0) };
    let data = query.load.data;
    let question = Question {
        turn: query.turn,
        failure: query.load.failure,
        is_fetching: query.load.is_fetching,
        ask: Box::new(written),
        accept: Rc::new(move |response| client::read::<O>(response).map(|reply| data.set(Some(reply)))),
    };
    question.follow();
    query
}

/// A request as an operation wrote it.
pub type Written = Result<Request, ClientError>;

/// Whether an answer could be taken in.
pub type Accepted = Result<(), ClientError>;

/// A query without its types, so that following its arguments is written once for all.
struct Question {
    turn: RwSignal<u32>,
    failure: RwSignal<Option<Failure>>,
    is_fetching: RwSignal<bool>,
    ask: Box<dyn Fn() -> Option<Written>>,
    accept: Rc<dyn Fn(&Response) -> Accepted>,
}

impl Question {
    fn follow(self) {
        let Self { turn, failure, is_fetching, ask, accept } = self;
        let session = use_session();
        let latest = StoredValue::new(0_u32);
        Effect::new(move |_| {
            turn.track();
            let Some(request) = ask() else {
                is_fetching.set(false);
                return;
            };
            let number = latest.get_value().wrapping_add(1);
            latest.set_value(number);
            is_fetching.set(true);
            let accept = Rc::clone(&accept);
            spawn_local(async move {
                let answer = exchange(request).await;
                // A later question, or a page that is gone: this answer is nobody's.
                if latest.try_get_value() != Some(number) {
                    return;
                }
                is_fetching.set(false);
                match answer.and_then(|response| accept(&response)) {
                    Ok(()) => failure.set(None),
                    Err(error) if is_signed_out(&error) => session.signed_out(),
                    Err(error) => failure.set(Some(failure_of(&error))),
                }
            });
        });
    }
}

// === Commands ===

/// An operation that is run by a person.
pub struct Command<O> {
    /// Whether it is under way.
    pub is_busy: RwSignal<bool>,
    /// What was wrong with the last try.
    pub errors: FormErrors,
    /// Says failures as messages instead of in a form.
    is_quiet_form: bool,
    operation: PhantomData<fn() -> O>,
}

impl<O> Clone for Command<O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Command<O> {}

/// An operation behind a form: its failures appear in the form.
pub fn use_command<O: Operation>() -> Command<O> {
    Command {
        is_busy: RwSignal::new(false),
        errors: FormErrors::default(),
        is_quiet_form: false,
        operation: PhantomData,
    }
}

/// An operation behind a button: its failures appear as messages.
pub fn use_act<O: Operation>() -> Command<O> {
    Command { is_quiet_form: true, ..use_command::<O>() }
}

impl<O: Operation> Command<O> {
    /// A second operation behind the same form: one busy state, one set of errors.
    pub fn sharing<P>(other: Command<P>) -> Self {
        Self {
            is_busy: other.is_busy,
            errors: other.errors,
            is_quiet_form: other.is_quiet_form,
            operation: PhantomData,
        }
    }

    /// Runs the operation once; a second press while it is under way does nothing.
    pub fn run(self, path: O::Path, body: O::Body, on_done: impl FnOnce(O::Reply) + 'static)
    where
        O::Query: Default,
    {
        let request = client::request::<O>(&path, &O::Query::default(), &body);
        let act = Act { is_busy: self.is_busy, errors: self.errors, is_quiet_form: self.is_quiet_form };
        act.run(request, Box::new(move |response| client::read::<O>(response).map(on_done)));
    }
}

/// A command without its types, so that running it is written once for all.
#[derive(Clone, Copy)]
struct Act {
    is_busy: RwSignal<bool>,
    errors: FormErrors,
    is_quiet_form: bool,
}

impl Act {
    fn run(self, mut request: Written, accept: Box<dyn FnOnce(&Response) -> Accepted>) {
        // What offered the act may be gone by now, as after an undo; the act still counts.
        if self.is_busy.try_get_untracked().unwrap_or(false) {
            return;
        }
        self.is_busy.set(true);
        self.errors.clear();
        let (session, toasts) = (use_session(), expect_context::<Toasts>());
        if let (Ok(request), Some(crypto)) = (&mut request, window().crypto().ok())
            && request.method == Method::Post
        {
            request.headers.push((IDEMPOTENCY_HEADER, crypto.random_uuid()));
        }
        spawn_local(async move {
            let answer = exchange(request).await;
            // The form may be gone by now; the outcome still counts.
            let _ = self.is_busy.try_set(false);
            match answer.and_then(|response| accept(&response)) {
                Ok(()) => {}
                Err(error) if is_signed_out(&error) => session.signed_out(),
                Err(error) if self.is_quiet_form => toasts.failed(failure_of(&error).detail),
                Err(error) => self.explain(&error),
            }
        });
    }

    fn explain(self, error: &ClientError) {
        let fields: Vec<(String, String)> = error
            .problem()
            .map(|problem| {
                problem
                    .fields
                    .iter()
                    .map(|field| (field.pointer.trim_start_matches('/').to_owned(), field.detail.clone()))
                    .collect()
            })
            .unwrap_or_default();
        let whole = failure_of(error).detail;
        // A form shows its fields' errors in place; the sentence above adds what none of them says.
        self.errors.set(fields, Some(whole));
    }
}
