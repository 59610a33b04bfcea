//! Writes a [`Config`] as TOML, every default filled in.

use std::path::PathBuf;

use toml_edit::{Array, DocumentMut, Item, Table, Value, value};

use super::Config;
use super::keys::{self, Form};
use crate::data::{DataSource, Share};
use crate::gradient::GradientConfig;
use crate::gradient::finite_difference::{DifferenceConfig, Increment};
use crate::gradient::random_direction::DirectionsConfig;
use crate::optimizer::Schedule;
use crate::parallel::Split;
use crate::text::{escaped, is_control};
use crate::train::TrainConfig;

/// Builds the document, without the keys of features that are off.
pub(super) fn write(config: &Config) -> DocumentMut {
    let mut document = DocumentMut::new();
    document["name"] = text(&config.name).into();
    document["seed"] = integer(config.seed);
    document["data"] = data(config);
    document["model"] = model(config);
    document["loss"] = section([
        ("kind", value(config.loss.kind.name())),
        ("l2", value(config.loss.l2)),
    ]);
    document["gradient"] = gradient(config);
    document["optimizer"] = optimizer(config);
    document["train"] = train(config);
    document["run"] = section([
        ("threads", config.run.threads.map_or(value("auto"), count)),
        ("split", value(config.run.split.map_or("auto", Split::name))),
        ("checkpoint_seconds", value(config.run.checkpoint_seconds)),
    ]);
    if let Some(seconds) = config.run.limit_seconds {
        document["run"]["limit_seconds"] = value(seconds);
    }
    document
}

fn data(config: &Config) -> Item {
    let data = &config.data;
    let mut section = match &data.source {
        DataSource::Catalog(name) => section([("dataset", value(name))]),
        DataSource::Files { train, test, label } => {
            let mut section = section([("train", files(train))]);
            if !test.is_empty() {
                section["test"] = files(test);
            }
            if let Some(label) = label {
                section["label"] = text(label).into();
            }
            section
        }
    };
    if let Some(rows) = data.validation {
        section["validation"] = share(rows);
    }
    if let Some(rows) = data.test {
        section["test"] = share(rows);
    }
    if let Some(folds) = data.folds {
        section["folds"] = count(folds);
    }
    if let Some(limit) = data.limit {
        section["limit"] = count(limit);
    }
    section["normalize"] = value(data.normalize.name());
    section
}

fn model(config: &Config) -> Item {
    let model = &config.model;
    let hidden: Array = model
        .hidden
        .iter()
        .map(|&units| signed(units as u64))
        .collect();
    section([
        ("hidden", value(hidden)),
        ("output", value(model.output.name())),
        ("initialization", value(model.initialization.name())),
        ("bias", value(model.bias)),
        ("precision", value(model.precision.name())),
    ])
}

fn gradient(config: &Config) -> Item {
    let mut section = section([("method", value(config.gradient.method()))]);
    match &config.gradient {
        GradientConfig::Backprop => {}
        GradientConfig::Difference(config) => difference(config, &mut section),
        GradientConfig::NumericBackprop(config) => {
            section["increment"] = config.increment.map_or(value("auto"), value);
        }
        GradientConfig::ForwardMode(reuse) => section["evaluation"] = value(reuse.name()),
        GradientConfig::NodePerturbation(config) => {
            section["arithmetic"] = value(config.arithmetic.name());
            section["increment"] = config.increment.map_or(value("auto"), value);
        }
        GradientConfig::Spsa(config) => {
            directions(config.directions, &mut section);
            section["increment"] = config.increment.map_or(value("auto"), value);
        }
        GradientConfig::ForwardGradient(config) => {
            directions(config.directions, &mut section);
            section["perturbed"] = value(config.perturbed.name());
        }
    }
    section
}

fn directions(directions: DirectionsConfig, section: &mut Item) {
    section["directions"] = count(directions.count);
    section["distribution"] = value(directions.distribution.name());
}

fn difference(config: &DifferenceConfig, section: &mut Item) {
    section["evaluation"] = value(config.reuse.name());
    section["arithmetic"] = value(config.arithmetic.name());
    section["summation"] = value(config.summation.name());
    match config.increment {
        Increment::Auto => section["increment"] = value("auto"),
        Increment::Noise => section["increment"] = value("noise"),
        Increment::Absolute(number) => section["increment"] = value(number),
        Increment::Relative(number) => section["relative_increment"] = value(number),
    }
    if config.extrapolate {
        section["extrapolation"] = value("richardson");
    }
}

fn optimizer(config: &Config) -> Item {
    let optimizer = &config.optimizer;
    let mut section = section([("kind", value(optimizer.kind()))]);
    for key in super::optimizer::numbers() {
        let number = optimizer.number(key.name);
        let Some(number) = number.filter(|_| key.applies_with(keys::KIND, optimizer.kind())) else {
            continue;
        };
        section[key.name] = match key.forms {
            [Form::Integer { .. }] => value(number as i64),
            _ => value(number),
        };
    }
    if let Some(kind) = optimizer.schedule() {
        schedule(kind, &mut section);
    }
    section
}

fn schedule(schedule: Schedule, section: &mut Item) {
    match schedule {
        Schedule::Constant => section["schedule"] = value("constant"),
        Schedule::Cosine => section["schedule"] = value("cosine"),
        Schedule::Step { every, factor } => {
            section["schedule"] = value("step");
            section["step_every"] = count(every);
            section["step_factor"] = value(factor);
        }
    }
}

fn train(config: &Config) -> Item {
    let train = &config.train;
    let mut section = section([]);
    if let Some(epochs) = train.epochs {
        section["epochs"] = count(epochs);
    }
    if let Some(steps) = train.max_steps {
        section["max_steps"] = integer(steps);
    }
    if let Some(seconds) = train.max_seconds {
        section["max_seconds"] = value(seconds);
    }
    if train.batch_size != TrainConfig::ALL_ROWS {
        section["batch_size"] = count(train.batch_size);
    }
    if let Some(patience) = train.early_stopping {
        section["early_stopping"] = count(patience);
    }
    section
}

fn section<const N: usize>(keys: [(&str, Item); N]) -> Item {
    Item::Table(Table::from_iter(keys))
}

fn share(share: Share) -> Item {
    match share {
        Share::Rows(rows) => count(rows),
        Share::Fraction(fraction) => value(fraction),
    }
}

/// Converts one file to text, several to a list. The reader refuses paths that are not UTF-8.
fn files(files: &[PathBuf]) -> Item {
    let path = |file: &PathBuf| text(&file.to_string_lossy());
    match files {
        [file] => path(file).into(),
        files => value(files.iter().map(path).collect::<Array>()),
    }
}

/// Converts text to a TOML string. Characters that would act on a terminal are escaped as in JSON,
/// which TOML reads as well.
fn text(text: &str) -> Value {
    if !text.contains(is_control) {
        return text.into();
    }
    let spelled = serde_json::Value::from(text).to_string();
    let spelled = escaped(&spelled).parse();
    spelled.expect("a JSON string is a TOML string")
}

fn count(count: usize) -> Item {
    integer(count as u64)
}

fn integer(number: u64) -> Item {
    value(signed(number))
}

/// Converts to TOML's signed integers; the reader refuses larger numbers.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
