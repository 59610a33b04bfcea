//! Ctrl-C and termination: the first asks the run to save and end, the second ends it at once.
//!
//! The handler runs on a thread of its own (ctrlc), so that it may print. It cannot tell an
//! interrupt from a termination: both end with 130.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::output::to_stderr;
use crate::error::{Error, Result};

/// The exit code of an interrupted run.
pub const EXIT_CODE: u8 = 130;

/// Watches for signals until the process ends; the flag is set by the first.
///
/// # Errors
/// [`Error::Resources`] if the operating system refuses the handler or its thread, or if the
/// process has one already.
pub fn watch() -> Result<Arc<AtomicBool>> {
    let asked = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&asked);
    let signals = AtomicUsize::new(0);
    ctrlc::set_handler(move || {
        flag.store(true, Ordering::Relaxed);
        if signals.fetch_add(1, Ordering::Relaxed) == 0 {
            to_stderr("\ninterrupted: saving; once more to stop at once\n");
        } else {
            std::process::exit(i32::from(EXIT_CODE));
        }
    })
    .map_err(|error| Error::Resources(format!("cannot watch for signals: {error}")))?;
    Ok(asked)
}
