//! The sections of a config: reads each key into its field, within its range.
//!
//! Ranges end far above sensible values, so that no later sum of counts or seconds can overflow.

use std::path::Path;

use super::diagnostic::Diagnostic;
use super::fields::SectionReader;
use super::messages::describe_value;
use super::reader::Reader;
use super::{Config, RunConfig, data, gradient, keys, optimizer, validation};
use crate::model::{ClassWeights, Initialization, Loss, LossConfig, ModelConfig, OutputUnits};
use crate::numeric::Precision;
use crate::optimizer::OptimizerConfig;
use crate::parallel::Split;
use crate::parallel::cluster::Reduce;
use crate::train::TrainConfig;

/// The largest number of rows, epochs or seconds that a config may ask for.
pub(super) const MOST: i64 = 1_000_000_000;
const LONGEST_NAME: usize = 100;

/// Reads every section. `stem` names a config without a name; relative paths start from `folder`.
pub(super) fn read(reader: &Reader, stem: &str, folder: &Path) -> Config {
    let top = reader.section(&keys::TOP);
    let data = data::read(reader, folder);
    let is_regression = data.is_regression();
    let loss = read_loss(&reader.section(&keys::LOSS), is_regression);
    let optimizer = optimizer::read(reader);
    let config = Config {
        name: read_name(&top, stem),
        seed: top.integer("seed").unsigned_abs(),
        data,
        model: read_model(&reader.section(&keys::MODEL), loss.kind, is_regression),
        loss,
        gradient: gradient::read(reader),
        train: read_train(reader, &optimizer),
        optimizer,
        run: read_run(&reader.section(&keys::RUN)),
    };
    validation::check(reader, &config);
    config
}

/// Makes a file's stem the name of a run: characters that are not safe in a folder's name become
/// `-`, and leading `-` and `.` are removed.
pub(super) fn name_after(stem: &str) -> String {
    let safe = |letter: char| if is_safe(letter) { letter } else { '-' };
    let safe: String = stem.chars().map(safe).collect();
    // All characters are ASCII here, so any byte is a boundary.
    let name = safe.trim_start_matches(['.', '-']);
    let name = &name[..name.len().min(LONGEST_NAME)];
    if name.is_empty() { "run" } else { name }.to_owned()
}

fn is_safe(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.')
}

fn read_name(top: &SectionReader, stem: &str) -> String {
    let Some(field) = top.field("name") else {
        return name_after(stem);
    };
    let allowed =
        "letters, digits, `-`, `_` and `.`, at most 100 characters, not starting with `.` or `-`";
    let Some(name) = field.item.as_str() else {
        return top.wrong_type(&field, "text", allowed).unwrap_or_default();
    };
    let safe = name.chars().all(is_safe) && !name.starts_with(['.', '-']);
    if !safe || name.is_empty() || name.len() > LONGEST_NAME {
        let message = format!(
            "`name` is not safe as a folder's name: found {}",
            describe_value(&field.item)
        );
        let fault = Diagnostic::new(message, field.place.clone(), format!("allowed: {allowed}"))
            .help(format!("for example \"{}\"", name_after(name)));
        return top.refuse(&field, fault).unwrap_or_default();
    }
    name.to_owned()
}

fn read_model(model: &SectionReader, loss: Loss, is_regression: bool) -> ModelConfig {
    let outputs = [
        OutputUnits::Sigmoid,
        OutputUnits::Softmax,
        OutputUnits::Linear,
    ];
    let initializations = [
        Initialization::Normal,
        Initialization::Scaled,
        Initialization::Xavier,
    ];
    let precisions = [Precision::F32, Precision::F64];
    ModelConfig {
        hidden: model.integers("hidden").into_iter().map(to_size).collect(),
        output: if is_regression && !model.is_given("output") {
            OutputUnits::Linear
        } else {
            let words = outputs.map(|output| (output.name(), output));
            model.word_by("output", loss.name(), &words)
        },
        initialization: model.word(
            "initialization",
            &initializations.map(|kind| (kind.name(), kind)),
        ),
        bias: model.boolean("bias"),
        precision: model.word("precision", &precisions.map(|kind| (kind.name(), kind))),
    }
}

