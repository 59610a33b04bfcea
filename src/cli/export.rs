//! `nplus1 export`: writes a trained model as a file of another program.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use ndarray::Array2;
use serde_json::{Value, json};

use super::arguments::{ExportArguments, Global};
use super::inputs::{check_folder, load_model};
use super::model_rows::rows;
use super::output::{Messages, print};
use crate::data::{Part, SearchPaths};
use crate::error::{Error, Result};
use crate::format::Model;
use crate::format::export::{ExportFormat, WeightType, sample_inputs};
use crate::format::file::write_atomically;
use crate::model::Assessment;
use crate::parallel::Workers;
use crate::run::json;
use crate::study::table::{list, percent};

/// Rows of the test that a source file has.
const TEST_ROWS: usize = 10;

/// Exports as the arguments say.
///
/// # Errors
/// A model that is refused, or that the format cannot hold; a file that cannot be written, of which
/// then nothing is left.
pub fn run(
    arguments: &ExportArguments,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    let output = &arguments.output;
    let format = match arguments.format {
        Some(format) => format,
        None => by_extension(output)?,
    };
    check_folder(output)?;
    let (file, model) = load_model(&arguments.model, messages)?;
    let weights = arguments.weights.unwrap_or_default();
    let is_source = matches!(format, ExportFormat::C | ExportFormat::Rust);
    let part = match is_source {
        true => part(arguments, global, (&model, &file), messages)?,
        false => None,
    };
    let inputs = match &part {
        Some((_, part)) => test_inputs(part),
        None => sample_inputs(&model),
    };
    let bytes = model.exported(format, weights, inputs.view())?;
    let cost = match (&part, weights) {
        (_, WeightType::Full) | (None, _) => None,
        (Some((name, part)), _) => Some(cost(&model, weights, name, part)?),
    };
    write_atomically(output, &bytes)?;
    if !model.schema.has_names() && format != ExportFormat::Safetensors {
        messages.note("the model knows no names of its features: the file numbers them from 0");
    }
    let written = Written {
        file: output,
        format,
        weights: arguments.weights,
        bytes: bytes.len(),
        cost,
    };
    print(out, &written.text(global.json))
}

/// Returns the format that the extension of `output` names.
fn by_extension(output: &Path) -> Result<ExportFormat> {
    let extension = output.extension().unwrap_or_default().to_string_lossy();
    match extension.to_lowercase().as_str() {
        "c" => Ok(ExportFormat::C),
        "rs" => Ok(ExportFormat::Rust),
        "onnx" => Ok(ExportFormat::Onnx),
        "npz" => Ok(ExportFormat::Npz),
        "safetensors" => Ok(ExportFormat::Safetensors),
        _ => Err(Error::Usage(format!(
            "{}: the extension names no format\n  help: use .c, .rs, .onnx, .npz or .safetensors, \
             or name the format with --format",
            output.display()
        ))),
    }
}

/// Returns the rows with which a source file is tested and measured: those of `--data`, or of the
/// run; `None` for a model file alone, or if the data of the run cannot be read.
fn part(
    arguments: &ExportArguments,
    global: &Global,
    model: (&Model, &Path),
    messages: Messages,
) -> Result<Option<(String, Part)>> {
    let search_paths = SearchPaths::new(global.datasets.as_deref());
    match rows(&arguments.model, &arguments.data, model, &search_paths) {
        Ok(found) => Ok(Some(found)),
        Err(error) if !arguments.data.is_empty() => Err(error),
        Err(error) => {
            let lost = match arguments.weights {
                Some(_) => "the accuracy is not measured, and the file's test has drawn rows",
                None => "the file's test has drawn rows",
            };
            let message = format_args!("{lost}: {error}");
            match arguments.weights {
                Some(_) => messages.warn(message),
                None => messages.detail(message),
            }
            Ok(None)
        }
    }
}

/// Returns the network inputs of ten rows of a part, spread over it.
fn test_inputs(part: &Part) -> Array2<f64> {
    let count = part.len().min(TEST_ROWS);
    let features = &part.dataset.features;
    Array2::from_shape_fn((count, part.dataset.feature_count()), |(at, input)| {
        let row = part.rows[at * part.len() / count];
        features.value(row as usize, input)
    })
}

/// What weights of another type cost.
struct WeightCost {
    part: String,
    rows: usize,
    full: f64,
    rounded: f64,
    /// The number of rows whose class is another.
    changed: usize,
}

fn cost(model: &Model, weights: WeightType, name: &str, part: &Part) -> Result<WeightCost> {
    let workers = Workers::new(None)?;
    let full = model.assess(part, &workers);
    let rounded = weights.rounded(model)?.assess(part, &workers);
    Ok(WeightCost {
        part: name.to_owned(),
        rows: part.len(),
        full: full.accuracy,
        rounded: rounded.accuracy,
        changed: changed(&full, &rounded),
    })
}

/// Returns the number of rows to which the classes predicted differ.
fn changed(one: &Assessment, other: &Assessment) -> usize {
    let wrong = |assessment: &Assessment| -> HashSet<(usize, usize)> {
        let wrong = assessment.wrong.iter();
        wrong
            .map(|wrong| (wrong.position, wrong.predicted))
            .collect()
    };
    let (one, other) = (wrong(one), wrong(other));
    let different = one.symmetric_difference(&other);
    let positions: HashSet<usize> = different.map(|(position, _)| *position).collect();
    positions.len()
}

/// A file that was written.
struct Written<'a> {
    file: &'a Path,
    format: ExportFormat,
    weights: Option<WeightType>,
    bytes: usize,
    cost: Option<WeightCost>,
}

impl Written<'_> {
    fn text(&self, is_json: bool) -> String {
        let weights = match self.weights {
            Some(WeightType::F16) => "f16",
            Some(WeightType::Int8) => "int8",
            _ => "full",
        };
        if is_json {
            let mut document = json!({
                "file": self.file.display().to_string(),
                "format": self.format.name(),
                "weights": weights,
                "bytes": self.bytes,
                "cost": Value::Null,
            });
            if let Some(cost) = &self.cost {
                document["cost"] = json!({
                    "part": cost.part,
                    "rows": cost.rows,
                    "accuracy": cost.full,
                    "accuracy_of_file": cost.rounded,
                    "changed_rows": cost.changed,
                });
            }
            return json::document(&document);
        }
        let mut rows = vec![
            ("file", self.file.display().to_string()),
            ("format", self.format.name().to_owned()),
            ("size", format!("{} bytes", self.bytes)),
        ];
        if let Some(cost) = &self.cost {
            rows.push(("weights", weights.to_owned()));
            rows.push(("part", format!("{}, {} rows", cost.part, cost.rows)));
            rows.push(("accuracy of the model", percent(Some(cost.full))));
            rows.push(("accuracy of the file", percent(Some(cost.rounded))));
            rows.push(("rows with another class", cost.changed.to_string()));
        }
        list(&rows)
    }
}
