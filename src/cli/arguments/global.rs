//! Options of every command.

use std::path::PathBuf;

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
