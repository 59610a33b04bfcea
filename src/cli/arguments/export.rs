//! Arguments of the command that takes a model to other programs.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::values::output;
use crate::format::export::{ExportFormat, WeightType};

/// Arguments of `nplus1 export`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
c and rust are source files without dependencies, which test themselves. Without --format, the
format is that of the file's extension: .c, .rs, .onnx, .npz or .safetensors. --weights f16 and
int8, for c and rust, make the file smaller; what accuracy that costs is measured on the run's test
part, or on --data.

Examples:
  nplus1 train configs/iris.toml --out iris-run
  nplus1 export iris-run/fold-01 -o iris.c
  nplus1 export iris-run/fold-01 --format rust --weights int8 -o iris_model.rs")]
pub struct ExportArguments {
    /// Directory of a run, or a model file
    #[arg(value_name = "RUN|MODEL")]
    pub model: PathBuf,
    /// Format of the file [default: by its extension]
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    pub format: Option<ExportFormat>,
    /// File to write
    #[arg(short, long, value_name = "FILE", value_parser = output())]
    pub output: PathBuf,
    /// Type of the weights in a source file [default: the model's precision]
    #[arg(long, value_name = "TYPE", value_parser = weight_types())]
    pub weights: Option<WeightType>,
    /// Rows on which to measure what --weights costs, as in `eval` [default: the run's test part]
    #[arg(long, value_name = "NAME|FILE", num_args = 1..=2)]
    pub data: Vec<PathBuf>,
}

fn formats() -> impl TypedValueParser<Value = ExportFormat> {
    let names = ExportFormat::ALL.map(|(name, _)| name);
    PossibleValuesParser::new(names).map(|chosen| {
        let known = ExportFormat::ALL.into_iter();
        let found = known.into_iter().find(|(name, _)| *name == chosen);
        found.expect("clap lets known names through").1
    })
}

fn weight_types() -> impl TypedValueParser<Value = WeightType> {
    PossibleValuesParser::new(["f16", "int8"]).map(|chosen| match chosen.as_str() {
        "f16" => WeightType::F16,
        _ => WeightType::Int8,
    })
}
