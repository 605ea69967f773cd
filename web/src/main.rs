//! The console: a client of the public management API, built for the browser.
//!
//! It holds no authority: what it shows and offers follows the permissions of the session, what happens is decided by the
//! server. The crate `ui` (formats and primitives) knows no API; `features` compose it with one.

#![expect(clippy::needless_pass_by_value, reason = "component properties are owned by the component")]
#![expect(clippy::large_types_passed_by_value, reason = "what pages share are bundles of `Copy` handles of signals")]
#![expect(unreachable_pub, reason = "the component macro writes its functions as `pub`")]

mod app;
mod chunks;
mod features;
mod releases;
mod shell;
#[cfg(test)]
mod testing;
mod theme;

fn main() {
    app::start();
}
