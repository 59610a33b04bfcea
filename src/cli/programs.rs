//! What the commands for a program's function share: θ, the journal, signals, and the program's
//! messages.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::arguments::{Global, ProgramOptions};
use super::output::{Messages, to_stderr};
use super::signals::Interrupt;
use crate::error::{Error, Result};
use crate::format::vector;
use crate::gradient::Control;
use crate::parallel::Workers;
use crate::program::{Journal, Notices, Program, ProgramSettings};
use crate::text::plain_line;

/// The time in which a program must greet where θ comes with the greeting.
const GREETING: Duration = Duration::from_secs(60);

/// A program, and the θ at which its function is asked first.
pub(super) struct Opened {
    /// The program.
    pub(super) program: Program,
    /// θ, `(N,)`, finite.
    pub(super) theta: Vec<f64>,
    /// The number of workers.
    pub(super) workers: usize,
    interrupt: Interrupt,
}

/// Opens the program `command` as the options say. `output` is the file that the command writes, and
/// `purpose` names the journal where there is none.
///
/// # Errors
/// θ, the journal or the command is refused.
pub(super) fn open(
    command: &str,
    options: &ProgramOptions,
    output: Option<&Path>,
    purpose: &str,
    (global, messages): (&Global, Messages),
) -> Result<Opened> {
    let given = match &options.at {
        Some(path) => Some(checked(vector::load(path)?, &path.display().to_string())?),
        None => None,
    };
    let path = journal_path(command, options, output, purpose);
    let ending = format!("the evaluations so far stay in {}", path.display());
    let interrupt = Interrupt::watch(ending)?;
    let journal = Journal::open(&path, command)?;
    let resumed = journal.resumed;
    if resumed > 0 {
        messages.note(format_args!(
            "going on with {resumed} evaluations from {}",
            path.display()
        ));
    }
    let quiet = global.quiet;
    let notices = Notices {
        message: Arc::new(move |worker, line| {
            if !quiet {
                to_stderr(&format!("worker {worker}: {}\n", plain_line(line)));
            }
        }),
        note: Arc::new(move |text| messages.note(text)),
    };
    let workers = options
        .workers
        .map_or_else(Workers::available, |workers| workers as usize);
    let settings = ProgramSettings {
        command: command.to_owned(),
        workers,
        timeout: options.timeout,
    };
    let control = Control::new(interrupt.flag());
    let program = Program::new(settings, notices, Some(journal), control)?;
    let theta = match given {
        Some(theta) => theta,
        None => {
            let within = options.timeout.map_or(GREETING, Duration::from_secs_f64);
            let greeted = interrupt.coded(program.greeted_theta(within))?;
            let theta = greeted.ok_or_else(|| {
                Error::Usage(format!(
                    "`{command}` greets without a θ to begin at\n  help: give θ with --at FILE, or let the program greet with `theta`"
                ))
            })?;
            checked(theta, &format!("the greeting of `{command}`"))?
        }
    };
    program.set_base(&theta);
    if resumed == 0 {
        // Each command evaluates the function at N + 1 points or more.
        program.start(theta.len().saturating_add(1));
    }
    Ok(Opened {
        program,
        theta,
        workers,
        interrupt,
    })
}

impl Opened {
    /// Returns `result`, an interruption with the signal's exit code.
    ///
    /// # Errors
    /// That of `result`.
    pub(super) fn coded<T>(&self, result: Result<T>) -> Result<T> {
        self.interrupt.coded(result)
    }

    /// Turns the result of code that evaluated the program into that of the command.
    ///
    /// # Errors
    /// Those of [`Program::conclude`].
    pub(super) fn conclude<T>(
        &self,
        result: Result<T, crate::gradient::finite_difference::failure::Failure>,
    ) -> Result<T> {
        self.coded(self.program.conclude(result))
    }
}

impl Interrupt {
    /// Gives an interruption the exit code of the signal.
    fn coded<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| match error {
            Error::Interrupted { saved, .. } => Error::Interrupted {
                code: self.exit_code(),
                saved,
            },
            error => error,
        })
    }
}

/// Refuses an empty θ, and one that is not finite.
fn checked(theta: Vec<f64>, source: &str) -> Result<Vec<f64>> {
    if theta.is_empty() {
        return Err(Error::Usage(format!(
            "{source}: θ is empty, so there is no gradient"
        )));
    }
    match theta.iter().position(|value| !value.is_finite()) {
        None => Ok(theta),
        Some(index) => Err(Error::Usage(format!(
            "{source}: θ[{index}] is {}\n  help: begin at a finite θ",
            theta[index]
        ))),
    }
}

/// Returns the path of the journal: as given, beside the output, or in the current folder.
fn journal_path(
    command: &str,
    options: &ProgramOptions,
    output: Option<&Path>,
    purpose: &str,
) -> PathBuf {
    if let Some(path) = &options.journal {
        return path.clone();
    }
    if let Some(output) = output {
        let mut path = output.as_os_str().to_owned();
        path.push(".journal");
        return path.into();
    }
    let digest = Sha256::digest(command);
    let name: String = digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    PathBuf::from(format!("nplus1-{purpose}-{name}.journal"))
}

/// The numbers of evaluations, for people and scripts.
#[derive(Clone, Debug, Serialize)]
pub(super) struct EvaluationCounts {
    /// Answers that the program gave, revisits included.
    answered: u64,
    /// Answers from the journal.
    journalled: u64,
    /// Evaluations that another copy repeated because one failed.
    repeated: u64,
    /// Evaluations of θ itself that only showed whether the program is deterministic.
    revisits: u64,
}

impl EvaluationCounts {
    /// Returns the counts of `program`.
    pub(super) fn of(program: &Program) -> Self {
        let counts = program.evaluations();
        Self {
            answered: counts.answered,
            journalled: counts.journalled,
            repeated: counts.repeated,
            revisits: counts.revisits,
        }
    }
}

impl std::fmt::Display for EvaluationCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.answered)?;
        if self.revisits > 0 {
            write!(f, ", {} of them of θ again", self.revisits)?;
        }
        if self.journalled > 0 {
            write!(f, "; {} from the journal", self.journalled)?;
        }
        if self.repeated > 0 {
            write!(f, "; {} repeated on another copy", self.repeated)?;
        }
        Ok(())
    }
}

/// Warns if the program gave two values at the same θ; returns whether it did not.
pub(super) fn warn_of_contradiction(program: &Program, messages: Messages) -> bool {
    let Some((first, other)) = program.contradiction() else {
        return true;
    };
    messages.warn(format_args!(
        "the program is not deterministic: at the same θ it gave {first:?} and {other:?}, {:.1e} apart\n  help: fix its random seeds, or use --increment noise, which measures the noise",
        (first - other).abs()
    ));
    false
}
