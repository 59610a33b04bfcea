//! Ctrl-C and termination: the first signal asks the work to end in its own way, the second ends it at
//! once.
//!
//! Signals are handled on a thread of their own, so that it may print. The exit code is 128 + the
//! signal's number, as shells have it: 130 for Ctrl-C (SIGINT), 143 for SIGTERM, 129 for SIGHUP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::output::to_stderr;
use crate::error::{Error, Result};

/// Lets a write beyond the process's limit of a file's size (`ulimit -f`) fail as any other does,
/// with an error: by default the signal SIGXFSZ ends the process before it can tell or tidy up.
///
/// A handler that does nothing, for programs started from here would inherit an ignored signal.
///
/// # Errors
/// [`Error::Resources`] if the operating system refuses the handler.
pub fn survive_size_limit() -> Result<()> {
    #[cfg(unix)]
    signal_hook::flag::register(libc::SIGXFSZ, Arc::default()).map_err(refused)?;
    Ok(())
}

fn refused(error: std::io::Error) -> Error {
    Error::Resources(format!("cannot watch for signals: {error}"))
}

/// What the first signal leaves behind.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    exit_code: Arc<AtomicU8>,
}

impl Interrupt {
    /// Watches for signals until the process ends; `ending` is what the first one makes the work do,
    /// as it is told to the user: `saving`.
    ///
    /// # Errors
    /// [`Error::Resources`] if the operating system refuses the handler or its thread.
    pub fn watch(ending: &'static str) -> Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(refused)?;
        let interrupt = Self::default();
        let own = interrupt.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    own.receive(signal, ending);
                }
            })
            .map_err(refused)?;
        Ok(interrupt)
    }

    fn receive(&self, signal: i32, ending: &str) {
        let code = u8::try_from(128 + signal).expect("the signals watched are below 16");
        if self.asked.load(Ordering::Relaxed) {
            std::process::exit(i32::from(code));
        }
        self.exit_code.store(code, Ordering::Relaxed);
        // Whoever sees the flag sees the code.
        self.asked.store(true, Ordering::Release);
        to_stderr(&format!(
            "\ninterrupted: {ending}; once more to stop at once\n"
        ));
    }

    /// Raised by the first signal.
    pub fn flag(&self) -> &Arc<AtomicBool> {
        &self.asked
    }

    /// The exit code of the run that the first signal ended.
    pub fn exit_code(&self) -> u8 {
        // Pairs with the flag's release: a run ends because it saw the flag, with no order of its own.
        let _ = self.asked.load(Ordering::Acquire);
        self.exit_code.load(Ordering::Relaxed)
    }
}
