//! Several processes that a launcher has started: they compute together, or are refused.

use std::sync::Arc;
use std::time::Duration;

use super::arguments::Command;
use super::output::Messages;
use super::workers::start_workers;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::parallel::cluster::{Launcher, Reduce};
use crate::parallel::{Ranks, Split, Workers, processors};

/// How long a rank that is refused waits, so that the first one can say why before the launcher
/// ends all.
const WAIT_FOR_FIRST: Duration = Duration::from_millis(500);

/// Joins the ranks that a launcher has started, for a command that they compute together.
///
/// # Errors
/// [`Error::Usage`] if the command or this build would let each rank work alone.
pub(super) fn join(command: &Command) -> Result<Ranks> {
    let Some(launcher) = Launcher::detect() else {
        return Ok(Ranks::alone());
    };
    let (name, is_shared) = match command {
        Command::Train(_) => ("train", true),
        Command::Scale(arguments) => ("scale", arguments.ranks.is_some()),
        Command::Race(_) => ("race", false),
        Command::Cost(_) => ("cost", false),
        // These may well be a step of what each rank does.
        _ => return Ok(Ranks::alone()),
    };
    match is_shared {
        true => start(launcher, name),
        false if launcher.size == 1 => Ok(Ranks::alone()),
        false => refuse(
            launcher,
            &format!("`{name}` does not divide its work among ranks"),
            "run it as one process",
        ),
    }
}

#[cfg(feature = "mpi")]
fn start(_: Launcher, _: &str) -> Result<Ranks> {
    Ranks::join()
}

#[cfg(not(feature = "mpi"))]
fn start(launcher: Launcher, name: &str) -> Result<Ranks> {
    if launcher.size == 1 {
        return Ok(Ranks::alone());
    }
    let help = "build it with `cargo build --release --features mpi` (docs/design/cluster.md says what that needs)";
    let problem = format!("this nplus1 is built without MPI, so that each rank would {name} alone");
    refuse(launcher, &problem, help)
}

/// Refuses to work alone in each of several ranks.
fn refuse(launcher: Launcher, problem: &str, help: &str) -> Result<Ranks> {
    let Launcher {
        variable,
        rank,
        size,
    } = launcher;
    if rank > 0 {
        std::thread::sleep(WAIT_FOR_FIRST);
        return Err(Error::OtherRank { code: 2 });
    }
    Err(Error::Usage(format!(
        "{size} ranks were started ({variable}), but {problem}\n  help: {help}; to work alone all the same, unset {variable}"
    )))
}

/// Creates the pool of this rank, of as many threads as every other rank has.
///
/// # Errors
/// Those of [`Workers::new`]; settings that several ranks cannot have; [`Error::OtherRank`].
pub(super) fn start_rank(
    ranks: &Ranks,
    config: &RunConfig,
    messages: Messages,
) -> Result<Arc<Workers>> {
    if !ranks.are_many() {
        return start_workers(config.threads, messages);
    }
    if config.split == Some(Split::Units) {
        return Err(Error::Usage(
            "run.split = \"units\": several ranks divide a mini-batch by rows\n  help: set it to \"auto\" or \"rows\"".to_owned(),
        ));
    }
    let here = ranks.on_this_machine();
    let bound = Workers::processors();
    let machine = processors::of_machine();
    let threads = config.threads.unwrap_or(match bound < machine {
        true => bound,
        // All ranks of this machine share its processors.
        false => (Workers::available() / here).max(1),
    });
    if let Some(warning) = binding_warning(config.threads, bound, machine, here) {
        messages.warn(warning);
    }
    let threads = ranks.least(threads.min(bound))?;
    let ranks = ranks.clone().with_reduce(config.reduce);
    if ranks.reduce() == Reduce::Fast {
        messages.note(
            "run.reduce = \"fast\": gradients are added rank by rank, so that the weights depend on the number of ranks",
        );
    }
    Ok(Arc::new(Workers::of_ranks(threads, ranks)?))
}

/// Warns of threads without a processor of their own, or of processors without a thread, if the
/// launcher has bound this rank to `bound` of the machine's processors; `here` ranks are on it.
fn binding_warning(
    asked: Option<usize>,
    bound: usize,
    machine: usize,
    here: usize,
) -> Option<String> {
    if bound == machine {
        return None;
    }
    let problem = match asked {
        Some(asked) if asked > bound => format!("{asked} threads asked for, {bound} used"),
        None if (bound + 1) * here <= machine => format!("{bound} used as threads"),
        _ => return None,
    };
    Some(format!(
        "the launcher bound each rank to {bound} of {machine} processors: {problem}\n  help: mpirun --bind-to none, or --map-by slot:PE=N --bind-to core for N cores a rank; srun --cpus-per-task=N"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_that_is_bound_to_fewer_processors_than_it_could_have_is_told() {
        assert_eq!(binding_warning(None, 2, 2, 2), None);
        assert_eq!(binding_warning(None, 1, 2, 2), None);
        assert_eq!(binding_warning(Some(1), 1, 64, 2), None);
        let asked = binding_warning(Some(4), 1, 64, 2).unwrap();
        assert!(asked.contains("1 of 64 processors: 4 threads asked for, 1 used"));
        let idle = binding_warning(None, 1, 64, 2).unwrap();
        assert!(idle.contains("--bind-to none"), "{idle}");
    }
}
