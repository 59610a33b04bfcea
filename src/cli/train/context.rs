//! Options, threads and signals that the runs of one command share.

use std::sync::Arc;

use crate::cli::arguments::Global;
use crate::cli::signals::Interrupt;
use crate::error::Result;
use crate::kernels::Isa;
use crate::parallel::Workers;

/// Options, threads and signals that the runs of one command share.
pub struct CommandContext<'a> {
    /// Options of every command.
    pub global: &'a Global,
    /// The workers.
    pub workers: Arc<Workers>,
    /// Instruction set of the kernels.
    pub isa: Isa,
    /// Signals received so far.
    pub interrupt: Interrupt,
    /// Whether epochs are shown.
    pub shows_epochs: bool,
}

impl<'a> CommandContext<'a> {
    /// Watches for signals, and shows epochs.
    ///
    /// # Errors
    /// Those of [`Interrupt::watch`].
    pub fn new(global: &'a Global, workers: Arc<Workers>) -> Result<Self> {
        let interrupt = match workers.ranks().is_first() {
            true => Interrupt::watch("saving")?,
            false => Interrupt::watch_silently()?,
        };
        Ok(Self {
            global,
            workers,
            isa: Isa::detect(),
            interrupt,
            shows_epochs: true,
        })
    }
}
