//! The errors of a regression, in the units of the data.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// The errors of one target over some rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetErrors {
    /// The name of the target.
    pub name: String,
    /// √(mean of the squared errors), in the units of the target.
    pub rmse: f64,
    /// Mean of the absolute errors, in the units of the target.
    pub mae: f64,
    /// R² = 1 − Σ (y − ŷ)² / Σ (y − ȳ)², where ȳ is the mean of these rows: 1 is perfect, 0 as
    /// good as ȳ. If all y are equal, it is 1 without any error and else 0, as in scikit-learn.
    pub r2: f64,
}

/// The predictions of a regression, and their errors.
#[derive(Clone, Debug, PartialEq)]
pub struct RegressionResult {
    /// The errors of each target.
    pub targets: Vec<TargetErrors>,
    /// The true numbers, `(rows, targets)`, in the units of the data.
    pub truth: Array2<f64>,
    /// The predicted numbers, in the same shape and units.
    pub predicted: Array2<f64>,
}

impl RegressionResult {
    /// Computes the errors of `predicted`; both arrays are `(rows, targets)`, with at least one row.
    pub fn new(names: &[String], truth: Array2<f64>, predicted: Array2<f64>) -> Self {
        let columns = truth.columns().into_iter().zip(predicted.columns());
        let targets = names.iter().zip(columns);
        let targets = targets.map(|(name, (truth, predicted))| {
            let rows = truth.len() as f64;
            let mean = truth.sum() / rows;
            let (mut squares, mut magnitudes, mut spread) = (0.0, 0.0, 0.0);
            for (y, guess) in truth.iter().zip(predicted) {
                squares += (y - guess).powi(2);
                magnitudes += (y - guess).abs();
                spread += (y - mean).powi(2);
            }
            TargetErrors {
                name: name.clone(),
                rmse: (squares / rows).sqrt(),
                mae: magnitudes / rows,
                r2: match (spread > 0.0, squares == 0.0) {
                    (true, _) => 1.0 - squares / spread,
                    (false, true) => 1.0,
                    (false, false) => 0.0,
                },
            }
        });
        Self {
            targets: targets.collect(),
            truth,
            predicted,
        }
    }

    /// Returns the mean of the targets' R².
    pub fn r2(&self) -> f64 {
        mean_r2(&self.targets)
    }
}

/// Returns the mean of the targets' R².
pub fn mean_r2(targets: &[TargetErrors]) -> f64 {
    targets.iter().map(|target| target.r2).sum::<f64>() / targets.len() as f64
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    /// The numbers of `sklearn.metrics`: `mean_squared_error`, `mean_absolute_error`, `r2_score`.
    #[test]
    fn the_errors_are_those_of_scikit_learn() {
        let names = ["a".to_owned(), "b".to_owned()];
        let truth = array![[3.0, 7.0], [-0.5, 7.0], [2.0, 7.0], [7.0, 7.0]];
        let predicted = array![[2.5, 7.0], [0.0, 7.0], [2.0, 7.0], [8.0, 7.0]];
        let result = RegressionResult::new(&names, truth, predicted);
        let [a, b] = &result.targets[..] else {
            panic!("two targets");
        };
        assert_eq!((a.rmse, a.mae), (0.375f64.sqrt(), 0.5));
        assert!((a.r2 - 0.948_608_137_044_967_8).abs() < 1e-15, "{}", a.r2);
        assert_eq!((b.rmse, b.mae, b.r2), (0.0, 0.0, 1.0));
        assert_eq!(result.r2(), (a.r2 + 1.0) / 2.0);
        let off = RegressionResult::new(&names[..1], array![[1.0], [1.0]], array![[1.0], [2.0]]);
        assert_eq!(off.targets[0].r2, 0.0);
    }
}
