//! The question before an act that cannot be taken back, asked from anywhere: one dialog for the whole console.
//!
//! Invariant: such an act runs only after the name of its object was typed, and its failure is said where it was asked for.

use std::sync::Arc;

use api::{Empty, Operation};
use leptos::prelude::*;
use ui::confirm::{Confirm, Question};

use crate::api::{Command, use_command};

/// A question and what a yes does; outlives the view that asked.
#[derive(Clone)]
struct Asked {
    question: Question,
    yes: Arc<dyn Fn() + Send + Sync>,
}

/// The question on screen, from context.
#[derive(Clone, Copy)]
pub struct Ask {
    asked: RwSignal<Option<Asked>>,
    /// There is one question at a time, so all acts share one busy state and one set of errors.
    shared: Command<api::ops::auth::Logout>,
}

impl Ask {
    pub fn provide() -> Self {
        let ask = Self { asked: RwSignal::new(None), shared: use_command() };
        provide_context(ask);
        ask
    }

    fn close(self) {
        self.asked.set(None);
    }

    /// Runs `O` once the question is answered with the name.
    pub fn before<O>(self, question: Question, path: O::Path, on_done: impl Fn(O::Reply) + Send + Sync + 'static)
    where
        O: Operation<Body = Empty>,
        O::Path: Copy + Sync,
        O::Query: Default,
    {
        let (command, on_done) = (Command::<O>::sharing(self.shared), Arc::new(on_done));
        let yes = Arc::new(move || {
            let on_done = Arc::clone(&on_done);
            command.run(path, Empty {}, move |reply| {
                self.close();
                on_done(reply);
            });
        });
        self.shared.errors.clear();
        self.asked.set(Some(Asked { question, yes }));
    }
}

/// Returns the asker from context.
pub fn use_ask() -> Ask {
    expect_context::<Ask>()
}

/// Where the question appears.
#[component]
pub fn AskDialog(ask: Ask) -> impl IntoView {
    let question = Signal::derive(move || ask.asked.get().map(|asked| asked.question));
    let on_confirm = Callback::new(move |()| {
        if let Some(asked) = ask.asked.get_untracked() {
            (asked.yes)();
        }
    });
    let on_close = Callback::new(move |()| ask.close());
    view! { <Confirm question errors=ask.shared.errors busy=ask.shared.is_busy on_confirm on_close /> }
}
