//! The arguments, as clap reads them. What they mean is decided elsewhere.

mod explain;
mod files;
mod global;
mod options;
mod studies;
mod thread_list;
mod training;
mod values;

pub use explain::{
    ExplainArguments, ExplainCommand, LbfgsArguments, LogisticArguments, NetworkArguments,
    ToyArguments, WeightArguments,
};
pub use files::{ConfigArguments, ConfigCommand, DataCommand, EnvArguments, ReportArguments};
pub use global::{Color, Global, ProgressMode};
pub use options::{OverrideArguments, PageArguments};
pub use studies::{CompareArguments, CostArguments, RaceArguments, ScaleArguments};
pub use thread_list::ThreadList;
pub use training::{CheckArguments, EvalArguments, TrainArguments};
pub use values::{MethodRate, Seeds};

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
    Explain(ExplainArguments),
    /// Tell what a gradient costs by every method: losses, operations, memory, time, against N
    Cost(CostArguments),
    /// Train by one gradient method after the other, from the same start, against the clock
    Race(RaceArguments),
    /// List, verify or describe the named datasets
    Data {
        /// Which of them.
        #[command(subcommand)]
        command: DataCommand,
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
}
