//! The arguments as clap parses them, without the behavior that hangs on them.

mod explain;
mod export;
mod files;
mod global;
mod options;
#[cfg(unix)]
mod programs;
mod studies;
mod thread_list;
mod training;
mod values;

pub use explain::{
    ExplainArguments, ExplainCommand, LbfgsArguments, LogisticArguments, NetworkArguments,
    ToyArguments, WeightArguments,
};
pub use export::ExportArguments;
pub use files::{
    ConfigArguments, ConfigCommand, DataArguments, DataCommand, EnvArguments, ReportArguments,
};
pub use global::{Color, Global, ProgressMode};
pub use options::{OverrideArguments, PageArguments, RecordArguments};
#[cfg(unix)]
pub use programs::{
    GradientArguments, MinimizeArguments, OptimizerName, ProgramOptions, SchemeName, SourceName,
};
pub use studies::{CompareArguments, CostArguments, RaceArguments, ScaleArguments};
pub use thread_list::ThreadList;
pub use training::{CheckArguments, EvalArguments, PredictArguments, TrainArguments};
pub use values::{MethodRate, Seeds};

/// Train small multilayer sigmoid networks from TOML files, and measure what a gradient costs
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "nplus1",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Arguments {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Train a network from a config
    Train(TrainArguments),
    /// Evaluate a trained model: loss, accuracy, figures of each class
    Eval(EvalArguments),
    /// Ask a trained model: the class of each row, or its numbers, of a file or a stream
    Predict(PredictArguments),
    /// Write a trained model as C, Rust, ONNX, NPZ or safetensors
    Export(ExportArguments),
    /// Compare every gradient method with backprop in double precision; or check your own gradient
    Check(CheckArguments),
    /// Compute the gradient of your own function, which any program computes
    #[cfg(unix)]
    Gradient(GradientArguments),
    /// Minimize your own function
    #[cfg(unix)]
    Minimize(MinimizeArguments),
    /// Explain claims about gradients in numbers
    Explain(ExplainArguments),
    /// Show the cost of a gradient by each method
    Cost(CostArguments),
    /// Race gradient methods against the clock, from the same start
    Race(RaceArguments),
    /// List, verify or describe the named datasets
    Data(DataArguments),
    /// Check, show or create configs
    Config(ConfigArguments),
    /// Measure how each method scales with threads
    Scale(ScaleArguments),
    /// Make a page from the results of runs and studies
    Report(ReportArguments),
    /// Compare the times of two studies
    Compare(CompareArguments),
    /// Describe this program and this machine
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
    fn global_options_are_accepted_before_and_after_the_command() {
        for line in [
            "nplus1 --json --progress plain train a.toml",
            "nplus1 train a.toml --json --progress plain",
        ] {
            let global = parse(line).unwrap().global;
            assert!(global.json && global.progress == ProgressMode::Plain);
        }
    }

    #[test]
    fn contradictory_options_are_usage_errors() {
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
            "nplus1 predict a",
            "nplus1 predict a b -o",
            "nplus1 export a",
            "nplus1 export a -o b.c --format cobol",
            "nplus1 export a -o b.c --weights f8",
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
            "nplus1 check a.toml --program b",
            "nplus1 check --at theta.json",
            "nplus1 gradient",
            "nplus1 gradient --program a --workers 0",
            "nplus1 gradient --program a --increment 0",
            "nplus1 gradient --program a --timeout -1",
            "nplus1 minimize --program a --optimizer rprop",
            "nplus1 dance",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
