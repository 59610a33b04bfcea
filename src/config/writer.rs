//! Writes a [`Config`] as TOML, every default filled in: the keys that apply, in the order of the
//! table of keys.

use std::path::PathBuf;

use toml_edit::{Array, DocumentMut, Item, Table, Value};

use super::keys::{self, Form, Key, Selector};
use super::{Config, RunConfig};
use crate::data::{DataConfig, DataSource, Share, TableOptions, Task};
use crate::gradient::GradientConfig;
use crate::gradient::finite_difference::{DifferenceConfig, Increment};
use crate::gradient::random_direction::{ForwardGradientConfig, SpsaConfig};
use crate::model::{ClassWeights, ModelConfig};
use crate::optimizer::{OptimizerConfig, Schedule};
use crate::parallel::Split;
use crate::text::{escaped, is_control};
use crate::train::TrainConfig;

/// Builds the document, without the keys of features that are off.
pub(super) fn write(config: &Config) -> DocumentMut {
    let mut document = DocumentMut::new();
    for key in keys::TOP.keys {
        if let Some(value) = value(config, ("", key.name)) {
            document[key.name] = Item::Value(value);
        }
    }
    for section in keys::SECTIONS {
        let keys = section.keys.iter().filter(|key| applies(config, key));
        let values = keys.filter_map(|key| {
            let value = value(config, (section.name, key.name))?;
            Some((key.name, Item::Value(value)))
        });
        document[section.name] = Item::Table(Table::from_iter(values));
    }
    document
}

/// Returns whether a key applies with the values of the keys that decide about it.
fn applies(config: &Config, key: &Key) -> bool {
    key.when.iter().all(|condition| {
        let value = value(config, condition.selector);
        let word = value.as_ref().and_then(Value::as_str);
        word.is_some_and(|word| condition.values.contains(&word))
    })
}

/// Returns the value of a key that applies; `None` if its feature is off.
fn value(config: &Config, (section, key): Selector) -> Option<Value> {
    match (section, key) {
        ("", "name") => Some(text(&config.name)),
        ("", "seed") => Some(integer(config.seed)),
        ("data", _) => data(&config.data, key),
        ("model", _) => model(&config.model, key),
        ("loss", "kind") => Some(config.loss.kind.name().into()),
        ("loss", "l2") => Some(config.loss.l2.into()),
        ("loss", "class_weights") => match config.loss.class_weights.as_ref()? {
            ClassWeights::Balanced => Some("balanced".into()),
            ClassWeights::Given(weights) => Some(weights.iter().copied().collect::<Array>().into()),
        },
        ("gradient", _) => gradient(&config.gradient, key),
        ("optimizer", _) => optimizer(&config.optimizer, key),
        ("train", _) => train(&config.train, key),
        ("run", _) => run(&config.run, key),
        _ => None,
    }
}

fn data(data: &DataConfig, key: &str) -> Option<Value> {
    match (key, &data.source) {
        ("dataset", DataSource::Catalog(name)) => Some(name.into()),
        ("train", DataSource::Files { train, .. }) => Some(files(train)),
        ("test", DataSource::Files { test, .. }) if !test.is_empty() => Some(files(test)),
        ("test", _) => data.test.map(share),
        ("label", DataSource::Files { label, .. }) => label.as_deref().map(text),
        ("task", _) => data.task.as_ref().map(|task| task.name().into()),
        ("targets", _) => match data.task.as_ref()? {
            Task::Regression { targets } if !targets.is_empty() => Some(texts(targets)),
            _ => None,
        },
        ("ignore" | "missing" | "unknown" | "separator", DataSource::Files { options, .. }) => {
            table_option(options, key)
        }
        ("validation", _) => data.validation.map(share),
        ("folds", _) => data.folds.map(count),
        ("limit", _) => data.limit.map(count),
        ("normalize", _) => Some(data.normalize.name().into()),
        _ => None,
    }
}

/// Returns what is said of a table's columns.
fn table_option(options: &TableOptions, key: &str) -> Option<Value> {
    match key {
        "ignore" => Some(&options.ignore)
            .filter(|ignored| !ignored.is_empty())
            .map(|ignored| texts(ignored)),
        "missing" => Some(options.missing.name().into()),
        "unknown" => Some(options.unknown.name().into()),
        "separator" => {
            let sign = char::from(options.separator?);
            Some(text(&sign.to_string()))
        }
        _ => None,
    }
}

fn model(model: &ModelConfig, key: &str) -> Option<Value> {
    match key {
        "hidden" => {
            let units = model.hidden.iter().map(|&units| count(units));
            Some(units.collect::<Array>().into())
        }
        "output" => Some(model.output.name().into()),
        "initialization" => Some(model.initialization.name().into()),
        "bias" => Some(model.bias.into()),
        "precision" => Some(model.precision.name().into()),
        _ => None,
    }
}

