//! Arguments of `nplus1 explain`.

use std::path::PathBuf;

use super::options::OverrideArguments;
use super::values::{increment, output};
use crate::explain::weight::ParameterPosition;

/// The numbers, unless the reader has others.
const A: f64 = 0.7;
const B: f64 = 1.3;
const X: f64 = -0.9;
const EPSILON: f64 = 1e-4;

/// `nplus1 explain`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArguments {
    /// What is explained, unless it is a network of one's own.
    #[command(subcommand)]
    pub command: Option<ExplainCommand>,
    /// A network of one's own.
    #[command(flatten)]
    pub own: WeightArguments,
    /// Write a page to this file instead: the toy with sliders, and every claim
    #[arg(long, value_name = "FILE", global = true, value_parser = output())]
    pub html: Option<PathBuf>,
}

/// What is explained.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ExplainCommand {
    /// Every claim about gradients and differences, its verdict, and the command that shows it
    Claims,
    /// y = σ(a·x), z = b·y: both gradients step by step, each method's operations, the usual slips
    Toy(ToyArguments),
    /// Logistic regression: where differences need fewer multiplications than the gradient, and lose
    Logistic(LogisticArguments),
    /// Which units a perturbed weight changes, and what can be reused, by depth
    Network(NetworkArguments),
    /// Does L-BFGS need precise gradients? The same minimization by gradients of every precision
    Lbfgs(LbfgsArguments),
}

/// `nplus1 explain CONFIG`.
#[derive(Clone, Debug, clap::Args)]
pub struct WeightArguments {
    /// The config file of a network of your own: one weight and one sample, number by number
    pub config: Option<PathBuf>,
    /// Changes of the config.
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// Take the parameters of this model or run; without it those that training starts from
    #[arg(long, value_name = "FILE|RUN", requires = "config")]
    pub weights: Option<PathBuf>,
    /// The weight, each index from 0, as in layers.LAYER.weight[ROW, COLUMN]; or LAYER,ROW,bias;
    /// without it the weight of the first unit that reads the sample's largest input
    #[arg(long, value_name = "LAYER,ROW,COLUMN", requires = "config")]
    pub weight: Option<ParameterPosition>,
    /// The training row, from 0
    #[arg(long, value_name = "K", default_value_t = 0, requires = "config")]
    pub sample: usize,
    /// The increment: finite, not 0
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1e-4,
        allow_negative_numbers = true,
        requires = "config"
    )]
    pub epsilon: f64,
}

/// `nplus1 explain toy`.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct ToyArguments {
    /// The inner weight
    #[arg(long, value_name = "NUMBER", default_value_t = A)]
    pub a: f64,
    /// The outer weight
    #[arg(long, value_name = "NUMBER", default_value_t = B)]
    pub b: f64,
    /// The input
    #[arg(long, value_name = "NUMBER", default_value_t = X)]
    pub x: f64,
    /// The increment of differences: finite, not 0
    #[arg(long, value_name = "NUMBER", default_value_t = EPSILON)]
    pub epsilon: f64,
}

impl Default for ToyArguments {
    fn default() -> Self {
        Self {
            a: A,
            b: B,
            x: X,
            epsilon: EPSILON,
        }
    }
}

/// `nplus1 explain logistic`.
#[derive(Clone, Debug, clap::Args)]
pub struct LogisticArguments {
    /// The config whose data are taken; without it breast cancer, standardized
    pub config: Option<PathBuf>,
    /// Take this named dataset, which must have two classes
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub dataset: Option<String>,
    /// Changes of the config.
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// The increment of differences: finite, not 0
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1e-6,
        allow_negative_numbers = true
    )]
    pub epsilon: f64,
}

/// `nplus1 explain network`.
#[derive(Clone, Debug, clap::Args)]
pub struct NetworkArguments {
    /// The config whose network is explained too, with its numbers of inputs and outputs
    pub config: Option<PathBuf>,
    /// Changes of the config.
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// Units of each hidden layer of the networks 1 … DEPTH; without it the first of the config, or 3
    #[arg(long, value_name = "UNITS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub width: Option<u32>,
    /// Hidden layers of the deepest network
    #[arg(long, value_name = "LAYERS", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub depth: u32,
}

/// `nplus1 explain lbfgs`.
#[derive(Clone, Debug, clap::Args)]
pub struct LbfgsArguments {
    /// The config file; without it breast cancer, 30-8-1, cross-entropy and l2
    pub config: Option<PathBuf>,
    /// Changes of the config.
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// Form every kind of quotient with these increments, such as 1e-1,1e-8; without it with those
    /// from 1e-1 to 1e-14 (in f32 to 1e-6) that tell most
    #[arg(long, value_name = "H,…", value_delimiter = ',', value_parser = increment)]
    pub increments: Option<Vec<f64>>,
}
