//! The project's own tools: `cargo xtask TASK`. Nothing here is part of the product.
//!
//! Each task is one module. Tasks that check are also tests of this crate, so a plain test run proves them.

mod repo;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::repo::cargo;

const TASKS: &str = "\
usage: cargo xtask TASK [ARGUMENTS]

  up [--debug] [FLAGS]   build everything and start every role; FLAGS go to `headgate up`
  test [ARGUMENTS]       install or start what the tests need, run all of them
  build                  release build with the console inside
  console [--debug]      build the console alone
  bench [NAME]           benchmarks, as ratios to a baseline measured in the same run
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
    match task {
        "codegen" => cargo(&["test", "--package", "xtask", "--test", "main", "codegen"]).env("UPDATE", "1").run(),
        "" | "help" | "--help" | "-h" => {
            eprint!("{TASKS}");
            Ok(())
        }
        other => bail!("no task `{other}`; `cargo xtask help` lists them (arguments: {rest:?})"),
    }
}
