//! Arguments of the commands for datasets, configs, reports and this machine.

use std::path::PathBuf;

use super::options::OverrideArguments;
use super::thread_list::ThreadList;
use super::values::{output, output_or_stdout};

/// Arguments of `nplus1 data`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nplus1 data list
  nplus1 data describe iris")]
pub struct DataArguments {
    /// The subcommand.
    #[command(subcommand)]
    pub command: DataCommand,
}

/// Subcommands of `nplus1 data`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum DataCommand {
    /// List the named datasets and their folders
    #[command(after_help = "\
Examples:
  nplus1 data list
  nplus1 data list --json")]
    List,
    /// Compare the files of the named datasets with their checksums
    #[command(after_help = "\
Examples:
  nplus1 data verify
  nplus1 data verify iris")]
    Verify {
        /// Named dataset [default: all]
        name: Option<String>,
    },
    /// Describe a named dataset, or a table of your own: rows, columns, classes, values
    #[command(after_help = "\
Examples:
  nplus1 data describe iris
  nplus1 data describe examples/fruit.csv
  nplus1 data describe examples/fruit.csv --label color --json")]
    Describe {
        /// Named dataset, CSV file, folder of pictures, or IDX images
        #[arg(value_name = "NAME|FILE")]
        name: PathBuf,
        /// IDX labels that belong to the images
        labels: Option<PathBuf>,
        /// Label column of a CSV, by header or number from 0 [default: the last]
        #[arg(long, value_name = "COLUMN", conflicts_with = "labels")]
        label: Option<String>,
    },
}

/// Arguments of `nplus1 config`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nplus1 config check configs/iris.toml
  nplus1 config init first.toml")]
pub struct ConfigArguments {
    /// The subcommand.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// Subcommands of `nplus1 config`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Report every error in config files
    #[command(after_help = "\
Examples:
  nplus1 config check configs/iris.toml configs/wine.toml
  nplus1 config check configs/iris.toml --set train.epochs=3")]
    Check {
        /// Config files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Changes of the configs.
        #[command(flatten)]
        changes: OverrideArguments,
    },
    /// Print a config with every default filled in
    #[command(after_help = "\
Examples:
  nplus1 config show configs/iris.toml
  nplus1 config show configs/iris.toml --seed 3 --json")]
    Show {
        /// Config file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Changes of the config.
        #[command(flatten)]
        changes: OverrideArguments,
    },
    /// Write a commented config to start from
    #[command(after_help = "\
Examples:
  nplus1 config init
  nplus1 config init first.toml
  nplus1 config init fruit.toml --data examples/fruit.csv")]
    Init {
        /// Write the config that trains on this CSV file instead
        #[arg(long, value_name = "FILE")]
        data: Option<PathBuf>,
        /// Label column of the CSV, by header or number from 0 [default: the last]
        #[arg(long, value_name = "COLUMN", requires = "data")]
        label: Option<String>,
        /// File to write, which must not exist yet; `-` is standard output [default: -]
        #[arg(value_name = "FILE", value_parser = output_or_stdout())]
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of configs, for editors
    #[command(after_help = "\
Examples:
  nplus1 config schema
  nplus1 config schema config.schema.json")]
    Schema {
        /// File to write, which must not exist yet; `-` is standard output [default: -]
        #[arg(value_name = "FILE", value_parser = output_or_stdout())]
        file: Option<PathBuf>,
    },
}

/// Arguments of `nplus1 report`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nplus1 train configs/iris.toml --out iris-run
  nplus1 report iris-run --text
  nplus1 report iris-run -o iris.html")]
pub struct ReportArguments {
    /// Directories of runs or studies, or the JSON file of a function's check
    #[arg(required = true, value_name = "RUN|STUDY|CHECK.json")]
    pub sources: Vec<PathBuf>,
    /// File of the page [default: report.html in the directory, if there is only one]
    #[arg(short, long, value_name = "FILE", conflicts_with = "text", value_parser = output())]
    pub output: Option<PathBuf>,
    /// Print the report as text instead
    #[arg(long)]
    pub text: bool,
    /// Also write the figures as SVG files to this folder
    #[arg(long, value_name = "DIR", conflicts_with = "text", value_parser = output())]
    pub figures: Option<PathBuf>,
}

/// Arguments of `nplus1 env`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nplus1 env
  nplus1 env --json")]
pub struct EnvArguments {
    /// Measure the peak rates of multiply-adds and of reads from memory
    #[arg(long)]
    pub peaks: bool,
    /// Numbers of threads for --peaks [default: 1,2,4,… and all cores]
    #[arg(long, value_name = "1,2,…", requires = "peaks")]
    pub threads: Option<ThreadList>,
}
