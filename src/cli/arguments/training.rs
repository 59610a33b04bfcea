//! Arguments of the commands that train, evaluate and check a network.

use std::path::PathBuf;

use super::options::{OverrideArguments, PageArguments, RecordArguments};
#[cfg(unix)]
use super::programs::ProgramOptions;
use super::values::{Seeds, output};

/// Arguments of `nplus1 train`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nplus1 train configs/iris.toml
  nplus1 train configs/iris.toml --seeds 1..3 --no-report")]
pub struct TrainArguments {
    /// Config file
    #[arg(required_unless_present = "resume", conflicts_with = "resume")]
    pub config: Option<PathBuf>,
    /// Resume the run in this directory from its newest checkpoint
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "seed", "seeds", "init_from", "dry_run"])]
    pub resume: Option<PathBuf>,
    /// Changes of the config.
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// Train once with each seed from A to B, both included
    #[arg(long, value_name = "A..B", conflicts_with_all = ["seed", "out"])]
    pub seeds: Option<Seeds>,
    /// Directory of the run [default: runs/NAME/NNN]
    #[arg(long, value_name = "DIR", value_parser = output())]
    pub out: Option<PathBuf>,
    /// Start from the parameters of this model
    #[arg(long, value_name = "FILE")]
    pub init_from: Option<PathBuf>,
    /// Show what would be trained, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The page at the end.
    #[command(flatten)]
    pub page: PageArguments,
}

/// Arguments of `nplus1 eval`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nplus1 train configs/iris.toml --out iris-run
  nplus1 eval iris-run/fold-01 --confusion
  nplus1 eval iris-run/fold-01 --data iris")]
pub struct EvalArguments {
    /// Directory of a run, or a model file
    #[arg(value_name = "RUN|MODEL")]
    pub model: PathBuf,
    /// Named dataset (its test part), CSV or NPZ file, folder of pictures, or image and label files
    /// [default: the run's test part]
    #[arg(long, value_name = "NAME|FILE", num_args = 1..=2)]
    pub data: Vec<PathBuf>,
    /// Print the confusion matrix
    #[arg(long)]
    pub confusion: bool,
}

/// Arguments of `nplus1 predict`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The columns of a CSV with a header are found by name: their order is free, further ones are
ignored, a label is not needed. `-` reads a CSV from standard input and answers each row at once.
-o writes CSV, JSON Lines or NPY, by the name's extension: .csv, .jsonl or .npy; the file appears
when it is complete. An NPY holds the classes, or with --probabilities the probabilities alone.

Examples:
  nplus1 train configs/iris.toml --out iris-run
  nplus1 predict iris-run/fold-01 datasets/iris/iris.csv
  nplus1 predict iris-run/fold-01 datasets/iris/iris.csv --probabilities -o iris.jsonl")]
pub struct PredictArguments {
    /// Directory of a run, or a model file
    #[arg(value_name = "RUN|MODEL")]
    pub model: PathBuf,
    /// CSV, IDX, NPY, NPZ or PNG file, or a folder of PNG files; `-`: a CSV from standard input
    #[arg(value_name = "INPUT|-")]
    pub input: PathBuf,
    /// File to write [default: CSV on standard output]
    #[arg(short, long, value_name = "FILE", value_parser = output())]
    pub output: Option<PathBuf>,
    /// Also give the probability of each class
    #[arg(long)]
    pub probabilities: bool,
}

/// Arguments of `nplus1 check`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The file of --against is a safetensors file or an NPZ, that of --save safetensors or FILE.npz, with
the tensors
  layers.K.weight  (fan_out, fan_in), for each layer K from 0
  layers.K.bias    (fan_out)
in float64 or float32, or with the names of PyTorch's nn.Sequential (0.weight, 0.bias, 2.weight, …):
the gradient of the mean loss of the rows, l2 included (½·l2 times the sum of squared weights).
In Python: gradient = {\"layers.0.weight\": g, …}, then safetensors.numpy.save_file(gradient, FILE)
or numpy.savez(FILE, **gradient).

A row is `ok` if every element is within its bound and the bounds are at most 10 % of the gradient,
`WRONG` (exit code 3) if an element is beyond its bound, and `cannot tell` otherwise.

With --program, the gradient of your own function is checked: the program's, or with --against the one
in a JSON, CSV or NPY file. Large gradients are checked along random directions, unless --full is given,
and wrong elements are searched. docs/programs.md describes the program's side.

Examples:
  nplus1 check configs/iris.toml
  nplus1 check --program examples/programs/parabola.sh
  nplus1 check configs/iris.toml --sweep --rows 5")]
pub struct CheckArguments {
    /// Config file
    #[arg(required_unless_present_any = ["program", "resume"])]
    pub config: Option<PathBuf>,
    /// Check the gradient of the function that this command computes, run by `sh -c`
    #[arg(long, value_name = "CMD",
        conflicts_with_all = ["config", "set", "seed", "threads", "weights", "rows", "sweep", "save", "out", "resume", "no_report"])]
    pub program: Option<String>,
    /// How it is asked.
    #[cfg(unix)]
    #[command(flatten)]
    pub options: ProgramOptions,
    /// Write a page of a function's check to this file, and its numbers beside it, as JSON
    #[arg(long, value_name = "FILE", requires = "program", value_parser = output())]
    pub html: Option<PathBuf>,
    /// Changes of the config.
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// Check at the parameters of this model or run [default: the parameters that training starts
    /// from]
    #[arg(long, value_name = "FILE|RUN")]
    pub weights: Option<PathBuf>,
    /// Use the first N training rows [default: the size of a mini-batch]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rows: Option<u32>,
    /// Compute every gradient in full, however many passes it takes
    #[arg(long, conflicts_with = "directions")]
    pub full: bool,
    /// Check backprop along K random directions instead of computing full finite-difference
    /// gradients
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub directions: Option<u32>,
    /// Also show measured and predicted errors at increments from 1e-1 to 1e-14 (to 1e-30 without
    /// cancellation), and compare backprop with the complex step; -v lists every increment
    #[arg(long)]
    pub sweep: bool,
    /// Write backprop's gradient in double precision to this file, .safetensors or .npz
    #[arg(long, value_name = "FILE", value_parser = output())]
    pub save: Option<PathBuf>,
    /// Compare with the gradient in this file, made by another program (formats below)
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Where the rows of --sweep are kept.
    #[command(flatten)]
    pub record: RecordArguments,
}
