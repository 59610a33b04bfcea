//! Arguments of the commands that measure gradient methods or compare measurements.

use std::path::PathBuf;

use super::options::{OverrideArguments, RecordArguments};
use super::thread_list::ThreadList;
use super::values::{MethodRate, Seeds, positive, scale, seconds};

/// Arguments of `nplus1 cost`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nplus1 cost configs/iris.toml
  nplus1 cost configs/iris.toml --measure --dense
  nplus1 cost configs/iris.toml --widths 4,8 --methods backprop
  nplus1 cost configs/iris.toml --scale-all 1,2,4 --methods forward-difference")]
pub struct CostArguments {
    /// Config file, or `llsq` for a least-squares objective without a network
    #[arg(value_name = "CONFIG|llsq", required_unless_present = "resume")]
    pub config: Option<PathBuf>,
    /// Changes of the config; one thread computes unless `--threads` is given.
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// Units of each hidden layer, one network for each number [default: as in the config]
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    pub widths: Option<Vec<usize>>,
    /// Multiply inputs, hidden layers and outputs, one network for each factor; rows are repeated
    /// or cut to the inputs
    #[arg(long, value_name = "S,S,…", value_delimiter = ',', value_parser = scale, conflicts_with = "widths")]
    pub scale_all: Option<Vec<f64>>,
    /// Hidden layers, one network for each number and width [default: as in the config]
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    pub depths: Option<Vec<usize>>,
    /// Rows of the mini-batch, the first training rows [default: as in the config]
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// Numbers of parameters of the least-squares objective [default: 4,8,16,32,64,128]
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    pub sizes: Option<Vec<usize>>,
    /// Methods: NAME or NAME/VARIANT; backprop is always included [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub methods: Option<Vec<String>>,
    /// Multiply zeros and compute equal inputs again, as a plain implementation does: counts,
    /// predictions and times are then of the same work
    #[arg(long)]
    pub dense: bool,
    /// Also measure times, in addition to predicting them
    #[arg(long)]
    pub measure: bool,
    /// Samples of each measured time [default: 7]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: Option<u32>,
    /// Stop a measurement after SECONDS and extrapolate [default: 5]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub limit: Option<f64>,
    /// Where rows and results are kept.
    #[command(flatten)]
    pub record: RecordArguments,
}

impl CostArguments {
    /// Returns whether any option of the study is given beside CONFIG.
    pub fn asks(&self) -> bool {
        self.changes.asks()
            || self.widths.is_some()
            || self.scale_all.is_some()
            || self.dense
            || self.sizes.is_some()
            || self.depths.is_some()
            || self.batch.is_some()
            || self.methods.is_some()
            || self.measure
            || self.repeats.is_some()
            || self.limit.is_some()
    }
}

/// Arguments of `nplus1 race`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nplus1 race configs/iris.toml --limit 1
  nplus1 race configs/iris.toml --limit 1 --methods spsa")]
pub struct RaceArguments {
    /// Config file
    #[arg(required_unless_present = "resume")]
    pub config: Option<PathBuf>,
    /// Changes of the config.
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// Methods to race: NAME, NAME/VARIANT, or with K random directions NAME:K [default: backprop,
    /// forward differences, node perturbation, and SPSA and activation-perturbed forward gradients
    /// along 1, 10 and 100 directions]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub methods: Option<Vec<String>>,
    /// Learning rates of single methods [default: the config's; with sgd and validation rows, SPSA
    /// and forward gradients take the best of at least five that are tried]
    #[arg(long, value_name = "NAME=RATE,…", value_delimiter = ',')]
    pub rates: Vec<MethodRate>,
    /// Seeds of weights, order of rows and random directions [default: the config's and two more]
    #[arg(long, value_name = "A..B")]
    pub seeds: Option<Seeds>,
    /// Seconds of training at each learning rate that is tried [default: a fifth of --limit]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub tuning: Option<f64>,
    /// Report when these accuracies are first reached [default: 0.8,0.9,0.95]
    #[arg(long, value_name = "A,…", value_delimiter = ',')]
    pub targets: Option<Vec<f64>>,
    /// Seconds of training for each method and seed [default: 4.5]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub limit: Option<f64>,
    /// Where rows and results are kept.
    #[command(flatten)]
    pub record: RecordArguments,
}

