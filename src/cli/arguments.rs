//! The arguments, as clap reads them. What they mean is decided elsewhere.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};

use super::config::{ConfigArguments, OverrideArguments};
use super::report::{PageArguments, ReportArguments};
use super::thread_list::ThreadList;

/// Trains small multilayer sigmoid networks from TOML files, and measures what a gradient costs
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "nplus1", version, arg_required_else_help = true)]
pub struct Arguments {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// Which command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// Print exactly one JSON document on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing on standard error but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more on standard error
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// When to color messages
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// How to show progress; auto: a bar on a terminal, a plain line an epoch elsewhere
    #[arg(long, global = true, value_name = "HOW", default_value = "auto")]
    pub progress: ProgressMode,
    /// Look for named datasets in this folder alone
    #[arg(long, global = true, value_name = "DIR")]
    pub datasets: Option<PathBuf>,
}

/// When to color messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ProgressMode {
    /// A bar on a terminal, plain lines elsewhere.
    Auto,
    /// A bar with the time left; plain lines where there is no terminal to draw it on.
    Bar,
    /// One line an epoch.
    Plain,
    /// Not at all.
    None,
}

/// The commands.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Train a network as a config says
    Train(TrainArguments),
    /// Evaluate a trained model: loss, accuracy, figures of each class
    Eval(EvalArguments),
    /// Hold every way to a gradient against backprop in double precision
    Check(CheckArguments),
    /// Work out claims about gradients in numbers
    Explain(super::explain::ExplainArguments),
    /// Tell what a gradient costs by every method: losses, operations, memory, time, against N
    Cost(CostArguments),
    /// Train by one gradient method after the other, from the same start, against the clock
    Race(RaceArguments),
    /// List, verify or describe the named datasets
    Data {
        /// Which of them.
        #[command(subcommand)]
        command: super::data::DataCommand,
    },
    /// Check, show or start configs
    Config(ConfigArguments),
    /// Measure how each method uses threads: speedup, efficiency, the laws that fit
    Scale(ScaleArguments),
    /// Make a page of what runs and studies found
    Report(ReportArguments),
    /// Compare two results of a study, of two machines or versions
    Compare(CompareArguments),
    /// Describe this program and this machine, and what it can do at best
    Env(EnvArguments),
}

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

/// `nplus1 scale`.
#[derive(Clone, Debug, clap::Args)]
pub struct ScaleArguments {
    /// The config file
    #[arg(required_unless_present = "resume")]
    pub config: Option<PathBuf>,
    /// Set a key of the config, such as train.batch_size=32 (may be repeated)
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "resume")]
    pub set: Vec<String>,
    /// Numbers of threads; without it 1, 2, 4, … and all cores (where there are more than
    /// processors, one thread a processor does the work of all in turn)
    #[arg(long, value_name = "1,2,…", conflicts_with = "resume")]
    pub threads: Option<ThreadList>,
    /// Rows of the mini-batches; without it the config's own, and 128
    #[arg(
        long,
        value_name = "N,N,…",
        value_delimiter = ',',
        conflicts_with = "resume"
    )]
    pub batches: Option<Vec<usize>>,
    /// Methods by name, or name/way; without it backprop and forward differences
    #[arg(
        long,
        value_name = "NAME,…",
        value_delimiter = ',',
        conflicts_with = "resume"
    )]
    pub methods: Option<Vec<String>>,
    /// Samples of each method, mini-batch and number of threads
    #[arg(long, value_name = "N", default_value_t = 7, conflicts_with = "resume",
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Weak scaling, too: mini-batches of as many rows for each thread
    #[arg(long, conflicts_with = "resume")]
    pub weak: bool,
    /// Keep each thread on a processor, one of each core first
    #[arg(long, conflicts_with = "resume")]
    pub pin: bool,
    /// Break a gradient off after so many seconds, and tell the rest from the share that is done
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, conflicts_with = "resume", value_parser = seconds)]
    pub limit: f64,
    /// The study's own directory; without it studies/NAME/NNN
    #[arg(long, value_name = "DIR", conflicts_with = "resume", value_parser = output())]
    pub out: Option<PathBuf>,
    /// Go on with the study in this directory, as it was begun
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub resume: Option<PathBuf>,
    /// The page at the end.
    #[command(flatten)]
    pub page: PageArguments,
}

