//! `evaluation.json`: the accuracy of a model, the metrics of each class, and its most confident
//! wrong predictions.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::model::RegressionResult;
pub use crate::model::TargetErrors;

/// The evaluation of a model on one part of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelEvaluation {
    /// The part of the data: `test`, `validation`, or a file.
    pub part: String,
    /// Number of rows evaluated.
    pub rows: u64,
    /// Mean loss per row, without the l2 term.
    pub loss: f64,
    /// Fraction of rows whose class was predicted correctly; not a number in a regression.
    pub accuracy: f64,
    /// Seconds that the predictions took; absent in files of older versions.
    pub seconds: Option<f64>,
    /// Height and width, if a row is an image.
    pub image: Option<[usize; 2]>,
    /// The metrics of each class.
    pub classes: Vec<ClassFigures>,
    /// Number of rows by true class (outer) and predicted class (inner).
    pub confusion: Vec<Vec<u64>>,
    /// The wrong predictions with the highest confidence, most confident first.
    pub wrong: Vec<WrongSample>,
    /// The errors and predictions of a regression; absent for classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression: Option<RegressionEvaluation>,
}

/// The errors of a regression, and some of its predictions, all in the units of the targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegressionEvaluation {
    /// The errors of each target over all rows.
    pub targets: Vec<TargetErrors>,
    /// The numbers of the rows below in the part, from 0; at most 2000, evenly spaced.
    pub rows: Vec<usize>,
    /// The true numbers of these rows, one list per row.
    pub truth: Vec<Vec<f64>>,
    /// The predicted numbers of these rows.
    pub predicted: Vec<Vec<f64>>,
}

impl RegressionEvaluation {
    /// Maximum number of rows whose predictions are kept.
    pub const ROWS_KEPT: usize = 2000;

    /// Keeps the errors of `result` and evenly spaced predictions.
    pub fn new(result: &RegressionResult) -> Self {
        let all = result.truth.nrows();
        let kept = all.min(Self::ROWS_KEPT);
        let rows: Vec<usize> = (0..kept).map(|place| place * all / kept).collect();
        let numbers = |of: &Array2<f64>| rows.iter().map(|&row| of.row(row).to_vec()).collect();
        Self {
            targets: result.targets.clone(),
            truth: numbers(&result.truth),
            predicted: numbers(&result.predicted),
            rows,
        }
    }
}

/// The class with the fewest training rows, and how well its rows are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RarestClass {
    /// The name of the class.
    pub name: String,
    /// Its fraction of the training rows.
    pub share: f64,
    /// Its recall; see [`ClassFigures::recall`].
    pub recall: Option<f64>,
    /// Its F1; see [`ClassFigures::f1`].
    pub f1: Option<f64>,
}

/// The metrics of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassFigures {
    /// The name of the class.
    pub name: String,
    /// Number of rows of this class.
    pub rows: u64,
    /// The fraction of the rows predicted as this class that belong to it; absent if there are
    /// none.
    pub precision: Option<f64>,
    /// The fraction of the rows of this class that are predicted as it; absent if there are none.
    pub recall: Option<f64>,
    /// 2·true positives / (rows of the class + rows predicted as it); absent if both are 0.
    pub f1: Option<f64>,
}

/// A row whose class was predicted wrongly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WrongSample {
    /// Its number in the part, from 0.
    pub row: usize,
    /// Its true class.
    pub label: String,
    /// The predicted class.
    pub predicted: String,
    /// The predicted class's share of the output.
    pub confidence: f64,
    /// Its features, unscaled.
    pub inputs: Vec<f64>,
}

impl ModelEvaluation {
    /// Maximum number of wrong samples that are kept.
    pub const WRONG_KEPT: usize = 25;

    /// Creates the evaluation from the confusion matrix `(true class, predicted class)`; of
    /// `wrong`, the 25 most confident are kept.
    ///
    /// # Panics
    /// If the matrix is not `(classes, classes)`.
    pub fn new(
        part: impl Into<String>,
        loss: f64,
        confusion: &Array2<u64>,
        class_names: &[String],
        wrong: Vec<WrongSample>,
    ) -> Self {
        assert_eq!(
            confusion.dim(),
            (class_names.len(), class_names.len()),
            "a confusion matrix has one row and one column per class"
        );
        let rows = confusion.sum();
        Self {
            part: part.into(),
            rows,
            loss,
            accuracy: fraction(confusion.diag().sum(), rows).unwrap_or(f64::NAN),
            seconds: None,
            image: None,
            classes: class_figures(confusion, class_names),
            confusion: confusion
                .rows()
                .into_iter()
                .map(|row| row.to_vec())
                .collect(),
            wrong: most_confident(wrong),
            regression: None,
        }
    }
}

/// Computes precision, recall and F1 of each class.
pub fn class_figures(confusion: &Array2<u64>, class_names: &[String]) -> Vec<ClassFigures> {
    let figures = |(class, name): (usize, &String)| {
        let rows = confusion.row(class).sum();
        let predicted = confusion.column(class).sum();
        let hits = confusion[[class, class]];
        ClassFigures {
            name: name.clone(),
            rows,
            precision: fraction(hits, predicted),
            recall: fraction(hits, rows),
            f1: fraction(2 * hits, rows + predicted),
        }
    };
    class_names.iter().enumerate().map(figures).collect()
}

fn fraction(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Sorts by falling confidence, then by row so that the order is reproducible, and keeps the first
/// [`ModelEvaluation::WRONG_KEPT`].
fn most_confident(mut wrong: Vec<WrongSample>) -> Vec<WrongSample> {
    wrong.sort_by(|a, b| {
        b.confidence
            .total_cmp(&a.confidence)
            .then(a.row.cmp(&b.row))
    });
    wrong.truncate(ModelEvaluation::WRONG_KEPT);
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn names() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    /// Computed by hand. a: 3 of 4 rows correct, 5 predicted; b: 1 of 3, 2 predicted; c: no rows,
    /// none predicted.
    #[test]
    fn class_figures_are_those_computed_by_hand() {
        let confusion = array![[3, 1, 0], [2, 1, 0], [0, 0, 0]];
        let evaluation = ModelEvaluation::new("test", 0.5, &confusion, &names(), Vec::new());
        assert_eq!((evaluation.rows, evaluation.accuracy), (7, 4.0 / 7.0));
        let [a, b, c] = evaluation.classes.try_into().unwrap();
        assert_eq!((a.precision, a.recall), (Some(0.6), Some(0.75)));
        assert_eq!(a.f1, Some(6.0 / 9.0));
        assert_eq!((b.precision, b.recall), (Some(0.5), Some(1.0 / 3.0)));
        assert_eq!((c.rows, c.precision, c.recall, c.f1), (0, None, None, None));
    }

    #[test]
    fn the_25_most_confident_are_kept_ties_in_row_order() {
        let wrong = (0..40).map(|row| WrongSample {
            row,
            label: "a".to_owned(),
            predicted: "b".to_owned(),
            confidence: if row < 10 { 0.1 } else { (row / 2) as f64 },
            inputs: vec![row as f64],
        });
        let kept = most_confident(wrong.rev().collect());
        let rows: Vec<_> = kept.iter().map(|sample| sample.row).collect();
        assert_eq!(rows.len(), 25);
        assert_eq!(rows[..4], [38, 39, 36, 37]);
        assert_eq!(rows[24], 14);
    }
}
