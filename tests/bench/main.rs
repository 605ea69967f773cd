//! The benchmarks of the gateway: every figure is a ratio to a bare forwarder measured in the same run.
//!
//! `cargo xtask bench overhead` starts a mock upstream, the forwarder and a real gateway node (its control plane is another
//! process), loads the two in turn, and compares the CPU time that the kernel accounted to each process. CPU per request is
//! the measure because throughput and latency move by tens of percent on shared cores while CPU moves by a few.
//! Nothing here decides pass or fail but the printed bounds; the exit status is 1 when a bound is missed.

mod forwarder;
mod load;
mod overhead;
mod process;
mod upstream;

use std::process::ExitCode;

use anyhow::{Result, bail};

// The allocator of the product, so that the baseline does not pay for a slower one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // `cargo bench` adds `--bench`; it means nothing here.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match words {
        ["serve-forwarder", upstream] => runtime.block_on(forwarder::serve(upstream)).map(|()| true),
        ["serve-upstream"] => runtime.block_on(upstream::serve()).map(|()| true),
        [] | ["overhead"] => runtime.block_on(overhead::run(&overhead::Effort::default())),
        ["overhead", "--quick"] => runtime.block_on(overhead::run(&overhead::Effort::quick())),
        ["bed"] => runtime.block_on(overhead::serve()).map(|()| true),
        ["shoot", case, address, key, n] => {
            let (address, n) = (address.parse()?, n.parse()?);
            runtime.block_on(overhead::shoot(case, address, key, n)).map(|()| true)
        }
        ["pace", address, key, seconds] => {
            let (address, seconds) = (address.parse()?, seconds.parse()?);
            runtime.block_on(overhead::pace(address, key, seconds)).map(|()| true)
        }
        other => bail!(
            "no benchmark `{}`; there is `overhead [--quick]`, and for profilers `bed`, `shoot CASE ADDRESS KEY N` and \
             `pace ADDRESS KEY SECONDS`",
            other.join(" ")
        ),
    }
}
