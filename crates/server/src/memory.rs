//! Keeps this process's memory to itself: no core dumps, and no reader of it that is not root.
//!
//! Keys and credentials are opened in memory; a crash must not write them to a disk. Not here: what other users may read of
//! the data directory. Invariant: a failure is said and stops nothing.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Forbids core dumps of this process and of its children, and debuggers of the same user.
pub(crate) fn close() {
    if let Err(error) = forbid_reading() {
        tracing::warn!(%error, "this process's memory could not be closed to debuggers and core dumps");
    }
    // Of no use to a process that cannot be dumped, but its children inherit it; a supervisor may have forbidden the call.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::debug!(%error, "the limit for core dumps could not be set");
    }
}

#[cfg(target_os = "linux")]
fn forbid_reading() -> io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Elsewhere the limit is all there is.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
const fn forbid_reading() -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn a_closed_process_leaves_no_core_and_has_no_readers() {
        close();
        assert_eq!(dumpable_behavior().expect("readable"), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
    }
}
