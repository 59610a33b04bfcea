//! Ctrl-C and termination: the first signal asks the work to end in order, the second ends the
//! process at once. Work that has nothing to save is ended a moment after the first.
//!
//! A thread handles the signals, so that the handler may print. The exit code is 128 + the
//! signal's number, as in shells: 130 for Ctrl-C (SIGINT), 143 for SIGTERM, 129 for SIGHUP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::output::to_stderr;
use crate::error::{Error, Result};

/// Lets a write beyond the process's limit of a file's size (`ulimit -f`) fail as any other does,
/// with an error: by default, the signal SIGXFSZ ends the process before it can report or clean up.
///
/// It installs a handler that does nothing, because child processes would inherit an ignored
/// signal.
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

/// State set by the first signal.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    exit_code: Arc<AtomicU8>,
}

impl Interrupt {
    /// Watches for signals until the process ends; `ending` describes to the user what the first
    /// one causes, such as `saving`.
    ///
    /// # Errors
    /// [`Error::Resources`] if the operating system refuses the handler or its thread.
    pub fn watch(ending: impl Into<String>) -> Result<Self> {
        let ending = ending.into() + "; interrupt again to stop at once";
        Self::start(move |interrupt, signal| interrupt.receive(signal, Some(&ending)))
    }

    /// Watches for signals as [`Interrupt::watch`] does, and says nothing: in ranks other than the
    /// first.
    ///
    /// # Errors
    /// Those of [`Interrupt::watch`].
    pub fn watch_silently() -> Result<Self> {
        Self::start(|interrupt, signal| interrupt.receive(signal, None))
    }

    /// Watches for signals as [`Interrupt::watch`] does, for work that has nothing to save once a signal
    /// comes: if it has not ended within `grace` after the first one, the process ends.
    ///
    /// # Errors
    /// Those of [`Interrupt::watch`].
    pub fn watch_and_end(ending: &'static str, grace: Duration) -> Result<Self> {
        Self::start(move |interrupt, signal| {
            interrupt.receive(signal, Some(ending));
            std::thread::sleep(grace);
            std::process::exit(i32::from(interrupt.exit_code()));
        })
    }

    /// Starts the thread that calls `receive` for each signal.
    fn start(receive: impl Fn(&Self, i32) + Send + 'static) -> Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(refused)?;
        let interrupt = Self::default();
        let received = interrupt.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    receive(&received, signal);
                }
            })
            .map_err(refused)?;
        Ok(interrupt)
    }

    fn receive(&self, signal: i32, ending: Option<&str>) {
        let code = u8::try_from(128 + signal).expect("the signals watched are below 16");
        if self.asked.load(Ordering::Relaxed) {
            std::process::exit(i32::from(code));
        }
        self.exit_code.store(code, Ordering::Relaxed);
        // A thread that sees the flag sees the code.
        self.asked.store(true, Ordering::Release);
        if let Some(ending) = ending {
            to_stderr(&format!("\ninterrupted: {ending}\n"));
        }
    }

    /// Returns the flag that the first signal sets.
    pub fn flag(&self) -> &Arc<AtomicBool> {
        &self.asked
    }

    /// Returns the exit code for the first signal.
    pub fn exit_code(&self) -> u8 {
        // Pairs with the release of the flag, which the run may have read with relaxed order.
        let _ = self.asked.load(Ordering::Acquire);
        self.exit_code.load(Ordering::Relaxed)
    }
}
