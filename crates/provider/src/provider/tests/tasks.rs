//! Recorded calls of what providers of chat do besides: ranking, moderation, pictures, speech.
//!
//! Most take OpenAI's own form: the case of `fixtures/shared/task`, with this provider's address and model, must mean the same
//! for each, and what is sent is kept in `fixtures/<provider>/shared/task_<case>.json`. Who has another form has its own case.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::super::*;
use super::golden::{chat_folders, is_update, read, root, run};

/// The tasks, with the names of their cases.
const TASKS: [(Task, &str); 8] = [
    (Task::Rerank, "rerank"),
    (Task::Moderation, "moderation"),
    (Task::ImageGeneration, "image_generation"),
    (Task::ImageEdit, "image_edit"),
    (Task::ImageVariation, "image_variation"),
    (Task::Speech, "speech"),
    (Task::Transcription, "transcription"),
    (Task::Translation, "translation"),
];

/// Where the case of a provider's task comes from; `None` when it has no such thing.
fn origin(provider: &dyn Provider, folder: &Path, task: Task, case: &str) -> Option<&'static str> {
    let place = provider.spec().place(Surface::Task(task), false)?;
    if folder.join(case).join("request.json").exists() {
        return Some("own");
    }
    // What is ranked is said alike by all who follow one another.
    let is_plain = place.form.is_none() || task == Task::Rerank;
    assert!(is_plain, "{}/{case}: a form of its own needs a case of its own", provider.spec().name);
    Some("shared")
}

#[test]
fn a_task_means_the_same_wherever_it_is_done() {
    let mut meant: HashMap<&str, (&str, Value)> = HashMap::new();
    let mut n_cases = 0;
    for (provider, folder) in chat_folders() {
        let settings = read(&folder.join("provider.json")).unwrap_or_else(|| json!({}));
        for (task, case) in TASKS {
            if origin(provider, &folder, task, case) != Some("shared") {
                continue;
            }
            let found = run(provider, &settings, &root().join("shared/task").join(case));
            let kept = folder.join("shared").join(format!("task_{case}.json"));
            if is_update() {
                std::fs::create_dir_all(folder.join("shared")).unwrap();
                std::fs::write(&kept, format!("{}\n", serde_json::to_string_pretty(&found["sent"]).unwrap())).unwrap();
            }
            assert_eq!(Some(&found["sent"]), read(&kept).as_ref(), "{}: run with UPDATE=1", kept.display());
            let name = provider.spec().name;
            let (first, answer) = meant.entry(case).or_insert_with(|| (name, found["answer"].clone()));
            assert_eq!(&found["answer"], answer, "{case} of {name}, beside {first}");
            n_cases += 1;
        }
    }
    assert!(n_cases > 25, "{n_cases}");
}

/// The table of them, for the page of recorded calls.
pub(super) fn table() -> String {
    let mut table =
        String::from("\nWhat providers of chat do besides (an empty cell: no such thing there):\n\n| provider |");
    // Writing to a string cannot fail.
    table.extend(TASKS.map(|(_, case)| format!(" {} |", case.replace('_', " "))));
    let _ = writeln!(table, "\n|---|{}", "---|".repeat(TASKS.len()));
    for (provider, folder) in chat_folders() {
        let cells = TASKS.map(|(task, case)| origin(provider, &folder, task, case));
        if cells.iter().any(Option::is_some) {
            let _ = write!(table, "| {} |", provider.spec().title);
            table.extend(cells.map(|cell| format!(" {} |", cell.unwrap_or_default())));
            table.push('\n');
        }
    }
    table
}