/// `nplus1 compare`.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareArguments {
    /// The first: a study's directory, or its results.json
    #[arg(value_name = "A")]
    pub one: PathBuf,
    /// The second, which is told to be faster or slower
    #[arg(value_name = "B")]
    pub other: PathBuf,
}

/// `nplus1 env`.
#[derive(Clone, Debug, clap::Args)]
pub struct EnvArguments {
    /// Measure multiply-adds and reads from memory a second
    #[arg(long)]
    pub peaks: bool,
    /// At these numbers of threads; without it 1, 2, 4, … and all cores
    #[arg(long, value_name = "1,2,…", requires = "peaks")]
    pub threads: Option<ThreadList>,
}

/// `nplus1 cost`.
#[derive(Clone, Debug, clap::Args)]
pub struct CostArguments {
    /// The config file; or `llsq`, a least-squares objective without a network
    #[arg(value_name = "CONFIG|llsq", required_unless_present = "resume")]
    pub config: Option<PathBuf>,
    /// Changes of the config; without --threads, one worker computes
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// Units of each hidden layer, one network a number; without it the config's own
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    pub widths: Option<Vec<usize>>,
    /// Hidden layers, one network a number and width; without it the config's own
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    pub depths: Option<Vec<usize>>,
    /// Rows of the mini-batch, the first training rows; without it the config's own
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// Parameters of the least-squares objective, one row a number and way
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    pub sizes: Option<Vec<usize>>,
    /// Only these methods: a name, or name/way; backprop is always one
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub methods: Option<Vec<String>>,
    /// Measure times as well, not only predict them
    #[arg(long)]
    pub measure: bool,
    /// Samples of a measured time; without it 7
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: Option<u32>,
    /// Break a measurement off after so many seconds, and tell the rest from the share that is done;
    /// without it 5
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub limit: Option<f64>,
    /// The study's own directory; without it studies/NAME/NNN
    #[arg(long, value_name = "DIR", conflicts_with = "resume", value_parser = output())]
    pub out: Option<PathBuf>,
    /// Go on with the study in this directory; without CONFIG, as it was begun
    #[arg(long, value_name = "DIR")]
    pub resume: Option<PathBuf>,
    /// The page at the end.
    #[command(flatten)]
    pub page: PageArguments,
}

impl CostArguments {
    /// Whether anything is asked beside CONFIG.
    pub fn asks(&self) -> bool {
        self.changes.asks()
            || self.widths.is_some()
            || self.sizes.is_some()
            || self.depths.is_some()
            || self.batch.is_some()
            || self.methods.is_some()
            || self.measure
            || self.repeats.is_some()
            || self.limit.is_some()
    }
}

/// `nplus1 race`.
#[derive(Clone, Debug, clap::Args)]
pub struct RaceArguments {
    /// The config file
    #[arg(required_unless_present = "resume")]
    pub config: Option<PathBuf>,
    /// Changes of the config.
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// Who runs: methods by name, or name/way; without it backprop and forward-difference
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub methods: Option<Vec<String>>,
    /// Learning rates of methods that do not take the config's; with sgd, estimates along random
    /// directions take it over √N unless told, which makes their steps as long as the gradient's
    #[arg(long, value_name = "NAME=RATE,…", value_delimiter = ',')]
    pub rates: Vec<MethodRate>,
    /// Accuracies whose first reaching is told; without it 0.9 and 0.95
    #[arg(long, value_name = "A,…", value_delimiter = ',')]
    pub targets: Option<Vec<f64>>,
    /// Seconds of training that each method has; without it 30
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub limit: Option<f64>,
    /// The study's own directory; without it studies/NAME/NNN
    #[arg(long, value_name = "DIR", conflicts_with = "resume", value_parser = output())]
    pub out: Option<PathBuf>,
    /// Go on with the race in this directory; without CONFIG, as it was begun
    #[arg(long, value_name = "DIR")]
    pub resume: Option<PathBuf>,
    /// The page at the end.
    #[command(flatten)]
    pub page: PageArguments,
}

impl RaceArguments {
    /// Whether anything is asked beside CONFIG.
    pub fn asks(&self) -> bool {
        self.changes.asks()
            || self.methods.is_some()
            || !self.rates.is_empty()
            || self.targets.is_some()
            || self.limit.is_some()
    }
}

/// `NAME=RATE`: a method's learning rate.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodRate {
    /// The method.
    pub method: String,
    /// Above 0.
    pub rate: f64,
}

