//! Arguments of the commands that train, evaluate and check a network.

use std::path::PathBuf;

use super::options::{OverrideArguments, PageArguments};
use super::values::{Seeds, output};

/// `nplus1 train`.
#[derive(Clone, Debug, clap::Args)]
pub struct TrainArguments {
    /// The config file
    #[arg(required_unless_present = "resume", conflicts_with = "resume")]
    pub config: Option<PathBuf>,
    /// Go on with the run in this directory, from its newest checkpoint
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "seed", "seeds", "init_from", "dry_run"])]
    pub resume: Option<PathBuf>,
    /// Changes of the config.
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// Train once with each seed from A to B, both included
    #[arg(long, value_name = "A..B", conflicts_with_all = ["seed", "out"])]
    pub seeds: Option<Seeds>,
    /// The run's own directory; without it runs/NAME/NNN
    #[arg(long, value_name = "DIR", value_parser = output())]
    pub out: Option<PathBuf>,
    /// Start from the parameters of this model
    #[arg(long, value_name = "FILE")]
    pub init_from: Option<PathBuf>,
    /// Say what would be trained, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The page at the end.
    #[command(flatten)]
    pub page: PageArguments,
}

/// `nplus1 eval`.
#[derive(Clone, Debug, clap::Args)]
pub struct EvalArguments {
    /// A run's directory, or a model file
    #[arg(value_name = "RUN|MODEL")]
    pub model: PathBuf,
    /// A dataset by name (its test part), a CSV, or an images and a labels file; without it the
    /// run's own test part
    #[arg(long, value_name = "NAME|FILE", num_args = 1..=2)]
    pub data: Vec<PathBuf>,
    /// Print the confusion matrix
    #[arg(long)]
    pub confusion: bool,
}

/// `nplus1 check`.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArguments {
    /// The config file
    pub config: PathBuf,
    /// Changes of the config.
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// Check at the parameters of this model or run; without it at those that training starts from
    #[arg(long, value_name = "FILE|RUN")]
    pub weights: Option<PathBuf>,
    /// Take so many training rows, the first; without it as many as a mini-batch has
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rows: Option<u32>,
    /// Make every gradient whole, however many passes it takes
    #[arg(long, conflicts_with = "directions")]
    pub full: bool,
    /// Check backprop along K random directions, and make no gradient by differences
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub directions: Option<u32>,
    /// Tell the error at increments from 1e-1 to 1e-14 as well (without cancellation: to 1e-30), beside
    /// the error predicted there, and how far backprop is from the complex step
    #[arg(long)]
    pub sweep: bool,
    /// Write backprop's gradient, in double precision, to this safetensors file
    #[arg(long, value_name = "FILE", value_parser = output())]
    pub save: Option<PathBuf>,
    /// Compare with the gradient in this safetensors file, made by another program
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// With --sweep: the study's own directory; without it studies/NAME/NNN
    #[arg(long, value_name = "DIR", requires = "sweep", value_parser = output())]
    pub out: Option<PathBuf>,
    /// The page at the end.
    #[command(flatten)]
    pub page: PageArguments,
}
