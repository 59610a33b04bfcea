//! The command line: one file or folder per command, and the parts that commands share.

pub mod arguments;
pub mod check;
pub mod compare;
pub mod config;
pub mod cost;
pub mod data;
mod description;
pub mod env;
pub mod eval;
mod evaluation;
pub mod event_thread;
pub mod explain;
pub mod export;
#[cfg(unix)]
pub mod gradient;
pub mod gradient_progress;
mod help;
mod inputs;
mod memory;
#[cfg(unix)]
pub mod minimize;
mod model_rows;
pub mod output;
mod page;
pub mod predict;
#[cfg(unix)]
mod programs;
mod progress_bar;
pub mod race;
mod ranks;
pub mod report;
pub mod scale;
pub mod session;
pub mod signals;
mod study;
mod table_config;
pub mod train;
mod workers;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::FromArgMatches;
use clap::builder::Styles;

use crate::data::suggestions;
use crate::error::{Error, Result};
use crate::kernels::Isa;
use crate::parallel::Ranks;
use arguments::{Arguments, Command};
use output::{Messages, Screen, is_closed_pipe, to_stderr};
use signals::survive_size_limit;

/// Exit code of an unforeseen failure.
const UNFORESEEN: u8 = 1;

/// Parses the arguments, runs the command and prints its error.
pub fn main() -> ExitCode {
    let parsed = help::command().try_get_matches();
    let arguments = match parsed.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => {
            refuse(&error);
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(UNFORESEEN));
        }
    };
    let messages = Messages::new(&arguments.global);
    let ranks = match ranks::join(&arguments.command) {
        Ok(ranks) => ranks,
        Err(error) => {
            if !matches!(error, Error::OtherRank { .. }) {
                messages.error(&error);
            }
            return ExitCode::from(error.exit_code());
        }
    };
    let of_rank = match ranks.is_first() {
        true => messages,
        false => messages.of_errors(),
    };
    match catch_unwind(AssertUnwindSafe(|| run(&arguments, of_rank, &ranks))) {
        Ok(outcome) => end(outcome, messages, &ranks),
        // The message of the panic is on standard error already.
        Err(_) => {
            to_stderr("error: this is a defect of nplus1, not of its input; please report it\n");
            ranks.abort(UNFORESEEN);
            ExitCode::from(UNFORESEEN)
        }
    }
}

/// Prints the error of a command, and returns the exit code: that of all ranks, of which the first
/// that failed prints.
fn end(outcome: Result<()>, messages: Messages, ranks: &Ranks) -> ExitCode {
    let error = outcome.err().filter(|error| !is_closed_pipe(error));
    let code = error.as_ref().map_or(0, Error::exit_code);
    ExitCode::from(ranks.finish(error.is_some(), code, || {
        if let Some(error) = &error {
            messages.error(error);
        }
    }))
}

/// Prints help or version, styled on a terminal, or the error in the arguments.
fn refuse(error: &clap::Error) {
    if !error.use_stderr() {
        // Standard output's reader may be gone.
        let _ = error.print();
        return;
    }
    // The message quotes the arguments, and a control character in them would look like a style:
    // so without styles.
    let command = help::command().styles(Styles::plain());
    if let Err(error) = command.try_get_matches() {
        to_stderr(&error.render().ansi().to_string());
    }
}

fn run(arguments: &Arguments, messages: Messages, ranks: &Ranks) -> Result<()> {
    survive_size_limit()?;
    check_kernel()?;
    let global = &arguments.global;
    let mut out = Screen::new(std::io::stdout().lock(), global.json);
    match &arguments.command {
        Command::Train(train) => train::run(train, global, (messages, ranks), &mut out),
        Command::Eval(eval) => eval::run(eval, global, messages, &mut out),
        Command::Predict(predict) => predict::run(predict, global, messages, &mut out),
        Command::Export(export) => export::run(export, global, messages, &mut out),
        Command::Explain(explain) => explain::run(explain, global, messages, &mut out),
        Command::Check(check) => check::run(check, global, messages, &mut out),
        #[cfg(unix)]
        Command::Gradient(gradient) => gradient::run(gradient, global, messages, &mut out),
        #[cfg(unix)]
        Command::Minimize(minimize) => minimize::run(minimize, global, messages, &mut out),
        Command::Cost(cost) => cost::run(cost, global, messages, &mut out),
        Command::Race(race) => race::run(race, global, messages, &mut out),
        Command::Data(arguments) => {
            let search_paths = crate::data::SearchPaths::new(global.datasets.as_deref());
            data::run(&arguments.command, &search_paths, global.json, &mut out)
        }
        Command::Report(report) => report::run(report, global, &mut out),
        Command::Scale(scale) => scale::run(scale, global, (messages, ranks), &mut out),
        Command::Compare(compare) => compare::run(compare, global.json, &mut out),
        Command::Env(env) => env::run(env, global.json, &mut out),
        Command::Config(config) => config::run(&config.command, &mut out, global.json, messages),
    }
}

/// Refuses a kernel in [`Isa::VARIABLE`] that is unknown or that this processor lacks.
fn check_kernel() -> Result<()> {
    let Some(asked) = std::env::var_os(Isa::VARIABLE).filter(|asked| !asked.is_empty()) else {
        return Ok(());
    };
    let asked = asked.to_string_lossy();
    let available = Isa::ALL.into_iter().filter(|isa| isa.is_available());
    let allowed: Vec<&str> = available.map(Isa::name).collect();
    if allowed.contains(&&*asked) {
        return Ok(());
    }
    let problem = if Isa::ALL.iter().any(|isa| isa.name() == asked) {
        format!("this processor has no kernel `{asked}`")
    } else {
        let question = suggestions::question(suggestions::nearest(&asked, allowed.iter().copied()));
        format!("unknown kernel `{asked}`{question}")
    };
    Err(Error::Usage(format!(
        "{}: {problem}\n  help: set it to one of {}, or unset it for the fastest",
        Isa::VARIABLE,
        allowed.join(", ")
    )))
}
