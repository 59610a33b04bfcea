//! Runs: how training went, epoch by epoch, and what the model is wrong about. Several runs share
//! their figures, side by side.

use maud::{Markup, html};
use serde::Deserialize;

use super::environment;
use super::figure::{Axis, AxisUnit, Figure, Mark, Series};
use super::image::{gray, tiles};
use super::page::{Origin, Page};
use super::source::ReportSource;
use crate::format::{AnyParameters, safetensors};
use crate::open::file_type;
use crate::run::RunSummary;
use crate::run::directory::{EVALUATION, METRICS_JSONL, MODEL, SUMMARY};
use crate::run::evaluation::ModelEvaluation;
use crate::study::table::{Table, duration, loss, percent, whole};
use crate::text::{plain, plain_line};

/// Units of the first layer that are shown.
const MOST_UNITS: usize = 100;
/// Units in a row of pictures.
const ACROSS: usize = 10;
/// Inputs of a first layer that is shown.
const MOST_INPUTS: usize = 4_096;

/// A line of the metrics, as far as a page needs it; what an older version did not write is absent.
#[derive(Clone, Debug, Deserialize)]
pub struct EpochLine {
    /// From 1.
    pub epoch: usize,
    /// The learning rate.
    pub learning_rate: Option<f64>,
    /// The mean loss of the training rows.
    pub train_loss: Option<f64>,
    /// On the validation rows.
    pub validation_loss: Option<f64>,
    /// On the validation rows.
    pub validation_accuracy: Option<f64>,
    /// ‖g‖₂ of the last mini-batch.
    pub gradient_norm: Option<f64>,
    /// Shuffle and steps.
    pub seconds: Option<f64>,
}

/// A run's files.
#[derive(Debug)]
pub struct RunFiles<'a> {
    /// What it is called.
    pub label: &'a str,
    /// What every directory holds.
    pub source: &'a ReportSource,
    /// The epochs that could be read.
    pub epochs: Vec<EpochLine>,
    /// What it came to; none if it has not ended.
    pub summary: Option<RunSummary>,
    /// On rows that it was not trained on.
    pub evaluation: Option<ModelEvaluation>,
}

impl<'a> RunFiles<'a> {
    /// Reads what the run left; what is wrong with it is noted in the source.
    pub fn read(source: &'a mut ReportSource) -> Self {
        let held = &mut source.held;
        let epochs: Vec<EpochLine> = held.log(METRICS_JSONL);
        let summary: Option<RunSummary> = held.document(SUMMARY);
        let evaluation = held.document(EVALUATION);
        match &summary {
            None if epochs.is_empty() => held
                .notes
                .push("No epoch of this run was completed.".to_owned()),
            None => {
                let asked = environment::value(held, "train", "epochs");
                held.notes.push(format!(
                    "This run has not ended, or its end is lost: its metrics go up to epoch {}{}.",
                    epochs.last().map_or(0, |epoch| epoch.epoch),
                    asked.map_or(String::new(), |asked| format!(" of {asked}"))
                ));
            }
            Some(summary) if epochs.last().map_or(0, |epoch| epoch.epoch) < summary.epochs => {
                held.notes.push(format!(
                    "The metrics of the last epochs are missing: {} of {} are there.",
                    epochs.len(),
                    summary.epochs
                ));
            }
            Some(_) => {}
        }
        let source = &*source;
        Self {
            label: &source.held.label,
            source,
            epochs,
            summary,
            evaluation,
        }
    }
}

