//! A regression on the page of a run: the errors of each target, predicted against true numbers, and
//! residuals.

use maud::html;

use super::figure::{Axis, Figure, Mark, Series};
use super::page::{Origin, Page};
use crate::run::evaluation::{ModelEvaluation, RegressionEvaluation};
use crate::study::table::{Table, figure, whole};
use crate::text::{plain, plain_line};

/// Maximum number of targets whose figures are drawn.
const MAX_TARGETS: usize = 6;

/// Formats R².
pub(super) fn score(r2: f64) -> String {
    format!("{r2:.4}")
}

/// Writes the errors of each target, and for the first of them two figures.
pub(super) fn write(
    page: &mut Page,
    evaluation: &ModelEvaluation,
    result: &RegressionEvaluation,
    origin: &Origin,
) {
    page.add(html! {
        h3 { "On the " (plain(&evaluation.part)) " rows: " (whole(evaluation.rows)) " predictions" }
    });
    let mut errors = Table::new(["target", "RMSE", "MAE", "R²"]);
    for target in &result.targets {
        errors.row([
            target.name.clone(),
            figure(target.rmse),
            figure(target.mae),
            score(target.r2),
        ]);
    }
    page.table("Errors, in the units of each target", &errors);
    for (target, errors) in result.targets.iter().enumerate().take(MAX_TARGETS) {
        let name = plain_line(&errors.name);
        let pairs: Vec<(f64, f64)> = (result.truth.iter().zip(&result.predicted))
            .filter_map(|(truth, predicted)| Some((*truth.get(target)?, *predicted.get(target)?)))
            .collect();
        page.figure(
            &predicted_against_true(&name, &pairs),
            std::slice::from_ref(origin),
        );
        page.figure(&residuals(&name, &pairs), std::slice::from_ref(origin));
    }
    if result.targets.len() > MAX_TARGETS {
        page.note(&format!(
            "Figures of the first {MAX_TARGETS} of {} targets.",
            result.targets.len()
        ));
    }
}

/// Returns the figure of predicted and true numbers, with the line of perfect predictions.
fn predicted_against_true(name: &str, pairs: &[(f64, f64)]) -> Figure {
    let truths = || pairs.iter().map(|(truth, _)| *truth);
    let ends = [
        truths().fold(f64::INFINITY, f64::min),
        truths().fold(f64::NEG_INFINITY, f64::max),
    ];
    let points = pairs.iter().map(|(truth, predicted)| (*predicted, *truth));
    Figure::new(
        format!("Predicted against true: {name}"),
        "A dot for each row. Perfect predictions lie on the line.",
        [
            Axis::new(format!("predicted {name}")),
            Axis::new(format!("true {name}")),
        ],
        vec![
            Series::new("rows", Mark::Dots, 0, separated(points)),
            Series::new("perfect", Mark::Dashed, 1, ends.map(|end| (end, end))),
        ],
    )
}

/// Returns the points in the order of x. A figure has one point for each x, so equal ones are moved
/// apart, each to the next number.
fn separated(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = points.collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    for at in 1..points.len() {
        if points[at].0 <= points[at - 1].0 {
            points[at].0 = points[at - 1].0.next_up();
        }
    }
    points
}

/// Returns the figure of residuals, true minus predicted, over predicted numbers.
fn residuals(name: &str, pairs: &[(f64, f64)]) -> Figure {
    let predictions = || pairs.iter().map(|(_, predicted)| *predicted);
    let ends = [
        predictions().fold(f64::INFINITY, f64::min),
        predictions().fold(f64::NEG_INFINITY, f64::max),
    ];
    let points = pairs
        .iter()
        .map(|(truth, predicted)| (*predicted, truth - predicted));
    Figure::new(
        format!("Residuals: {name}"),
        "True minus predicted. A pattern is what the network has not learned.",
        [
            Axis::new(format!("predicted {name}")),
            Axis::new("residual"),
        ],
        vec![
            Series::new("residuals", Mark::Dots, 0, separated(points)),
            Series::new("no error", Mark::Dashed, 1, ends.map(|end| (end, 0.0))),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residuals_are_true_minus_predicted() {
        let pairs = [(3.0, 2.5), (5.0, 6.0)];
        let figure = residuals("price", &pairs);
        assert_eq!(figure.series[0].points, [(2.5, 0.5), (6.0, -1.0)]);
        let figure = predicted_against_true("price", &pairs);
        assert_eq!(figure.series[0].points, [(2.5, 3.0), (6.0, 5.0)]);
        assert_eq!(figure.series[1].points, [(3.0, 3.0), (5.0, 5.0)]);
    }

    #[test]
    fn equal_predictions_keep_all_their_dots() {
        let points = separated([(1.0, 3.0), (1.0, 4.0), (0.5, 1.0), (1.0, 5.0)].into_iter());
        let step = f64::EPSILON;
        assert_eq!(
            points,
            [
                (0.5, 1.0),
                (1.0, 3.0),
                (1.0 + step, 4.0),
                (1.0 + 2.0 * step, 5.0)
            ]
        );
    }
}
