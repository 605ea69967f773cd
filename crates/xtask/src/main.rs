//! The project's own tools: `cargo xtask TASK`. Nothing here is part of the product.
//!
//! Each task is one module. Tasks that check are also tests of this crate, so a plain test run proves them.

#![expect(
    clippy::disallowed_methods,
    reason = "a build tool reads its environment; there is no configuration to go through"
)]

mod bench;
mod compact;
mod console;
mod prices;
mod repo;
mod split;
mod suite;
mod tidy;
mod up;
mod wasm;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::console::Profile;
use crate::repo::cargo;

const TASKS: &str = "\
usage: cargo xtask TASK [ARGUMENTS]

  up [--debug] [FLAGS]   build everything and start every role; FLAGS go to `headgate up`
  test [ARGUMENTS]       install what the tests need, run all of them; ARGUMENTS go to the runner
  build                  release build with the console inside
  console [--debug]      build the console alone
  bench [NAME]           benchmarks, as ratios to a baseline measured in the same run
  prices [DAY]           compare the catalog with an independent table, written anew
  tidy                   the rules of the house that can be checked
  codegen                proto/ to crates/proto/src/gen
  openapi                the operation table to docs/openapi.json
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    match run(&task, &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &str, rest: &[String]) -> Result<()> {
    let is_debug = rest.iter().any(|argument| argument == "--debug");
    let profile = if is_debug { Profile::Debug } else { Profile::Release };
    match task {
        "up" => up::up(rest),
        "test" => suite::run(rest),
        "build" => {
            let headgate = up::build(profile)?;
            eprintln!("built {}", headgate.display());
            Ok(())
        }
        "console" => console::build(profile),
        "bench" => bench::run(rest),
        "prices" => prices::run(rest),
        "tidy" => tidy::run(),
        // Generating and checking are one code path: the test that proves freshness writes when told to.
        "codegen" => cargo(&["test", "--package", "xtask", "--test", "main", "codegen"]).env("UPDATE", "1").run(),
        "openapi" => {
            cargo(&["test", "--package", "headgate-api", "--features", "schema", "openapi"]).env("UPDATE", "1").run()
        }
        "" | "help" | "--help" | "-h" => {
            eprint!("{TASKS}");
            Ok(())
        }
        other => bail!("no task `{other}`; `cargo xtask help` lists them"),
    }
}
