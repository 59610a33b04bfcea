//! Options that several commands share.

/// Changes of a config from the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct OverrideArguments {
    /// Set a key of the config, such as train.epochs=3 (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed every random stream with this number
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Use at most so many workers
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

impl OverrideArguments {
    /// Whether there are any.
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