/// Writes the runs: figures that all share, then each run's own.
pub fn write(page: &mut Page, runs: &[RunFiles<'_>]) {
    page.section(if runs.len() == 1 {
        "Training"
    } else {
        "The runs side by side"
    });
    for run in runs {
        for note in &run.source.held.notes {
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
    page.table("What came of it", &summaries(runs));
    page.findings(&spread(runs).into_iter().collect::<Vec<_>>());
    curves(page, runs);
    for run in runs {
        if runs.len() > 1 {
            page.section(run.label);
        }
        if let Some(evaluation) = &run.evaluation {
            judged(page, evaluation);
        }
        weights(page, run);
        page.source(&[run.source.held.origin()]);
        environment::write(page, &run.source.held);
    }
}

/// What a reader wants to know first, in large letters.
fn highlights(run: &RunFiles<'_>) -> Markup {
    let Some(summary) = &run.summary else {
        return Markup::default();
    };
    let accuracy = |accuracy: Option<f64>| accuracy.map(|accuracy| percent(Some(accuracy)));
    let figures = [
        ("test accuracy", accuracy(summary.test_accuracy)),
        ("validation accuracy", accuracy(summary.validation_accuracy)),
        ("training time", Some(duration(summary.seconds))),
        ("an epoch", summary.seconds_per_epoch.map(duration)),
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

/// A column a run.
pub fn summaries(runs: &[RunFiles<'_>]) -> Table {
    let mut table = Table::new(
        std::iter::once("run".to_owned()).chain(runs.iter().map(|run| run.label.to_owned())),
    );
    type TableCell = fn(&RunFiles<'_>) -> Option<String>;
    let figures: [(&str, TableCell); 14] = [
        ("network", |run| {
            Some(topology(&run.summary.as_ref()?.sizes))
        }),
        ("parameters", |run| {
            Some(whole(run.summary.as_ref()?.parameters as u64))
        }),
        ("gradient", |run| {
            environment::value(&run.source.held, "gradient", "method")
        }),
        ("optimizer", |run| {
            environment::value(&run.source.held, "optimizer", "kind")
        }),
        ("seed", |run| Some(run.summary.as_ref()?.seed.to_string())),
        ("threads", |run| {
            Some(run.summary.as_ref()?.threads.to_string())
        }),
        ("epochs", |run| {
            Some(
                run.summary
                    .as_ref()
                    .map_or(run.epochs.len(), |s| s.epochs)
                    .to_string(),
            )
        }),
        ("ended", |run| Some(run.summary.as_ref()?.ending.clone())),
        ("training time", |run| {
            Some(duration(run.summary.as_ref()?.seconds))
        }),
        ("per epoch (median)", |run| {
            run.summary.as_ref()?.seconds_per_epoch.map(duration)
        }),
        ("train loss", |run| {
            Some(loss(run.summary.as_ref()?.train_loss))
        }),
        ("validation accuracy", |run| {
            Some(percent(run.summary.as_ref()?.validation_accuracy))
        }),
        ("test accuracy", |run| {
            Some(percent(run.summary.as_ref()?.test_accuracy))
        }),
        ("predictions a second", |run| {
            let evaluation = run.evaluation.as_ref()?;
            let seconds = evaluation.seconds.filter(|seconds| *seconds > 0.0)?;
            Some(whole((evaluation.rows as f64 / seconds) as u64))
        }),
    ];
    for (label, cell) in figures {
        let cells: Vec<Option<String>> = runs.iter().map(cell).collect();
        if cells.iter().any(Option::is_some) {
            let shown = cells.into_iter().map(|cell| cell.unwrap_or("–".to_owned()));
            table.row(std::iter::once(label.to_owned()).chain(shown));
        }
    }
    table
}

/// Mean and standard deviation of the test accuracies, where there are several of one config, but for
/// its seed.
pub fn spread(runs: &[RunFiles<'_>]) -> Option<String> {
    let asked = |run: &RunFiles<'_>| -> Option<Vec<String>> {
        let lines = run.source.held.config.as_ref()?.lines();
        Some(
            lines
                .filter(|line| !line.starts_with("seed"))
                .map(str::to_owned)
                .collect(),
        )
    };
    let first = asked(runs.first()?)?;
    if runs.iter().any(|run| asked(run).as_ref() != Some(&first)) {
        return None;
    }
    let accuracies: Vec<f64> = (runs.iter())
        .filter_map(|run| run.summary.as_ref()?.test_accuracy)
        .collect();
    if accuracies.len() < 2 {
        return None;
    }
    let count = accuracies.len() as f64;
    let mean = accuracies.iter().sum::<f64>() / count;
    let squares = accuracies.iter().map(|accuracy| (accuracy - mean).powi(2));
    let deviation = (squares.sum::<f64>() / (count - 1.0)).sqrt();
    Some(format!(
        "Test accuracy of {count} runs: {} ± {} (mean and standard deviation).",
        percent(Some(mean)),
        percent(Some(deviation))
    ))
}

/// `784-30-10`.
fn topology(sizes: &[usize]) -> String {
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    sizes.join("-")
}

/// What an epoch has of a quantity.
type RunQuantity = fn(&EpochLine) -> Option<f64>;

fn curves(page: &mut Page, runs: &[RunFiles<'_>]) {
    let origins: Vec<Origin> = runs.iter().map(|run| run.source.held.origin()).collect();
    let epoch = || Axis::new("epoch").of(AxisUnit::Whole);
    let mut add = |title: &str, caption: &str, y: Axis, of: &[(&str, Mark, RunQuantity)]| {
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
        let figure = Figure::new(title, caption, [epoch(), y], series);
        // A quantity that these runs do not have needs no words; but losses they have.
        if has_points || title == "Loss" {
            page.figure(&figure, &origins);
        }
    };
    add(
        "Loss",
        "The mean loss of the training rows over each epoch (by L-BFGS: after each iteration), and of the validation rows after it.",
        Axis::new("loss"),
        &[
            ("training", Mark::LineAndDots, |epoch| epoch.train_loss),
            ("validation", Mark::Dashed, |epoch| epoch.validation_loss),
        ],
    );
    add(
        "Accuracy",
        "Validation rows whose class was predicted, after each epoch.",
        Axis::new("validation accuracy").of(AxisUnit::Fraction),
        &[("validation", Mark::LineAndDots, |epoch| {
            epoch.validation_accuracy
        })],
    );
    add(
        "Gradient",
        "The length of the gradient of each epoch's last mini-batch (by L-BFGS: of all training rows).",
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
        "Shuffle and steps, without evaluation and files.",
        Axis::new("time").of(AxisUnit::Seconds),
        &[("time", Mark::LineAndDots, |epoch| epoch.seconds)],
    );
}

/// The confusion matrix, the figures of each class, and what the model is most confidently wrong about.
fn judged(page: &mut Page, evaluation: &ModelEvaluation) {
    page.add(html! {
        h3 { "On the " (plain(&evaluation.part)) " rows: " (percent(Some(evaluation.accuracy))) " of "
            (whole(evaluation.rows)) " right" }
    });
    page.add(confusion(evaluation));
    let mut classes = Table::new(["class", "rows", "precision", "recall", "F1"]);
    for class in &evaluation.classes {
        classes.row([
            class.name.clone(),
            whole(class.rows),
            percent(class.precision),
            percent(class.recall),
            percent(class.f1),
        ]);
    }
    page.table("Class by class", &classes);
    if !evaluation.wrong.is_empty() {
        page.add(wrong(evaluation));
    }
}

fn confusion(evaluation: &ModelEvaluation) -> Markup {
    let names: Vec<String> = evaluation
        .classes
        .iter()
        .map(|class| plain_line(&class.name).into_owned())
        .collect();
    let caption = "Confusion matrix: true classes down, predicted classes across";
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table.confusion {
                caption { (caption) }
                thead {
                    tr { td {} @for name in &names { th scope="col" { bdi { (name) } } } }
                }
                tbody {
                    @for (truth, (row, name)) in evaluation.confusion.iter().zip(&names).enumerate() {
                        @let all: u64 = row.iter().sum();
                        tr {
                            th scope="row" { bdi { (name) } }
                            @for (predicted, &count) in row.iter().enumerate() {
                                td class=(cell(truth == predicted, count, all)) { (count) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `hit s7`, `miss s2`: how large a part of its row a cell is, in nine steps; misses on a finer scale.
fn cell(hit: bool, count: u64, all: u64) -> String {
    if count == 0 {
        return "none".to_owned();
    }
    let share = count as f64 / all.max(1) as f64;
    let step = if hit { 9.0 * share } else { 90.0 * share }
        .ceil()
        .clamp(1.0, 9.0);
    format!("{} s{step}", if hit { "hit" } else { "miss" })
}

fn wrong(evaluation: &ModelEvaluation) -> Markup {
    let most = (evaluation.wrong.iter().flat_map(|sample| &sample.inputs))
        .fold(0.0_f64, |most, &input| most.max(input));
    let image = evaluation.image.filter(|&[height, width]| {
        let fits = |sample: &crate::run::evaluation::WrongSample| {
            sample.inputs.len() == height.saturating_mul(width)
        };
        most > 0.0
            && (1..=MOST_INPUTS).contains(&(height.saturating_mul(width)))
            && evaluation.wrong.iter().all(fits)
    });
    let told = |sample: &crate::run::evaluation::WrongSample| {
        plain(&format!(
            "row {}: a {}, taken for {} ({})",
            sample.row,
            sample.label,
            sample.predicted,
            percent(Some(sample.confidence))
        ))
        .into_owned()
    };
    html! {
        h3 { "Most confidently wrong" }
        @if let Some(shape) = image {
            ul.samples {
                @for sample in &evaluation.wrong {
                    @let picture = gray(&sample.inputs, shape, [0.0, most]);
                    li {
                        img src=(picture.address) width=(picture.width) height=(picture.height) alt=(told(sample));
                        span { bdi { (plain(&sample.label)) } " → " b { bdi { (plain(&sample.predicted)) } } }
                        small { (percent(Some(sample.confidence))) }
                    }
                }
            }
        } @else {
            ul { @for sample in &evaluation.wrong { li { (told(sample)) } } }
        }
    }
}

/// The first layer's weights as pictures: a unit's own where rows are images, else a row a unit.
fn weights(page: &mut Page, run: &RunFiles<'_>) {
    let path = run.source.held.path.join(MODEL);
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
    if units == 0 || inputs == 0 || inputs > MOST_INPUTS {
        return;
    }
    let shown = units.min(MOST_UNITS);
    let sizes: Vec<f64> = first.iter().map(|weight| weight.abs()).collect();
    let most = crate::numeric::statistics::quantile(&sizes, 0.995).unwrap_or(1.0);
    let most = if most > 0.0 { most } else { 1.0 };
    let shape = run
        .evaluation
        .as_ref()
        .and_then(|evaluation| evaluation.image);
    let shape = shape.filter(|[height, width]| height.saturating_mul(*width) == inputs);
    let rows = || first.outer_iter().take(shown).map(|row| row.to_vec());
    let (picture, what) = match shape {
        Some(shape) => (
            tiles(&rows().collect::<Vec<_>>(), shape, ACROSS, most),
            "a square a unit of the first layer, a pixel a weight",
        ),
        None => (
            tiles(&[rows().flatten().collect()], [shown, inputs], 1, most),
            "a line a unit of the first layer, a square a weight",
        ),
    };
    let alternative = format!(
        "Weights of {shown} of {units} units: {what}, blue below 0, red above, strongest at ±{most:.3}"
    );
    page.add(html! {
        h3 { "First-layer weights" }
        p { (alternative) "." }
        img.weights src=(picture.address) width=(picture.width) height=(picture.height) alt=(alternative);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_shaded_by_their_share() {
        assert_eq!(cell(true, 980, 1000), "hit s9");
        assert_eq!(cell(true, 1, 1000), "hit s1");
        assert_eq!(cell(false, 20, 1000), "miss s2");
        assert_eq!(cell(false, 0, 1000), "none");
    }
}
