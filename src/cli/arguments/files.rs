//! Arguments of the commands for datasets, configs, reports and this machine.

use std::path::PathBuf;

use super::options::OverrideArguments;
use super::thread_list::ThreadList;
use super::values::{output, output_or_stdout};

/// The subcommands of `nplus1 data`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum DataCommand {
    /// List the named datasets, and where each is found
    List,
    /// Hold the files of the named datasets against their checksums
    Verify {
        /// One dataset; all of them without a name
        name: Option<String>,
    },
    /// Describe one dataset: rows, classes, values, source, license, files
    Describe {
        /// A named dataset
        name: String,
    },
}

/// `nplus1 config …`.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArguments {
    /// Which of them.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with configs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Say all that is wrong with config files
    Check {
        /// The config files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Changes that they are checked with
        #[command(flatten)]
        changes: OverrideArguments,
    },
    /// Print a config with every default filled in
    Show {
        /// The config file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Changes that it is shown with
        #[command(flatten)]
        changes: OverrideArguments,
    },
    /// Write a commented config to start from
    Init {
        /// The file to write, which must not exist yet; none, or `-`: standard output
        #[arg(value_name = "FILE", value_parser = output_or_stdout())]
        file: Option<PathBuf>,
    },
}

/// `nplus1 report`.
#[derive(Clone, Debug, clap::Args)]
pub struct ReportArguments {
    /// Directories of runs or studies
    #[arg(required = true, value_name = "RUN|STUDY")]
    pub sources: Vec<PathBuf>,
    /// The page; without it report.html in the directory, if there is one
    #[arg(short, long, value_name = "FILE", conflicts_with = "text", value_parser = output())]
    pub output: Option<PathBuf>,
    /// Print it here instead
    #[arg(long)]
    pub text: bool,
    /// Write the pictures as SVG into this folder, too
    #[arg(long, value_name = "DIR", conflicts_with = "text", value_parser = output())]
    pub figures: Option<PathBuf>,
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
