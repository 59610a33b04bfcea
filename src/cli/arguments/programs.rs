//! Arguments of the commands for a function that another program computes.

use std::path::PathBuf;

use super::values::{output, positive, seconds};
use crate::gradient::finite_difference::Increment;

/// How a program is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct ProgramOptions {
    /// θ: an array in JSON, CSV or NPY [default: the θ with which the program greets]
    #[arg(long, value_name = "FILE", requires = "program")]
    pub at: Option<PathBuf>,
    /// Copies of the program that work at the same time [default: the number of cores]
    #[arg(long, value_name = "K", requires = "program",
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: Option<u32>,
    /// Seconds after which an evaluation counts as hanging [default: no limit]
    #[arg(long, value_name = "SECONDS", requires = "program", value_parser = seconds)]
    pub timeout: Option<f64>,
    /// File that keeps every evaluation until the work is done, so that it can go on after an
    /// interruption [default: beside the output, or in this folder]
    #[arg(long, value_name = "FILE", requires = "program", value_parser = output())]
    pub journal: Option<PathBuf>,
}

/// Arguments of `nplus1 gradient`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The program reads a line of JSON and writes one, for each evaluation:
  {\"id\":7,\"want\":[\"loss\"],\"theta\":[1.5,-2.0]}
  {\"id\":7,\"loss\":1.25}
docs/programs.md describes the rest; examples/programs/ has helpers for Python and C++.

Examples:
  nplus1 gradient --program examples/programs/parabola.sh
  nplus1 gradient --program examples/programs/parabola.sh --scheme central -o gradient.json")]
pub struct GradientArguments {
    /// Command that computes the function, run by `sh -c`; `{worker}` in it is the worker's number
    #[arg(long, value_name = "CMD")]
    pub program: String,
    /// How it is asked.
    #[command(flatten)]
    pub options: ProgramOptions,
    /// Forward differences take N + 1 evaluations, central ones 2N, richardson 6N and 9 that measure
    /// the noise (25 where there is much), with an estimate of each error
    #[arg(long, value_name = "SCHEME", default_value = "forward")]
    pub scheme: SchemeName,
    /// Increment: auto, noise (measured first), or a number
    #[arg(long, value_name = "H", default_value = "auto", value_parser = increment_rule)]
    pub increment: Increment,
    /// Write the gradient to this file: .json, .csv or .npy
    #[arg(short, long, value_name = "FILE", value_parser = output())]
    pub output: Option<PathBuf>,
    /// Write the estimated error of each element to this file
    #[arg(long, value_name = "FILE", value_parser = output())]
    pub errors: Option<PathBuf>,
}

/// A scheme of differences.
// clap would print doc comments of the variants as paragraphs of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs)]
pub enum SchemeName {
    Forward,
    Central,
    Richardson,
}

/// Arguments of `nplus1 minimize`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
An interrupted minimization goes on when the same command is given again.

Examples:
  nplus1 minimize --program examples/programs/parabola.sh
  nplus1 minimize --program examples/programs/parabola.sh --gradient program -o theta.json")]
pub struct MinimizeArguments {
    /// Command that computes the function, run by `sh -c`; `{worker}` in it is the worker's number
    #[arg(long, value_name = "CMD")]
    pub program: String,
    /// How it is asked.
    #[command(flatten)]
    pub options: ProgramOptions,
    /// Method that makes the steps
    #[arg(long, value_name = "NAME", default_value = "lbfgs")]
    pub optimizer: OptimizerName,
    /// Learning rate of sgd (default 0.01) and adam (default 0.001)
    #[arg(long, value_name = "RATE", value_parser = positive)]
    pub learning_rate: Option<f64>,
    /// Momentum of sgd
    #[arg(long, value_name = "M", default_value_t = 0.0)]
    pub momentum: f64,
    /// Gradients: forward or central differences, richardson, or the program's own
    #[arg(long, value_name = "SOURCE", default_value = "central")]
    pub gradient: SourceName,
    /// Increment of differences: auto, noise (measured first), or a number
    #[arg(long, value_name = "H", default_value = "auto", value_parser = increment_rule)]
    pub increment: Increment,
    /// Largest number of iterations
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub iterations: u64,
    /// End once no element of the gradient is larger
    #[arg(long, value_name = "SIZE", default_value_t = 1e-5, value_parser = positive)]
    pub tolerance: f64,
    /// Write the best θ to this file: .json, .csv or .npy
    #[arg(short, long, value_name = "FILE", value_parser = output())]
    pub output: Option<PathBuf>,
    /// Write a row for each iteration to this CSV file
    #[arg(long, value_name = "FILE", value_parser = output())]
    pub trace: Option<PathBuf>,
}

/// An optimizer.
// As above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs)]
pub enum OptimizerName {
    Lbfgs,
    Adam,
    Sgd,
}

/// A source of gradients.
// As above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs)]
pub enum SourceName {
    Forward,
    Central,
    Richardson,
    Program,
}

/// Parses a rule for increments.
fn increment_rule(text: &str) -> Result<Increment, String> {
    match text {
        "auto" => Ok(Increment::Auto),
        "noise" => Ok(Increment::Noise),
        _ => super::values::increment(text)
            .map(Increment::Absolute)
            .map_err(|_| "allowed: auto, noise, or a number above 0, such as 1e-6".to_owned()),
    }
}