fn gradient(gradient: &GradientConfig, key: &str) -> Option<Value> {
    match (key, gradient) {
        ("method", _) => Some(gradient.method().into()),
        (_, GradientConfig::Difference(config)) => difference(config, key),
        ("evaluation", GradientConfig::ForwardMode(reuse)) => Some(reuse.name().into()),
        ("arithmetic", GradientConfig::NodePerturbation(config)) => {
            Some(config.arithmetic.name().into())
        }
        ("increment", GradientConfig::NodePerturbation(config)) => Some(or_auto(config.increment)),
        ("increment", GradientConfig::NumericBackprop(config)) => Some(or_auto(config.increment)),
        ("increment", GradientConfig::Spsa(config)) => Some(or_auto(config.increment)),
        (
            "directions" | "distribution",
            GradientConfig::Spsa(SpsaConfig { directions, .. })
            | GradientConfig::ForwardGradient(ForwardGradientConfig { directions, .. }),
        ) => Some(match key {
            "directions" => count(directions.count),
            _ => directions.distribution.name().into(),
        }),
        ("perturbed", GradientConfig::ForwardGradient(config)) => {
            Some(config.perturbed.name().into())
        }
        _ => None,
    }
}

fn difference(config: &DifferenceConfig, key: &str) -> Option<Value> {
    match (key, config.increment) {
        ("evaluation", _) => Some(config.reuse.name().into()),
        ("arithmetic", _) => Some(config.arithmetic.name().into()),
        ("summation", _) => Some(config.summation.name().into()),
        ("increment", Increment::Auto) => Some("auto".into()),
        ("increment", Increment::Noise) => Some("noise".into()),
        ("increment", Increment::Absolute(number)) => Some(number.into()),
        ("relative_increment", Increment::Relative(number)) => Some(number.into()),
        ("extrapolation", _) => config.extrapolate.then(|| "richardson".into()),
        _ => None,
    }
}

fn optimizer(optimizer: &OptimizerConfig, key: &str) -> Option<Value> {
    match (key, optimizer.schedule()) {
        ("kind", _) => Some(optimizer.kind().into()),
        ("schedule", schedule) => Some(match schedule? {
            Schedule::Constant => "constant".into(),
            Schedule::Step { .. } => "step".into(),
            Schedule::Cosine => "cosine".into(),
        }),
        ("step_every", Some(Schedule::Step { every, .. })) => Some(count(every)),
        ("step_factor", Some(Schedule::Step { factor, .. })) => Some(factor.into()),
        _ => {
            let number = optimizer.number(key)?;
            Some(match keys::OPTIMIZER.key(key)?.forms {
                [Form::Integer { .. }] => (number as i64).into(),
                _ => number.into(),
            })
        }
    }
}

fn train(train: &TrainConfig, key: &str) -> Option<Value> {
    match key {
        "epochs" => train.epochs.map(count),
        "max_steps" => train.max_steps.map(integer),
        "max_seconds" => train.max_seconds.map(Value::from),
        "batch_size" => Some(count(train.batch_size)),
        "early_stopping" => train.early_stopping.map(count),
        _ => None,
    }
}

fn run(run: &RunConfig, key: &str) -> Option<Value> {
    match key {
        "threads" => Some(run.threads.map_or("auto".into(), count)),
        "split" => Some(run.split.map_or("auto", Split::name).into()),
        "reduce" => Some(run.reduce.name().into()),
        "checkpoint_seconds" => Some(run.checkpoint_seconds.into()),
        "limit_seconds" => run.limit_seconds.map(Value::from),
        _ => None,
    }
}

fn or_auto(number: Option<f64>) -> Value {
    number.map_or("auto".into(), Value::from)
}

fn share(share: Share) -> Value {
    match share {
        Share::Rows(rows) => count(rows),
        Share::Fraction(fraction) => fraction.into(),
    }
}

/// Converts one file to text, several to a list. The reader refuses paths that are not UTF-8.
fn files(files: &[PathBuf]) -> Value {
    let path = |file: &PathBuf| text(&file.to_string_lossy());
    match files {
        [file] => path(file),
        files => files.iter().map(path).collect::<Array>().into(),
    }
}

fn texts(texts: &[String]) -> Value {
    texts
        .iter()
        .map(|entry| text(entry))
        .collect::<Array>()
        .into()
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

fn count(count: usize) -> Value {
    integer(count as u64)
}

/// Converts to TOML's signed integers; the reader refuses larger numbers.
fn integer(number: u64) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}
