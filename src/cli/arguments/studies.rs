//! Arguments of the commands that measure gradient methods, and of the one that compares measurements.

use std::path::PathBuf;

use super::options::{OverrideArguments, PageArguments};
use super::thread_list::ThreadList;
use super::values::{MethodRate, output, seconds};

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
