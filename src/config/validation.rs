//! Combinations of values that are refused although each value alone is allowed.

use super::reader::Reader;
use super::{Config, keys, optimizer};
use crate::data::{DataSource, Task};
use crate::gradient::GradientConfig;
use crate::model::{Loss, OutputUnits};
use crate::optimizer::{OptimizerConfig, Schedule};

/// Refuses combinations of values that conflict.
pub(super) fn check(reader: &Reader, config: &Config) {
    check_data(reader, config);
    check_targets(reader, config);
    check_table_keys(reader);
    check_outputs(reader, config);
    check_regression(reader, config);
    let random = matches!(
        config.gradient,
        GradientConfig::Spsa(_) | GradientConfig::ForwardGradient(_)
    );
    if random && matches!(config.optimizer, OptimizerConfig::Lbfgs(_)) {
        let method = config.gradient.method();
        reader.refuse_conflict(
            ("optimizer", "kind"),
            ("gradient", "method"),
            &format!(
                "{method} does not go with lbfgs: it draws new directions for each step, and lbfgs compares the gradients of successive steps"
            ),
            &format!(
                "set kind = {}, or choose a method without random directions",
                keys::find(("train", "batch_size"))
                    .map(optimizer::kinds_with)
                    .unwrap_or_default()
            ),
        );
    }
    let train = &config.train;
    if train.epochs.is_some() && train.max_steps.is_some() {
        reader.refuse_conflict(
            ("train", "epochs"),
            ("train", "max_steps"),
            "`epochs` and `max_steps` cannot both end the training",
            "keep one of them; `max_seconds` can be given with either",
        );
    }
    if train.early_stopping.is_some()
        && config.data.validation.is_none()
        && reader.are_valid(&[("data", "validation")])
    {
        reader.refuse_conflict(
            ("data", "validation"),
            ("train", "early_stopping"),
            "`early_stopping` needs validation rows, but there are none",
            "add `validation = …` under [data], or remove `early_stopping`",
        );
    }
    if config.optimizer.schedule() == Some(Schedule::Cosine)
        && train.max_seconds.is_some()
        && reader.are_valid(&[("train", "epochs"), ("train", "max_steps")])
        && train.epochs.is_none()
        && train.max_steps.is_none()
    {
        reader.refuse_conflict(
            ("train", "max_seconds"),
            ("optimizer", "schedule"),
            "the cosine schedule needs the number of steps, which `max_seconds` does not give",
            "add `epochs` or `max_steps` under [train], or choose another schedule",
        );
    }
}

/// Refuses outputs that do not go with the loss.
fn check_outputs(reader: &Reader, config: &Config) {
    let (output, loss) = (config.model.output, config.loss.kind);
    let (help, wrong) = match loss {
        Loss::Quadratic => (
            "use sigmoid or linear outputs with the quadratic loss; softmax needs cross-entropy",
            output == OutputUnits::Softmax,
        ),
        Loss::CrossEntropy => (
            "use sigmoid or softmax outputs with the cross-entropy loss; linear needs quadratic or logistic",
            output == OutputUnits::Linear,
        ),
        Loss::Logistic => (
            "use linear outputs with the logistic loss; they are its default",
            output != OutputUnits::Linear,
        ),
    };
    if wrong && !config.data.is_regression() {
        let message = format!(
            "{} outputs do not go with the {} loss",
            output.name(),
            loss.name()
        );
        reader.refuse_conflict(("loss", "kind"), ("model", "output"), &message, help);
    }
}

/// Refuses what a regression cannot have.
fn check_regression(reader: &Reader, config: &Config) {
    if !config.data.is_regression() {
        return;
    }
    let (output, loss) = (config.model.output, config.loss.kind);
    let conflict = |first, second, message: &str, help: &str| {
        reader.refuse_conflict(first, second, message, help);
    };
    if loss != Loss::Quadratic {
        conflict(
            ("data", "task"),
            ("loss", "kind"),
            &format!("the {} loss is for classes, not for numbers", loss.name()),
            "use kind = \"quadratic\", the default of a regression",
        );
    } else if output != OutputUnits::Linear {
        conflict(
            ("data", "task"),
            ("model", "output"),
            &format!("{} outputs cannot predict every number", output.name()),
            "use output = \"linear\", the default of a regression",
        );
    }
    if config.loss.class_weights.is_some() {
        conflict(
            ("data", "task"),
            ("loss", "class_weights"),
            "`class_weights` are for classes, but a regression has none",
            "remove `class_weights`",
        );
    }
}

