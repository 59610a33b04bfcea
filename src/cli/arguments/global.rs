//! Options of every command.

use std::path::PathBuf;

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print exactly one JSON document on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only errors on standard error
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print details on standard error
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// When to color messages
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// How to show progress; auto: a bar on a terminal, else a line per epoch
    #[arg(long, global = true, value_name = "HOW", default_value = "auto")]
    pub progress: ProgressMode,
    /// Look for named datasets only in this folder
    #[arg(long, global = true, value_name = "DIR")]
    pub datasets: Option<PathBuf>,
}

/// When to color messages: always, never, or (auto) on a terminal unless `NO_COLOR` is set.
// clap would print doc comments of the variants as paragraphs of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// How to show progress: a bar on a terminal and lines elsewhere (auto and bar), one line per epoch
/// (plain), or not at all.
// As above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs)]
pub enum ProgressMode {
    Auto,
    Bar,
    Plain,
    None,
}
