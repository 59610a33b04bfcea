//! The worker pool of a command.

use std::sync::Arc;

use super::output::Messages;
use crate::error::Result;
use crate::parallel::Workers;

/// Creates the pool of a run; says so if it has fewer threads than were asked for.
///
/// # Errors
/// Those of [`Workers::new`].
pub(super) fn start_workers(threads: Option<usize>, messages: Messages) -> Result<Arc<Workers>> {
    let workers = Workers::new(threads)?;
    if let Some(asked) = threads.filter(|&asked| asked > workers.threads()) {
        messages.note(format_args!(
            "{asked} threads asked for, {} used: one for each processor that this process may use",
            workers.threads()
        ));
    }
    Ok(Arc::new(workers))
}
