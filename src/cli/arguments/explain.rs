//! Arguments of `nplus1 explain`.

use std::path::PathBuf;

use super::options::{OverrideArguments, RecordArguments};
use super::values::{increment, output};
use crate::explain::weight::ParameterPosition;

/// Default numbers of the toy.
const A: f64 = 0.7;
const B: f64 = 1.3;
const X: f64 = -0.9;
const EPSILON: f64 = 1e-4;

/// Arguments of `nplus1 explain`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nplus1 explain toy
  nplus1 explain configs/iris.toml --weight 0,0,0")]
pub struct ExplainArguments {
    /// A worked example that needs no network of the user.
    #[command(subcommand)]
    pub command: Option<ExplainCommand>,
    /// The user's network.
    #[command(flatten)]
    pub own: WeightArguments,
    /// Write a page to this file instead: the toy with sliders, and every claim
    #[arg(long, value_name = "FILE", global = true, value_parser = output())]
    pub html: Option<PathBuf>,
}

/// Worked examples.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ExplainCommand {
    /// List every claim about gradients, its verdict and the command that shows it
    #[command(after_help = "\
Examples:
  nplus1 explain claims
  nplus1 explain claims --json")]
    Claims,
    /// Work out y = σ(a·x), z = b·y: both derivatives step by step, the operations of each method,
    /// the usual mistakes
    Toy(ToyArguments),
    /// Count the operations of logistic regression, where differences need fewer multiplications
    /// than the gradient
    Logistic(LogisticArguments),
    /// Show which units a perturbed weight changes, and what can be reused, by depth
    Network(NetworkArguments),
    /// Show whether L-BFGS needs precise gradients: the same minimization with gradients of each
    /// precision
    Lbfgs(LbfgsArguments),
}

/// Arguments of `nplus1 explain CONFIG`.
#[derive(Clone, Debug, clap::Args)]
pub struct WeightArguments {
    /// Config file of a network: explains one weight and one sample, number by number
    pub config: Option<PathBuf>,
    /// Changes of the config.
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// Use the parameters of this model or run [default: the parameters that training starts from]
    #[arg(long, value_name = "FILE|RUN", requires = "config")]
    pub weights: Option<PathBuf>,
    /// Weight layers.LAYER.weight[ROW, COLUMN], indices from 0; or LAYER,ROW,bias [default: the
    /// weight of the first unit that reads the sample's largest input]
    #[arg(long, value_name = "LAYER,ROW,COLUMN", requires = "config")]
    pub weight: Option<ParameterPosition>,
    /// Training row, from 0
    #[arg(long, value_name = "K", default_value_t = 0, requires = "config")]
    pub sample: usize,
    /// Increment of the differences: finite, not 0
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1e-4,
        allow_negative_numbers = true,
        requires = "config"
    )]
    pub epsilon: f64,
}

/// Arguments of `nplus1 explain toy`.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
#[command(after_help = "\
Examples:
  nplus1 explain toy
  nplus1 explain toy --a 2 --epsilon 1e-8")]
pub struct ToyArguments {
    /// Inner weight
    #[arg(long, value_name = "NUMBER", default_value_t = A)]
    pub a: f64,
    /// Outer weight
    #[arg(long, value_name = "NUMBER", default_value_t = B)]
    pub b: f64,
    /// Input
    #[arg(long, value_name = "NUMBER", default_value_t = X)]
    pub x: f64,
    /// Increment of the differences: finite, not 0
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

/// Arguments of `nplus1 explain logistic`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nplus1 explain logistic
  nplus1 explain logistic --set data.limit=50")]
pub struct LogisticArguments {
    /// Config file whose data are used [default: breast cancer, standardized]
    pub config: Option<PathBuf>,
    /// Use this named dataset, which must have two classes
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub dataset: Option<String>,
    /// Changes of the config.
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// Increment of the differences: finite, not 0
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1e-6,
        allow_negative_numbers = true
    )]
    pub epsilon: f64,
}

/// Arguments of `nplus1 explain network`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nplus1 explain network --depth 3
  nplus1 explain network configs/iris.toml")]
pub struct NetworkArguments {
    /// Config file whose network is explained too, and gives the numbers of inputs and outputs
    pub config: Option<PathBuf>,
    /// Changes of the config.
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// Units of each hidden layer of the networks with 1 to LAYERS hidden layers [default: as in
    /// the config's first hidden layer, or 3]
    #[arg(long, value_name = "UNITS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub width: Option<u32>,
    /// Hidden layers of the deepest network
    #[arg(long, value_name = "LAYERS", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub depth: u32,
}

/// Arguments of `nplus1 explain lbfgs`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nplus1 explain lbfgs --set data.limit=20 --set train.epochs=2
  nplus1 explain lbfgs --set data.limit=9 --set train.epochs=2")]
pub struct LbfgsArguments {
    /// Config file [default: breast cancer, 30-8-1, cross-entropy, l2]
    pub config: Option<PathBuf>,
    /// Changes of the config.
    #[command(flatten)]
    pub changes: OverrideArguments,
    /// Increments of all kinds of quotients, such as 1e-1,1e-8 [default: a selection from 1e-1 to
    /// 1e-14, in f32 to 1e-6]
    #[arg(long, value_name = "H,…", value_delimiter = ',', value_parser = increment)]
    pub increments: Option<Vec<f64>>,
    /// Where rows and results are kept.
    #[command(flatten)]
    pub record: RecordArguments,
}
