//! `nplus1 explain`: claims about gradients, worked out in numbers.

pub mod claims;
pub mod lbfgs;
pub mod logistic;
pub mod network;
pub mod toy;
pub mod weight;

use std::io::Write;
use std::path::{Path, PathBuf};

use super::arguments::{Global, output};
use super::config::OverrideArguments;
use super::output::{Messages, print};
use crate::config::{Config, Overrides};
use crate::error::{Error, Result};
use crate::format::file::write_atomically;
use crate::report::{date, toy_page};
use crate::run::json;

/// `nplus1 explain`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArguments {
    /// What is explained, unless it is a network of one's own.
    #[command(subcommand)]
    pub command: Option<ExplainCommand>,
    /// A network of one's own.
    #[command(flatten)]
    pub own: weight::WeightArguments,
    /// Write a page to this file instead: the toy with sliders, and every claim
    #[arg(long, value_name = "FILE", global = true, value_parser = output())]
    pub html: Option<PathBuf>,
}

/// What is explained.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ExplainCommand {
    /// Every claim about gradients and differences, its verdict, and the command that shows it
    Claims,
    /// y = σ(a·x), z = b·y: both gradients step by step, each method's operations, the usual slips
    Toy(toy::ToyArguments),
    /// Logistic regression: where differences need fewer multiplications than the gradient, and lose
    Logistic(logistic::LogisticArguments),
    /// Which units a perturbed weight changes, and what can be reused, by depth
    Network(network::NetworkArguments),
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
    if let Some(path) = &arguments.html {
        return lesson(arguments, path, global, out);
    }
    let own = &arguments.own;
    let changed = own.changes != OverrideArguments::default();
    match (&arguments.command, &own.config) {
        (Some(_), config) if changed || config.is_some() => Err(refused(
            "a CONFIG or its changes stand before the subject, which does not read them\n  help: put them behind it, such as `nplus1 explain network CONFIG --set KEY=VALUE`".to_owned(),
        )),
        (Some(ExplainCommand::Toy(toy)), _) => toy::run(toy, global, out),
        (Some(ExplainCommand::Logistic(logistic)), _) => logistic::run(logistic, global, out),
        (Some(ExplainCommand::Network(network)), _) => network::run(network, global, out),
        (Some(ExplainCommand::Lbfgs(lbfgs)), _) => lbfgs::run(lbfgs, global, messages, out),
        (None, Some(path)) if path.try_exists().is_ok_and(|there| !there) => Err(Error::refused(path, "no such config").help(
            "explain a CONFIG, or one of the subjects claims, toy, logistic, network, lbfgs",
        )),
        (None, Some(path)) => weight::run(own, path, global, messages, out),
        (None, None) if changed => Err(refused(
            "changes of a config, but no CONFIG\n  help: name one, such as `nplus1 explain CONFIG --seed 3`".to_owned(),
        )),
        (Some(ExplainCommand::Claims) | None, _) => claims::run(global, out),
    }
}

/// Writes the page for a classroom.
fn lesson(
    arguments: &ExplainArguments,
    path: &Path,
    global: &Global,
    out: &mut dyn Write,
) -> Result<()> {
    let toy = match &arguments.command {
        Some(ExplainCommand::Toy(toy)) => *toy,
        Some(ExplainCommand::Claims) | None if arguments.own.config.is_none() => {
            toy::ToyArguments::default()
        }
        _ => {
            return Err(refused(
                "--html makes a page of the toy and the claims alone\n  help: leave the subject out, or explain toy --html FILE".to_owned(),
            ));
        }
    };
    let found = toy.explain()?;
    let page = toy_page::render(&found, &claims::all(), &date::today());
    let path = &super::report::target(path.to_path_buf())?;
    write_atomically(path, page.as_bytes())?;
    let text = if global.json {
        json::document(&serde_json::json!({ "report": path, "bytes": page.len() }))
    } else {
        format!("{} ({} bytes)\n", path.display(), page.len())
    };
    print(out, &text)
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

/// Prints what was worked out: as one JSON document, or as people read it.
fn show<T: serde::Serialize>(
    explanation: &T,
    text: impl FnOnce(&T) -> String,
    global: &Global,
    out: &mut dyn Write,
) -> Result<()> {
    let text = if global.json {
        json::document(explanation)
    } else {
        text(explanation)
    };
    print(out, &text)
}

/// A refusal of what the command line asks for.
fn refused(problem: String) -> Error {
    Error::Usage(problem)
}
