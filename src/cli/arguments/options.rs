//! Options that several commands share.

use std::path::PathBuf;

use super::values::output;

/// Changes of a config from the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct OverrideArguments {
    /// Set a key of the config, such as train.epochs=3 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed of all random streams
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Largest number of threads
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

impl OverrideArguments {
    /// Returns whether any option is given.
    pub fn asks(&self) -> bool {
        !self.set.is_empty() || self.seed.is_some() || self.threads.is_some()
    }
}

/// Whether a command that ends with results writes a page of them.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct PageArguments {
    /// Write no report.html
    #[arg(long)]
    pub no_report: bool,
}

/// Where a study keeps its rows and results.
#[derive(Clone, Debug, clap::Args)]
pub struct RecordArguments {
    /// Directory of the study [default: studies/NAME/NNN]
    #[arg(long, value_name = "DIR", conflicts_with = "resume", value_parser = output())]
    pub out: Option<PathBuf>,
    /// Resume the study in this directory; without CONFIG, with its original options
    #[arg(long, value_name = "DIR")]
    pub resume: Option<PathBuf>,
    /// The page at the end.
    #[command(flatten)]
    pub page: PageArguments,
}
