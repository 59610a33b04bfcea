//! What the runs of one command share.

use std::sync::Arc;

use crate::cli::arguments::Global;
use crate::cli::signals::Interrupt;
use crate::kernels::Isa;
use crate::parallel::Workers;

/// What the runs of one command share.
pub struct CommandContext<'a> {
    /// Options of every command.
    pub global: &'a Global,
    /// The threads.
    pub team: Arc<Workers>,
    /// The kernels.
    pub isa: Isa,
    /// Signals, as they come.
    pub interrupt: Interrupt,
    /// Whether epochs are shown.
    pub shows_epochs: bool,
}
