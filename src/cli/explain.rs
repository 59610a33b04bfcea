//! `nplus1 explain`: claims about gradients, worked out in numbers.

pub mod lbfgs;

use std::io::Write;
use std::path::Path;

use super::arguments::Global;
use super::output::Messages;
use crate::config::{Config, Overrides};
use crate::error::Result;

/// `nplus1 explain`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArguments {
    /// What is explained.
    #[command(subcommand)]
    pub command: ExplainCommand,
}

/// What is explained.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ExplainCommand {
    /// Does L-BFGS need precise gradients? The same minimization by gradients of every precision
    Lbfgs(lbfgs::LbfgsArguments),
}

/// Explains what the arguments ask for.
///
/// # Errors
/// What its own file says.
pub fn run(
    arguments: &ExplainArguments,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    match &arguments.command {
        ExplainCommand::Lbfgs(lbfgs) => lbfgs::run(lbfgs, global, messages, out),
    }
}

/// The config at `path`, or `default` (its text, and its name in messages); and where its paths
/// start.
fn configured<'a>(
    path: Option<&'a Path>,
    (text, name): (&str, &str),
    overrides: &Overrides,
) -> Result<(Config, &'a Path)> {
    Ok(match path {
        Some(path) => (
            Config::load(path, overrides)?,
            path.parent().unwrap_or(Path::new("")),
        ),
        None => (
            Config::parse(text, Path::new(name), overrides)?,
            Path::new(""),
        ),
    })
}