impl std::str::FromStr for MethodRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = "allowed: NAME=RATE, with a rate above 0, such as spsa=1e-4";
        let (method, rate) = text.split_once('=').ok_or(allowed)?;
        match rate.parse::<f64>() {
            Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(Self {
                method: method.to_owned(),
                rate,
            }),
            _ => Err(allowed.to_owned()),
        }
    }
}

/// Parses the path of a file or folder to write.
pub(super) fn output() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(no_option)
}

/// As [`output`], or `-` for standard output.
pub(super) fn output_or_stdout() -> impl TypedValueParser<Value = PathBuf> {
    let stdout = |path: &PathBuf| path.as_os_str() == "-";
    PathBufValueParser::new().try_map(move |path| {
        if stdout(&path) {
            Ok(path)
        } else {
            no_option(path)
        }
    })
}

/// Refuses a path that other programs would take for an option.
fn no_option(path: PathBuf) -> Result<PathBuf, &'static str> {
    let dash = |name: &OsStr| name.as_encoded_bytes().starts_with(b"-");
    if dash(path.as_os_str()) || path.file_name().is_some_and(dash) {
        return Err(
            "other programs would take a name that begins with `-` for an option; allowed: names that begin otherwise",
        );
    }
    Ok(path)
}

/// A time limit: above 0, at most a year.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3.2e7 => Ok(seconds),
        _ => Err("allowed: a number of seconds above 0, a year at most".to_owned()),
    }
}

/// `A..B`: both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    /// The first seed.
    pub first: u64,
    /// The last seed, not below the first.
    pub last: u64,
}

impl Seeds {
    /// The largest seed that a config can have.
    const LARGEST: u64 = i64::MAX.unsigned_abs();

    /// One seed.
    pub fn only(seed: u64) -> Self {
        Self {
            first: seed,
            last: seed,
        }
    }

    /// All seeds, in order.
    pub fn iter(self) -> impl Iterator<Item = u64> {
        self.first..=self.last
    }
}

impl std::str::FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let largest = Self::LARGEST;
        let allowed = format!(
            "allowed: A..B, both included, with A not above B and B at most {largest}, such as 1..5"
        );
        let number = |text: &str| {
            let seed = text.parse().ok().filter(|&seed: &u64| seed <= largest);
            seed.ok_or_else(|| format!("`{text}` is no seed; {allowed}"))
        };
        let (first, last) = text.split_once("..").ok_or_else(|| allowed.clone())?;
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("{first} is above {last}; {allowed}"));
        }
        Ok(Self { first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for line in [
            "nplus1 --json --progress plain train a.toml",
            "nplus1 train a.toml --json --progress plain",
        ] {
            let global = parse(line).unwrap().global;
            assert!(global.json && global.progress == ProgressMode::Plain);
        }
    }

    #[test]
    fn contradictions_are_usage_errors() {
        for line in [
            "nplus1 train",
            "nplus1 train a.toml --resume runs/a/001",
            "nplus1 train --resume runs/a/001 --seed 3",
            "nplus1 train --resume runs/a/001 --out b",
            "nplus1 train a.toml --seed 1 --seeds 1..5",
            "nplus1 train a.toml --seeds 5..1",
            "nplus1 train a.toml --seeds 1",
            "nplus1 train a.toml --seeds 1..x",
            "nplus1 train a.toml --seeds 1..9223372036854775808",
            "nplus1 train a.toml -q -v",
            "nplus1 eval",
            "nplus1 eval a --data b c d",
            "nplus1 check",
            "nplus1 check a.toml --full --directions 3",
            "nplus1 check a.toml --directions 0",
            "nplus1 check a.toml --rows 0",
            "nplus1 cost",
            "nplus1 cost a.toml --batch 0",
            "nplus1 cost a.toml --repeats 0",
            "nplus1 cost a.toml --limit 0",
            "nplus1 cost a.toml --limit nan",
            "nplus1 cost a.toml --widths 1,x",
            "nplus1 cost a.toml --out b --resume c",
            "nplus1 race",
            "nplus1 race a.toml --limit 0",
            "nplus1 race a.toml --rates spsa",
            "nplus1 race a.toml --rates spsa=0",
            "nplus1 dance",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn seeds_include_both_ends() {
        let seeds: Seeds = "1..5".parse().unwrap();
        assert_eq!(seeds.iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let last: Seeds = format!("{0}..{0}", i64::MAX).parse().unwrap();
        assert_eq!(last.iter().count(), 1);
    }
}
