//! A time limit for tests of parallel code.
//!
//! A barrier that lets one thread through too early makes the others wait for ever. The test runner
//! does not name a test that hangs; this limit does.

use std::io::Write;
use std::panic::Location;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Hundreds of times the time of the slowest of these tests, so that a loaded machine does not
/// reach it.
pub const LIMIT: Duration = Duration::from_secs(600);

/// Keeps the time limit of a test in force until it is dropped.
#[must_use = "the limit ends with the guard"]
pub struct Guard(#[allow(dead_code)] Sender<()>);

/// Starts the time limit: prints the test's name and aborts the process unless the guard is dropped
/// within [`LIMIT`]. It aborts because a thread that hangs cannot be unwound.
#[track_caller]
pub fn time_limit() -> Guard {
    let location = Location::caller();
    // The test runner names a test's thread after the test, except for tests on its own thread.
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test").to_owned();
    let (guard, dropped) = channel();
    std::thread::spawn(move || {
        if dropped.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            let text = format!("\n{name} ({location}) has run for {LIMIT:?}: it hangs\n");
            // The test runner captures the output of `eprintln` until the test ends.
            let _ = std::io::stderr().write_all(text.as_bytes());
            std::process::abort();
        }
    });
    Guard(guard)
}