/// Refuses what does not go with `targets`.
fn check_targets(reader: &Reader, config: &Config) {
    let data = reader.section(&keys::DATA);
    let is_given = |key| data.field(key).is_some();
    let refuse_conflict = |first, second, message: &str, help: &str| {
        reader.refuse_conflict(("data", first), ("data", second), message, help);
    };
    if config.data.task == Some(Task::Classification) && is_given("targets") {
        refuse_conflict(
            "task",
            "targets",
            "`targets` are numbers to predict, but the task is classification",
            "remove `targets`, or set task = \"regression\"",
        );
    }
    if is_given("label") && is_given("targets") {
        refuse_conflict(
            "label",
            "targets",
            "`label` and `targets` both say what is predicted",
            "keep `targets` for numbers, or `label` for one column",
        );
    }
    if !is_given("train") && is_given("targets") {
        let help = "remove `targets`: a named dataset has its own";
        refuse_conflict(
            "dataset",
            "targets",
            "`targets` goes with files in `train`",
            help,
        );
    }
}

/// Refuses keys for tables beside a named dataset; their defaults may be spelled out.
fn check_table_keys(reader: &Reader) {
    let data = reader.section(&keys::DATA);
    if data.field("train").is_some() {
        return;
    }
    for key in ["ignore", "missing", "unknown", "separator"] {
        let field = data.field(key);
        if field.is_some_and(|field| field.item.as_str() != Some("refuse")) {
            reader.refuse_conflict(
                ("data", "dataset"),
                ("data", key),
                &format!("`{key}` goes with files in `train`"),
                &format!("remove `{key}`: it is for tables of your own"),
            );
        }
    }
}

fn check_data(reader: &Reader, config: &Config) {
    let data = reader.section(&keys::DATA);
    let is_given = |key| data.field(key).is_some();
    let refuse_conflict = |first, second, message: &str, help: &str| {
        reader.refuse_conflict(("data", first), ("data", second), message, help);
    };
    if is_given("dataset") && is_given("train") {
        refuse_conflict(
            "dataset",
            "train",
            "`dataset` and `train` both name the data",
            "keep `dataset` for a named dataset, or `train` for your own files",
        );
    }
    if let DataSource::Files {
        train, test, label, ..
    } = &config.data.source
    {
        if !test.is_empty() && !train.is_empty() && test.len() != train.len() {
            refuse_conflict(
                "train",
                "test",
                "`test` must have as many files as `train`",
                "give one CSV for each, or images and labels for each",
            );
        }
        if train.len() == 2 && label.is_some() {
            refuse_conflict(
                "train",
                "label",
                "`label` names a column of a CSV, but the labels are in a separate file",
                "remove `label`, or give `train` one CSV",
            );
        }
    }
    let has_test_files = data
        .field("test")
        .is_some_and(|field| field.item.is_str() || field.item.is_array());
    if is_given("dataset") && !is_given("train") && has_test_files {
        refuse_conflict(
            "dataset",
            "test",
            "files in `test` go with files in `train`, not with `dataset`",
            "give `test` a number of rows or a fraction, or `train` files instead of `dataset`",
        );
    }
    if !is_given("train") && is_given("label") {
        let help = "remove `label`: a named dataset has its labels";
        refuse_conflict(
            "dataset",
            "label",
            "`label` goes with files in `train`",
            help,
        );
    }
    if config.data.folds.is_some() && (has_test_files || config.data.test.is_some()) {
        refuse_conflict(
            "folds",
            "test",
            "`folds` and `test` both choose the test rows",
            "keep `folds` for cross-validation, or `test` for one split",
        );
    }
}
