//! The page of training runs: the training curves, the evaluation with its confusion matrix, and
//! the first layer's weights. Several runs share the figures of their curves.

use maud::{Markup, html};
use serde::Deserialize;

use super::figure::{Axis, AxisUnit, Figure, Mark, Series};
use super::image::tiles;
use super::page::{Origin, Page};
use super::regression::{self, score};
use super::source::ReportSource;
use super::{classes, environment, results};
use crate::format::{AnyParameters, safetensors};
use crate::numeric::statistics::{mean, quantile, sample_deviation};
use crate::open::file_type;
use crate::run::RunSummary;
use crate::run::directory::{EVALUATION, METRICS_JSONL, MODEL, SUMMARY};
use crate::run::evaluation::ModelEvaluation;
use crate::study::table::{duration, percent, whole};

/// Maximum number of first-layer units that are shown.
const MAX_UNITS: usize = 100;
/// Number of units in a row of pictures.
const UNITS_PER_ROW: usize = 10;
/// Maximum number of runs whose details are shown without a click.
const MOST_OPEN: usize = 3;
/// Maximum number of inputs of a first layer that is shown.
const MAX_INPUTS: usize = 4_096;

/// The fields of a line of `metrics.jsonl` that a page needs; fields that an older version did not
/// write are absent.
#[derive(Clone, Debug, Deserialize)]
pub struct EpochLine {
    /// The number of the epoch, from 1.
    pub epoch: usize,
    /// The learning rate.
    pub learning_rate: Option<f64>,
    /// The mean loss on the training rows.
    pub train_loss: Option<f64>,
    /// The mean loss on the validation rows.
    pub validation_loss: Option<f64>,
    /// The accuracy on the validation rows.
    pub validation_accuracy: Option<f64>,
    /// R² on the validation rows of a regression.
    pub validation_r2: Option<f64>,
    /// ‖g‖₂ of the gradient g of the last mini-batch.
    pub gradient_norm: Option<f64>,
    /// Seconds of shuffling and training steps.
    pub seconds: Option<f64>,
}

/// The files of a run.
#[derive(Debug)]
pub struct RunFiles<'a> {
    /// The run's label.
    pub label: &'a str,
    /// The directory and the content common to all directories.
    pub source: &'a ReportSource,
    /// The lines of `metrics.jsonl` that could be read.
    pub epochs: Vec<EpochLine>,
    /// The summary; absent if the run has not ended.
    pub summary: Option<RunSummary>,
    /// The evaluation on rows that were not used for training.
    pub evaluation: Option<ModelEvaluation>,
}

impl<'a> RunFiles<'a> {
    /// Reads the files of a run; problems become notes of the source.
    pub fn read(source: &'a mut ReportSource) -> Self {
        let common = &mut source.common;
        let epochs: Vec<EpochLine> = common.log(METRICS_JSONL);
        let summary: Option<RunSummary> = common.document(SUMMARY);
        let evaluation = common.document(EVALUATION);
        match &summary {
            None if epochs.is_empty() => common
                .notes
                .push("No epoch of this run was completed.".to_owned()),
            None => {
                let planned = environment::value(common, "train", "epochs");
                common.notes.push(format!(
                    "This run has not ended, or its last files are missing: its metrics go up to epoch {}{}.",
                    epochs.last().map_or(0, |epoch| epoch.epoch),
                    planned.map_or(String::new(), |planned| format!(" of {planned}"))
                ));
            }
            Some(summary) if epochs.last().map_or(0, |epoch| epoch.epoch) < summary.epochs => {
                common.notes.push(format!(
                    "The metrics of the last epochs are missing: {} of {} epochs were read.",
                    epochs.len(),
                    summary.epochs
                ));
            }
            Some(_) => {}
        }
        let source = &*source;
        Self {
            label: &source.common.label,
            source,
            epochs,
            summary,
            evaluation,
        }
    }
}

