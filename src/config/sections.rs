//! The sections: which key becomes which field, in which range.
//!
//! Ranges end where nothing sensible lies beyond, so that no later sum of counts or seconds can
//! overflow.

use std::path::Path;

use super::diagnostic::Diagnostic;
use super::fields::SectionReader;
use super::messages::describe_value;
use super::reader::Reader;
use super::{Config, RunConfig, data, gradient, keys, optimizer, validation};
use crate::model::{Initialization, Loss, LossConfig, ModelConfig, OutputUnits};
use crate::numeric::Precision;
use crate::train::TrainConfig;

/// The most rows, epochs or seconds that a config may ask for.
pub(super) const MOST: i64 = 1_000_000_000;
const MOST_THREADS: i64 = 1024;
const MOST_UNITS: i64 = 65_536;
const MOST_LAYERS: usize = 32;
const LONGEST_NAME: usize = 100;

/// Reads every section. `stem` names a config without a name, `folder` is where paths start.
pub(super) fn read(reader: &Reader, stem: &str, folder: &Path) -> Config {
    let top = reader.section(&keys::TOP);
    let loss = read_loss(&reader.section(&keys::LOSS));
    let optimizer = optimizer::read(reader);
    let config = Config {
        name: read_name(&top, stem),
        seed: top.integer("seed", 0..=i64::MAX).unsigned_abs(),
        data: data::read(reader, folder),
        model: read_model(&reader.section(&keys::MODEL), loss.kind),
        loss,
        gradient: gradient::read(reader),
        train: read_train(reader, optimizer.kind()),
        optimizer,
        run: read_run(&reader.section(&keys::RUN)),
    };
    validation::seek(reader, &config);
    config
}

/// The file's name without its ending, as a run's name: what is not safe in a folder's name
/// becomes `-`, none of which it begins with.
pub(super) fn name_after(stem: &str) -> String {
    let safe = |letter: char| if is_safe(letter) { letter } else { '-' };
    let safe: String = stem.chars().map(safe).collect();
    // All ASCII by now.
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
    let allowed = "letters, digits, `-`, `_` and `.`, no `.` or `-` at the start, at most 100: it names a folder";
    let Some(name) = field.item.as_str() else {
        return top.wrong_type(&field, "text", allowed).unwrap_or_default();
    };
    let safe = name.chars().all(is_safe) && !name.starts_with(['.', '-']);
    if !safe || name.is_empty() || name.len() > LONGEST_NAME {
        let message = format!(
            "`name` cannot name a folder: found {}",
            describe_value(&field.item)
        );
        let fault = Diagnostic::new(message, field.place.clone(), format!("allowed: {allowed}"))
            .help(format!("for example \"{}\"", name_after(name)));
        return top.refuse(&field, fault).unwrap_or_default();
    }
    name.to_owned()
}

fn read_model(model: &SectionReader, loss: Loss) -> ModelConfig {
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
        hidden: model
            .integers("hidden", 1..=MOST_UNITS, MOST_LAYERS)
            .into_iter()
            .map(to_size)
            .collect(),
        output: model
            .optional_word("output", &outputs.map(|output| (output.name(), output)))
            .unwrap_or(match loss {
                Loss::Logistic => OutputUnits::Linear,
                Loss::Quadratic | Loss::CrossEntropy => OutputUnits::Sigmoid,
            }),
        initialization: model.word(
            "initialization",
            &initializations.map(|drawn| (drawn.name(), drawn)),
        ),
        bias: model.boolean("bias"),
        precision: model.word("precision", &precisions.map(|bits| (bits.name(), bits))),
    }
}

fn read_loss(loss: &SectionReader) -> LossConfig {
    let losses = [Loss::Quadratic, Loss::CrossEntropy, Loss::Logistic];
    LossConfig {
        kind: loss.word("kind", &losses.map(|loss| (loss.name(), loss))),
        l2: loss.number("l2", |l2| l2 >= 0.0, "a number, 0 or above"),
    }
}

/// `batch_size`, where it is absent.
const BATCH_SIZE: usize = 10;

fn read_train(reader: &Reader, optimizer: &str) -> TrainConfig {
    let train = reader.section(&keys::TRAIN);
    let limits = ["epochs", "max_steps", "max_seconds"];
    if limits.into_iter().all(|key| train.field(key).is_none()) {
        reader.missing(
            "train",
            "[train] does not say when to stop".to_owned(),
            "add `epochs = …` under [train]",
            "`epochs` or `max_steps`; `max_seconds` alone or with either".to_owned(),
        );
    }
    let batch_size = train.optional_integer("batch_size", 1..=MOST).map(to_size);
    let whole = optimizer == "lbfgs";
    if whole && batch_size.is_some() {
        reader.contradiction(
            ("optimizer", "kind"),
            ("train", "batch_size"),
            "`batch_size` has no meaning with lbfgs: its objective is the loss of all training rows",
            "remove `batch_size`, or set kind = \"sgd\" or \"adam\"",
        );
    }
    let all = if whole {
        TrainConfig::ALL_ROWS
    } else {
        BATCH_SIZE
    };
    TrainConfig {
        epochs: train.optional_integer("epochs", 1..=MOST).map(to_size),
        max_steps: train
            .optional_integer("max_steps", 1..=i64::MAX)
            .map(i64::unsigned_abs),
        max_seconds: train.optional_number(
            "max_seconds",
            |seconds| seconds > 0.0 && seconds <= MOST as f64,
            "a number above 0 and at most 1e9",
        ),
        batch_size: batch_size.unwrap_or(all),
        early_stopping: train
            .optional_integer("early_stopping", 1..=MOST)
            .map(to_size),
    }
}

fn read_run(run: &SectionReader) -> RunConfig {
    RunConfig {
        threads: read_threads(run),
        checkpoint_seconds: run.number(
            "checkpoint_seconds",
            |seconds| (1.0..=MOST as f64).contains(&seconds),
            "a number from 1 to 1e9",
        ),
        limit_seconds: run.optional_number(
            "limit_seconds",
            |seconds| seconds > 0.0 && seconds <= MOST as f64,
            "a number above 0 and at most 1e9",
        ),
    }
}

fn read_threads(run: &SectionReader) -> Option<usize> {
    let field = run.field("threads")?;
    let allowed = format!("\"auto\", or an integer from 1 to {MOST_THREADS}");
    match (field.item.as_str(), field.item.as_integer()) {
        (Some("auto"), _) => None,
        (_, Some(threads)) if (1..=MOST_THREADS).contains(&threads) => Some(to_size(threads)),
        (_, Some(_)) => run.out_of_range(&field, &allowed),
        _ => run.wrong_type(&field, "a number of threads or \"auto\"", &allowed),
    }
}

/// A count that was read as 0 or above and at most [`MOST`].
pub(super) fn to_size(count: i64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_becomes_a_name_that_is_safe_as_a_folder() {
        assert_eq!(name_after("mnist-30"), "mnist-30");
        assert_eq!(name_after("my net (2)"), "my-net--2-");
        assert_eq!(name_after("..hidden"), "hidden");
        assert_eq!(name_after("-option"), "option");
        assert_eq!(name_after("été"), "t-");
        assert_eq!(name_after(""), "run");
        assert_eq!(name_after("größe"), "gr--e");
    }
}
