//! A time limit for tests of parallel code: a barrier that lets one thread through too early makes the
//! others wait for ever, and a test that hangs names nobody.

use std::io::Write;
use std::panic::Location;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Hundreds of times what the slowest of these tests takes: reached by what hangs, and not by a loaded
/// machine.
pub const LIMIT: Duration = Duration::from_secs(600);

/// The rest of a test is within its time limit as long as this lives.
#[must_use = "the limit ends with the guard"]
pub struct Guard(#[allow(dead_code)] Sender<()>);

/// Ends the process with the test's name unless the guard is dropped within [`LIMIT`]: a thread that
/// hangs cannot be unwound.
#[track_caller]
pub fn time_limit() -> Guard {
    let place = Location::caller();
    // The test runner names the threads of tests after them, but for one that it runs itself.
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test").to_owned();
    let (guard, dropped) = channel();
    std::thread::spawn(move || {
        if dropped.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            let text = format!("\n{name} ({place}) has run for {LIMIT:?}: it hangs\n");
            // Not `eprintln`, which the test runner keeps for a test that ends.
            let _ = std::io::stderr().write_all(text.as_bytes());
            std::process::abort();
        }
    });
    Guard(guard)
}