fn read_loss(loss: &SectionReader, is_regression: bool) -> LossConfig {
    let losses = [Loss::Quadratic, Loss::CrossEntropy, Loss::Logistic];
    LossConfig {
        kind: if is_regression && !loss.is_given("kind") {
            Loss::Quadratic
        } else {
            loss.word("kind", &losses.map(|loss| (loss.name(), loss)))
        },
        l2: loss.number("l2"),
        class_weights: read_class_weights(loss),
    }
}

/// Reads `class_weights`: "balanced", or a number for each class.
fn read_class_weights(loss: &SectionReader) -> Option<ClassWeights> {
    let field = loss.field("class_weights")?;
    let allowed = field.key.allowed();
    let wrong_type = || loss.wrong_type(&field, "\"balanced\" or a list of numbers", &allowed);
    if let Some(word) = field.item.as_str() {
        return match word {
            "balanced" => Some(ClassWeights::Balanced),
            _ => loss.out_of_range(&field, &allowed),
        };
    }
    let Some(list) = field.item.as_array() else {
        return wrong_type();
    };
    let number = |entry: &toml_edit::Value| {
        let integer = entry.as_integer().map(|number| number as f64);
        entry.as_float().or(integer)
    };
    let Some(weights) = list.iter().map(number).collect::<Option<Vec<f64>>>() else {
        return wrong_type();
    };
    if !field.key.allows_numbers(&weights) {
        return loss.out_of_range(&field, &allowed);
    }
    Some(ClassWeights::Given(weights))
}

fn read_train(reader: &Reader, optimizer: &OptimizerConfig) -> TrainConfig {
    let train = reader.section(&keys::TRAIN);
    if train.lacks_all_alternatives() {
        reader.refuse_missing(
            "train",
            "[train] needs `epochs`, `max_steps` or `max_seconds`".to_owned(),
            "add `epochs = …` under [train]",
            "`max_seconds` can be given alone, or with `epochs` or `max_steps`".to_owned(),
        );
    }
    let batch_size = read_batch_size(reader, &train, optimizer);
    TrainConfig {
        epochs: train.optional_integer("epochs").map(to_size),
        max_steps: train.optional_integer("max_steps").map(i64::unsigned_abs),
        max_seconds: train.optional_number("max_seconds"),
        batch_size,
        early_stopping: train.optional_integer("early_stopping").map(to_size),
    }
}

fn read_batch_size(reader: &Reader, train: &SectionReader, optimizer: &OptimizerConfig) -> usize {
    let key = train.key("batch_size");
    if key.applies_with(keys::KIND, optimizer.kind()) {
        return to_size(train.integer("batch_size"));
    }
    if train.optional_integer("batch_size").is_some() {
        reader.refuse_conflict(
            ("optimizer", "kind"),
            ("train", "batch_size"),
            "`batch_size` has no meaning with lbfgs: its objective is the loss of all training rows",
            &format!(
                "remove `batch_size`, or set kind = {}",
                optimizer::kinds_with(key)
            ),
        );
    }
    TrainConfig::ALL_ROWS
}

fn read_run(run: &SectionReader) -> RunConfig {
    RunConfig {
        threads: read_threads(run),
        split: run.word(
            "split",
            &[
                ("auto", None),
                (Split::Rows.name(), Some(Split::Rows)),
                (Split::Units.name(), Some(Split::Units)),
            ],
        ),
        reduce: run.word("reduce", &Reduce::ALL.map(|reduce| (reduce.name(), reduce))),
        checkpoint_seconds: run.number("checkpoint_seconds"),
        limit_seconds: run.optional_number("limit_seconds"),
    }
}

fn read_threads(run: &SectionReader) -> Option<usize> {
    let field = run.field("threads")?;
    match (field.item.as_str(), field.item.as_integer()) {
        (Some("auto"), _) => None,
        (_, Some(_)) => run.optional_integer("threads").map(to_size),
        _ => run.wrong_type(
            &field,
            "a number of threads or \"auto\"",
            &run.key("threads").allowed(),
        ),
    }
}

/// Converts a count that was checked to be from 0 to [`MOST`].
pub(super) fn to_size(count: i64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stem_becomes_a_safe_folder_name() {
        assert_eq!(name_after("mnist-30"), "mnist-30");
        assert_eq!(name_after("my net (2)"), "my-net--2-");
        assert_eq!(name_after("..hidden"), "hidden");
        assert_eq!(name_after("-option"), "option");
        assert_eq!(name_after("été"), "t-");
        assert_eq!(name_after(""), "run");
        assert_eq!(name_after("größe"), "gr--e");
    }
}
