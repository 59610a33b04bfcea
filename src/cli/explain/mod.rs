//! `nplus1 explain`: claims about gradients, computed in numbers.

pub mod claims;
pub mod lbfgs;
pub mod logistic;
pub mod network;
pub mod toy;
pub mod weight;

use std::io::Write;
use std::path::Path;

use super::arguments::{ExplainArguments, ExplainCommand, Global, OverrideArguments, ToyArguments};
use super::output::{Messages, print};
use super::page::target;
use crate::error::{Error, Result};
use crate::format::file::write_atomically;
use crate::report::{date, toy_page};
use crate::run::json;

/// Explains what the arguments ask for.
///
/// # Errors
/// The errors of the subcommand.
pub fn run(
    arguments: &ExplainArguments,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    if let Some(path) = &arguments.html {
        return write_page(arguments, path, global, out);
    }
    let weight = &arguments.own;
    let changed = weight.changes != OverrideArguments::default();
    match (&arguments.command, &weight.config) {
        (Some(_), config) if changed || config.is_some() => Err(Error::Usage(
            "a CONFIG or its changes precede the subcommand, which ignores them\n  help: put them after it, such as `nplus1 explain network CONFIG --set KEY=VALUE`".to_owned(),
        )),
        (Some(ExplainCommand::Toy(toy)), _) => toy::run(toy, global, out),
        (Some(ExplainCommand::Logistic(logistic)), _) => logistic::run(logistic, global, out),
        (Some(ExplainCommand::Network(network)), _) => network::run(network, global, out),
        (Some(ExplainCommand::Lbfgs(lbfgs)), _) => lbfgs::run(lbfgs, global, messages, out),
        (None, Some(path)) if path.try_exists().is_ok_and(|there| !there) => Err(Error::refused(path, "no such config").help(
            "explain a CONFIG, or one of the subjects claims, toy, logistic, network, lbfgs",
        )),
        (None, Some(path)) => weight::run(weight, path, global, messages, out),
        (None, None) if changed => Err(Error::Usage(
            "changes of a config without a CONFIG\n  help: add it, such as `nplus1 explain CONFIG --seed 3`".to_owned(),
        )),
        (Some(ExplainCommand::Claims) | None, _) => claims::run(global, out),
    }
}

/// Writes the page with the toy and the claims.
fn write_page(
    arguments: &ExplainArguments,
    path: &Path,
    global: &Global,
    out: &mut dyn Write,
) -> Result<()> {
    let toy = match &arguments.command {
        Some(ExplainCommand::Toy(toy)) => *toy,
        Some(ExplainCommand::Claims) | None if arguments.own.config.is_none() => {
            ToyArguments::default()
        }
        _ => {
            return Err(Error::Usage(
                "--html writes a page of the toy and the claims only\n  help: leave the subcommand out, or use `nplus1 explain toy --html FILE`".to_owned(),
            ));
        }
    };
    let found = toy::explain(&toy)?;
    let page = toy_page::render(&found, &claims::all(), &date::today());
    let path = &target(path.to_path_buf())?;
    write_atomically(path, page.as_bytes())?;
    let text = if global.json {
        json::document(&serde_json::json!({ "report": path, "bytes": page.len() }))
    } else {
        format!("{} ({} bytes)\n", path.display(), page.len())
    };
    print(out, &text)
}