/// Writes the runs: first the table and figures that all runs share, then a section per run.
pub fn write(page: &mut Page, runs: &[RunFiles<'_>]) {
    page.section(if runs.len() == 1 {
        "Training"
    } else {
        "Runs side by side"
    });
    for run in runs {
        for note in &run.source.common.notes {
            let of = if runs.len() == 1 {
                String::new()
            } else {
                format!("{}: ", run.label)
            };
            page.note(&format!("{of}{note}"));
        }
    }
    if let [run] = runs {
        page.add(highlights(run));
    }
    for (caption, table) in results::tables(runs) {
        page.table(caption, &table);
    }
    page.sentences(&spread(runs).into_iter().collect::<Vec<_>>());
    result_curves(page, runs);
    if runs.len() > 1 {
        step_curves(page, runs);
    }
    for run in runs {
        if runs.len() > 1 {
            page.section(run.label);
        }
        if runs.len() > MOST_OPEN {
            page.collapsed("Evaluation and weights", |page| details(page, run));
        } else {
            details(page, run);
        }
        // What a single run is judged by comes before how its steps went.
        if runs.len() == 1 {
            step_curves(page, runs);
        }
        page.source(&[run.source.common.origin()]);
        environment::write(page, &run.source.common);
    }
}

/// Writes what one run is judged by.
fn details(page: &mut Page, run: &RunFiles<'_>) {
    if let Some(evaluation) = &run.evaluation {
        match &evaluation.regression {
            Some(result) => {
                regression::write(page, evaluation, result, &run.source.common.origin());
            }
            None => classes::write(page, evaluation),
        }
    }
    weights(page, run);
}

/// Renders the most important results in large letters.
fn highlights(run: &RunFiles<'_>) -> Markup {
    let Some(summary) = &run.summary else {
        return Markup::default();
    };
    let accuracy = |accuracy: Option<f64>| accuracy.map(|accuracy| percent(Some(accuracy)));
    let figures = [
        ("test accuracy", accuracy(summary.test_accuracy)),
        ("validation accuracy", accuracy(summary.validation_accuracy)),
        ("test R²", summary.test_r2.map(score)),
        ("validation R²", summary.validation_r2.map(score)),
        ("training time", Some(duration(summary.seconds))),
        ("time per epoch", summary.seconds_per_epoch.map(duration)),
        ("parameters", Some(whole(summary.parameters as u64))),
    ];
    html! {
        dl.highlights {
            @for (name, figure) in &figures {
                @if let Some(figure) = figure { div { dt { (name) } dd { (figure) } } }
            }
        }
    }
}

/// Returns a sentence with the mean and the standard deviation of the test accuracies, if there are
/// at least two and the configs of all runs differ at most in the seed.
pub fn spread(runs: &[RunFiles<'_>]) -> Option<String> {
    let config_without_seed = |run: &RunFiles<'_>| -> Option<Vec<String>> {
        let lines = run.source.common.config.as_ref()?.lines();
        Some(
            lines
                .filter(|line| !line.starts_with("seed"))
                .map(str::to_owned)
                .collect(),
        )
    };
    let first = config_without_seed(runs.first()?)?;
    if runs
        .iter()
        .any(|run| config_without_seed(run).as_ref() != Some(&first))
    {
        return None;
    }
    let accuracies: Vec<f64> = (runs.iter())
        .filter_map(|run| run.summary.as_ref()?.test_accuracy)
        .collect();
    let deviation = sample_deviation(&accuracies)?;
    let count = accuracies.len();
    Some(format!(
        "Test accuracy of {count} runs: {} ± {} (mean and standard deviation).",
        percent(mean(&accuracies)),
        percent(Some(deviation))
    ))
}

/// A quantity of an epoch.
type RunQuantity = fn(&EpochLine) -> Option<f64>;

/// The title, caption and vertical axis of a figure against epochs.
type EpochFigure<'a> = (&'a str, &'a str, Axis);

/// Writes a figure against epochs: the quantities `of` of each run. A quantity that none of the runs
/// has is left out silently, except the loss, which every run has.
fn curve(
    page: &mut Page,
    runs: &[RunFiles<'_>],
    (title, caption, y): EpochFigure<'_>,
    of: &[(&str, Mark, RunQuantity)],
) {
    let origins: Vec<Origin> = runs.iter().map(|run| run.source.common.origin()).collect();
    let epoch = Axis::new("epoch").with_unit(AxisUnit::Whole);
    let mut series = Vec::new();
    for (number, run) in runs.iter().enumerate() {
        for (place, (name, mark, quantity)) in of.iter().enumerate() {
            let points = (run.epochs.iter())
                .filter_map(|epoch| Some((epoch.epoch as f64, quantity(epoch)?)));
            let (label, color) = match (runs.len(), of.len()) {
                (1, _) => ((*name).to_owned(), place),
                (_, 1) => (run.label.to_owned(), number),
                _ => (format!("{}: {name}", run.label), number),
            };
            series.push(Series::new(label, *mark, color, points));
        }
    }
    let has_points = series.iter().any(|series| !series.points.is_empty());
    if has_points || title == "Loss" {
        page.figure(&Figure::new(title, caption, [epoch, y], series), &origins);
    }
}

/// Writes what the epochs achieved: loss and accuracy, or R².
fn result_curves(page: &mut Page, runs: &[RunFiles<'_>]) {
    let mut add = |title, caption, y, of: &[(&str, Mark, RunQuantity)]| {
        curve(page, runs, (title, caption, y), of);
    };
    add(
        "Loss",
        "Mean loss on the training rows over each epoch (with L-BFGS: after each iteration), and on the validation rows after it.",
        Axis::new("loss"),
        &[
            ("training", Mark::LineAndDots, |epoch| epoch.train_loss),
            ("validation", Mark::Dashed, |epoch| epoch.validation_loss),
        ],
    );
    add(
        "Accuracy",
        "Validation accuracy after each epoch.",
        Axis::new("validation accuracy").with_unit(AxisUnit::Fraction),
        &[("validation", Mark::LineAndDots, |epoch| {
            epoch.validation_accuracy
        })],
    );
    add(
        "R²",
        "R² on the validation rows after each epoch: 1 is perfect, 0 as good as their mean.",
        Axis::new("validation R²"),
        &[("validation", Mark::LineAndDots, |epoch| epoch.validation_r2)],
    );
}

/// Writes how the steps went: gradient, learning rate and time.
fn step_curves(page: &mut Page, runs: &[RunFiles<'_>]) {
    let mut add = |title, caption, y, of: &[(&str, Mark, RunQuantity)]| {
        curve(page, runs, (title, caption, y), of);
    };
    add(
        "Gradient",
        "Norm of the gradient of each epoch's last mini-batch (with L-BFGS: of all training rows).",
        Axis::new("‖gradient‖").logarithmic(),
        &[("gradient norm", Mark::LineAndDots, |epoch| {
            epoch.gradient_norm
        })],
    );
    add(
        "Learning rate",
        "",
        Axis::new("learning rate"),
        &[("learning rate", Mark::LineAndDots, |epoch| {
            epoch.learning_rate
        })],
    );
    add(
        "Time of an epoch",
        "Shuffling and training steps; without evaluation and writing files.",
        Axis::new("time").with_unit(AxisUnit::Seconds),
        &[("time", Mark::LineAndDots, |epoch| epoch.seconds)],
    );
}

/// Writes the first layer's weights as pictures: one per unit if the inputs are images, else one
/// picture with a row per unit.
fn weights(page: &mut Page, run: &RunFiles<'_>) {
    let path = run.source.common.path.join(MODEL);
    if let Ok(None) = file_type(&path) {
        return;
    }
    let model = match safetensors::load(&path) {
        Ok(loaded) => loaded.model,
        Err(error) => {
            page.note(&format!(
                "{MODEL} cannot be read, so its weights are not shown: {error}."
            ));
            return;
        }
    };
    let parameters = match &model.parameters {
        AnyParameters::F32(parameters) => parameters.widened(),
        AnyParameters::F64(parameters) => parameters.clone(),
    };
    let first = parameters.weights(0);
    let (units, inputs) = first.dim();
    if units == 0 || inputs == 0 || inputs > MAX_INPUTS {
        return;
    }
    let shown = units.min(MAX_UNITS);
    let sizes: Vec<f64> = first.iter().map(|weight| weight.abs()).collect();
    let most = quantile(&sizes, 0.995).unwrap_or(1.0);
    let most = if most > 0.0 { most } else { 1.0 };
    let shape = run
        .evaluation
        .as_ref()
        .and_then(|evaluation| evaluation.image);
    let shape = shape.filter(|[height, width]| height.saturating_mul(*width) == inputs);
    let rows = || first.outer_iter().take(shown).map(|row| row.to_vec());
    let (picture, meaning) = match shape {
        Some(shape) => (
            tiles(&rows().collect::<Vec<_>>(), shape, UNITS_PER_ROW, most),
            "each square is one unit, each pixel one weight",
        ),
        None => (
            tiles(&[rows().flatten().collect()], [shown, inputs], 1, most),
            "each row is one unit, each pixel one weight",
        ),
    };
    let alternative = format!(
        "Weights of {shown} of {units} units: {meaning}, blue below 0, red above, full color at ±{most:.3}"
    );
    page.add(html! {
        h3 { "First-layer weights" }
        p { (alternative) "." }
        img.weights src=(picture.address) width=(picture.width) height=(picture.height) alt=(alternative);
    });
}
