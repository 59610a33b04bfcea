//! What each key allows alone, but not together.

use super::reader::Reader;
use super::{Config, keys};
use crate::data::DataSource;
use crate::gradient::GradientConfig;
use crate::model::{Loss, OutputUnits};
use crate::optimizer::{OptimizerConfig, Schedule};

/// Seeks what each key allows alone, but not together.
pub(super) fn seek(reader: &Reader, config: &Config) {
    seek_in_data(reader, config);
    let (output, loss) = (config.model.output, config.loss.kind);
    let (help, wrong) = match loss {
        Loss::Quadratic => (
            "with the quadratic loss: sigmoid or linear; softmax goes with cross-entropy",
            output == OutputUnits::Softmax,
        ),
        Loss::CrossEntropy => (
            "with the cross-entropy loss: sigmoid or softmax; linear goes with quadratic or logistic",
            output == OutputUnits::Linear,
        ),
        Loss::Logistic => (
            "with the logistic loss: linear, which is also its default",
            output != OutputUnits::Linear,
        ),
    };
    if wrong {
        let message = format!(
            "{} outputs do not go with the {} loss",
            output.name(),
            loss.name()
        );
        reader.contradiction(("loss", "kind"), ("model", "output"), &message, help);
    }
    let drawn = matches!(
        config.gradient,
        GradientConfig::Spsa(_) | GradientConfig::ForwardGradient(_)
    );
    if drawn && matches!(config.optimizer, OptimizerConfig::Lbfgs(_)) {
        let method = config.gradient.method();
        reader.contradiction(
            ("optimizer", "kind"),
            ("gradient", "method"),
            &format!(
                "{method} does not go with lbfgs: its directions are drawn anew for each step, and lbfgs learns from what changed between the gradients of two"
            ),
            "set kind = \"sgd\" or \"adam\", or a method whose gradient is a function of the parameters",
        );
    }
    let train = &config.train;
    if train.epochs.is_some() && train.max_steps.is_some() {
        reader.contradiction(
            ("train", "epochs"),
            ("train", "max_steps"),
            "`epochs` and `max_steps` cannot both end the training",
            "keep one; `max_seconds` goes with either",
        );
    }
    if train.early_stopping.is_some()
        && config.data.validation.is_none()
        && reader.sound(&[("data", "validation")])
    {
        reader.contradiction(
            ("data", "validation"),
            ("train", "early_stopping"),
            "`early_stopping` needs validation rows, and there are none",
            "add `validation = …` under [data], or remove `early_stopping`",
        );
    }
    if config.optimizer.schedule() == Some(Schedule::Cosine)
        && train.max_seconds.is_some()
        && reader.sound(&[("train", "epochs"), ("train", "max_steps")])
        && train.epochs.is_none()
        && train.max_steps.is_none()
    {
        reader.contradiction(
            ("train", "max_seconds"),
            ("optimizer", "schedule"),
            "the cosine schedule must know its last step, and `max_seconds` does not tell it",
            "add `epochs` or `max_steps` under [train], or choose another schedule",
        );
    }
}

fn seek_in_data(reader: &Reader, config: &Config) {
    let data = reader.section(&keys::DATA);
    let there = |key| data.field(key).is_some();
    let clash = |first, second, message: &str, help: &str| {
        reader.contradiction(("data", first), ("data", second), message, help);
    };
    if there("dataset") && there("train") {
        clash(
            "dataset",
            "train",
            "`dataset` and `train` both name the data",
            "keep `dataset` for a named dataset, or `train` for your own files",
        );
    }
    if let DataSource::Files { train, test, label } = &config.data.source {
        if !test.is_empty() && !train.is_empty() && test.len() != train.len() {
            clash(
                "train",
                "test",
                "`test` must have as many files as `train`",
                "one CSV each, or images and labels each",
            );
        }
        if train.len() == 2 && label.is_some() {
            clash(
                "train",
                "label",
                "`label` names a column of a CSV, and the labels have a file of their own",
                "remove `label`, or give `train` one CSV",
            );
        }
    }
    let has_test_files = data
        .field("test")
        .is_some_and(|field| field.item.is_str() || field.item.is_array());
    if there("dataset") && !there("train") && has_test_files {
        clash(
            "dataset",
            "test",
            "files in `test` go with files in `train`, not with `dataset`",
            "`test` may be a number of rows or a fraction here",
        );
    }
    if !there("train") && there("label") {
        let help = "remove `label`; a named dataset knows its labels";
        clash(
            "dataset",
            "label",
            "`label` goes with files in `train`",
            help,
        );
    }
    if config.data.folds.is_some() && (has_test_files || config.data.test.is_some()) {
        clash(
            "folds",
            "test",
            "`folds` and `test` both say which rows are tested on",
            "keep `folds` for cross-validation, or `test` for one split",
        );
    }
}