impl RaceArguments {
    /// Returns whether any option of the study is given beside CONFIG.
    pub fn asks(&self) -> bool {
        self.changes.asks()
            || self.methods.is_some()
            || !self.rates.is_empty()
            || self.targets.is_some()
            || self.seeds.is_some()
            || self.tuning.is_some()
            || self.limit.is_some()
    }
}

/// Arguments of `nplus1 compare`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
It compares the times of two studies of the same command, row by row. To compare two training runs, use
`nplus1 report A B -o compared.html`.

Examples:
  nplus1 cost configs/iris.toml --measure --out a
  nplus1 cost configs/iris.toml --measure --out b
  nplus1 compare a b
  nplus1 compare a b --json")]
pub struct CompareArguments {
    /// First study: its directory or its results.json
    #[arg(value_name = "A")]
    pub one: PathBuf,
    /// Second study, reported as faster or slower than the first
    #[arg(value_name = "B")]
    pub other: PathBuf,
}

/// Arguments of `nplus1 scale`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nplus1 scale configs/iris.toml --threads 1 --runs 1
  nplus1 scale configs/iris.toml --methods backprop --runs 1
  nplus1 scale configs/iris.toml --ranks 1,16,1024 --runs 1")]
pub struct ScaleArguments {
    /// Config file
    #[arg(required_unless_present = "resume", conflicts_with = "resume")]
    pub config: Option<PathBuf>,
    /// Set a key of the config, such as train.batch_size=32 (repeatable)
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "resume")]
    pub set: Vec<String>,
    /// Numbers of threads; those above the number of processors are predicted, not measured
    /// [default: 1,2,4,… and all cores]
    #[arg(long, value_name = "1,2,…", conflicts_with = "resume")]
    pub threads: Option<ThreadList>,
    /// Predict steps by these numbers of ranks (MPI), and measure those of this run under mpirun
    #[arg(long, value_name = "1,2,…", value_delimiter = ',', conflicts_with_all = ["resume", "threads", "weak", "pin", "out"])]
    pub ranks: Option<Vec<usize>>,
    /// Seconds of a round of an exchange between ranks [default: measured under mpirun, else 2e-6]
    #[arg(long, value_name = "SECONDS", requires = "ranks", value_parser = seconds)]
    pub latency: Option<f64>,
    /// Bytes a second that a rank receives [default: measured under mpirun, else 1.2e10]
    #[arg(long, value_name = "BYTES", requires = "ranks", value_parser = positive)]
    pub bandwidth: Option<f64>,
    /// Multiplications a second of a rank: count its work instead of measuring it
    #[arg(long, value_name = "NUMBER", requires = "ranks", value_parser = positive)]
    pub rate: Option<f64>,
    /// Rows of the mini-batches [default: as in the config, and 128]
    #[arg(
        long,
        value_name = "N,N,…",
        value_delimiter = ',',
        conflicts_with = "resume"
    )]
    pub batches: Option<Vec<usize>>,
    /// Methods: NAME or NAME/VARIANT [default: backprop and forward differences]
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
    /// Also measure weak scaling: the mini-batch grows with the number of threads
    #[arg(long, conflicts_with = "resume")]
    pub weak: bool,
    /// Pin each thread to a processor, one on each core first
    #[arg(long, conflicts_with = "resume")]
    pub pin: bool,
    /// Stop a gradient after SECONDS and extrapolate
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, conflicts_with = "resume", value_parser = seconds)]
    pub limit: f64,
    /// Where rows and results are kept.
    #[command(flatten)]
    pub record: RecordArguments,
}
