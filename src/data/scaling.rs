//! Scaling of features: `x' = (x − offset) / divisor`, computed from the training rows only.
//!
//! - *unit*: divides by the dataset's constant (offset 0, so zeros stay zeros); without a constant,
//!   maps the minimum of each feature in the training rows to 0 and the maximum to 1.
//! - *standard*: mean 0, population standard deviation 1, as scikit-learn's `StandardScaler`: a
//!   feature whose variance is within round-off counts as constant.
//!
//! Sums are in the order of the rows, so that the same rows give the same bits. Refused: values so
//! large that their range or variance is not finite.

use super::dataset::{Part, Scaling};
use super::source::Normalize;
use super::targets::TargetScaling;
use crate::error::{Error, Result};

impl Scaling {
    /// Returns the scaling that changes nothing.
    pub fn identity(features: usize) -> Self {
        Self::divide_by(features, 1.0)
    }

    /// Computes the scaling of kind `normalize` from the rows of `part`. The targets of a
    /// regression are standardized in any case.
    ///
    /// # Errors
    /// A feature or a target whose range or variance is not finite.
    pub fn fit(normalize: Normalize, part: &Part) -> Result<Self> {
        let features = part.dataset.feature_count();
        let scaling = match (normalize, part.dataset.unit_divisor) {
            (Normalize::None, _) => Self::identity(features),
            (Normalize::Unit, Some(divisor)) => Self::divide_by(features, divisor),
            (Normalize::Unit, None) => Self::unit(part),
            (Normalize::Standard, _) => Self::standard(part),
        };
        let finite = |feature: &usize| {
            scaling.offset[*feature].is_finite() && scaling.divisor[*feature].is_finite()
        };
        match (0..features).find(|feature| !finite(feature)) {
            None => Ok(Self {
                targets: TargetScaling::fit(part)?,
                ..scaling
            }),
            Some(feature) => Err(Error::refused(
                &part.dataset.name,
                format!(
                    "the values of feature {} (counted from 1) are too large to be scaled",
                    feature + 1
                ),
            )
            .help("rescale the column in the file, or set `normalize = \"none\"`")),
        }
    }

    /// Returns whether zeros stay zeros: every offset is 0.
    pub fn keeps_zero(&self) -> bool {
        self.offset.iter().all(|&offset| offset == 0.0)
    }

    /// Returns the divisor of all features, if it is the same for all; the offsets may differ.
    pub fn uniform_divisor(&self) -> Option<f64> {
        let first = *self.divisor.first()?;
        self.divisor
            .iter()
            .all(|&divisor| divisor == first)
            .then_some(first)
    }

    /// Returns the scaled `value` of a feature.
    #[inline]
    pub fn apply(&self, feature: usize, value: f64) -> f64 {
        (value - self.offset[feature]) / self.divisor[feature]
    }

    fn divide_by(features: usize, divisor: f64) -> Self {
        Self {
            offset: vec![0.0; features],
            divisor: vec![divisor; features],
            targets: None,
        }
    }

    fn unit(part: &Part) -> Self {
        let features = part.dataset.feature_count();
        let mut least = vec![f64::INFINITY; features];
        let mut most = vec![f64::NEG_INFINITY; features];
        for_each(part, |feature, value| {
            least[feature] = least[feature].min(value);
            most[feature] = most[feature].max(value);
        });
        let divisor = least
            .iter()
            .zip(&most)
            .map(|(least, most)| if most > least { most - least } else { 1.0 })
            .collect();
        Self {
            offset: least,
            divisor,
            targets: None,
        }
    }

    fn standard(part: &Part) -> Self {
        let value = |row: u32, feature| part.dataset.features.value(row as usize, feature);
        let (offset, divisor) = standardization(&part.rows, part.dataset.feature_count(), value);
        Self {
            offset,
            divisor,
            targets: None,
        }
    }
}

/// Returns the mean and the population standard deviation of each of `columns` columns over `rows`;
/// 1 in place of the deviation of a constant column.
pub(super) fn standardization(
    rows: &[u32],
    columns: usize,
    value: impl Fn(u32, usize) -> f64,
) -> (Vec<f64>, Vec<f64>) {
    let count = rows.len() as f64;
    let mut mean = vec![0.0; columns];
    for &row in rows {
        for (column, mean) in mean.iter_mut().enumerate() {
            *mean += value(row, column);
        }
    }
    for mean in &mut mean {
        *mean /= count;
    }
    // Two passes with a correction, as in scikit-learn (Chan, Golub, LeVeque 1983): the sum of
    // the deviations is 0 up to round-off, which the correction removes.
    let mut squares = vec![0.0; columns];
    let mut sums = vec![0.0; columns];
    for &row in rows {
        for (column, mean) in mean.iter().enumerate() {
            let deviation = value(row, column) - mean;
            squares[column] += deviation * deviation;
            sums[column] += deviation;
        }
    }
    let deviation = (0..columns)
        .map(|column| {
            let sum = sums[column];
            let variance = (squares[column] - sum * sum / count) / count;
            // scikit-learn's `_is_constant_feature`; a variance that overflowed is not constant.
            let rounding =
                count * f64::EPSILON * variance + (count * mean[column] * f64::EPSILON).powi(2);
            if variance.is_finite() && variance <= rounding {
                1.0
            } else {
                variance.sqrt()
            }
        })
        .collect();
    (mean, deviation)
}

/// Visits every value of the part, row by row.
fn for_each(part: &Part, mut visit: impl FnMut(usize, f64)) {
    let features = part.dataset.feature_count();
    for &row in &part.rows {
        for feature in 0..features {
            visit(feature, part.dataset.features.value(row as usize, feature));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ndarray::arr2;

    use super::*;
    use crate::data::{Dataset, Features};

    fn part(rows: Vec<u32>, unit_divisor: Option<f64>) -> Part {
        let values = arr2(&[
            [1.0, 7.0, -1.0],
            [2.0, 7.0, 1.0],
            [6.0, 7.0, 3.0],
            [99.0, 0.0, 9.0],
        ]);
        Part {
            dataset: Arc::new(Dataset {
                name: "small".into(),
                features: Features::Reals(values),
                labels: vec![0, 1, 0, 1],
                class_names: vec!["a".into(), "b".into()],
                image: None,
                unit_divisor,
                targets: None,
                table: None,
            }),
            rows,
        }
    }

    #[test]
    fn unit_maps_the_training_rows_to_zero_and_one() {
        let scaling = Scaling::fit(Normalize::Unit, &part(vec![0, 1, 2], None)).unwrap();
        assert_eq!(scaling.offset, [1.0, 7.0, -1.0]);
        assert_eq!(scaling.divisor, [5.0, 1.0, 4.0]);
        assert_eq!(scaling.apply(0, 6.0), 1.0);
        assert!(!scaling.keeps_zero());
        assert_eq!(scaling.uniform_divisor(), None);
    }

    #[test]
    fn unit_divides_by_the_datasets_constant_if_it_has_one() {
        let scaling = Scaling::fit(Normalize::Unit, &part(vec![0, 1], Some(16.0))).unwrap();
        assert!(scaling.keeps_zero());
        assert_eq!(scaling.uniform_divisor(), Some(16.0));
        assert_eq!(scaling.apply(2, 8.0), 0.5);
    }

    #[test]
    fn standard_gives_mean_zero_and_population_deviation_one() {
        let scaling = Scaling::fit(Normalize::Standard, &part(vec![0, 1, 2], None)).unwrap();
        assert_eq!(scaling.offset, [3.0, 7.0, 1.0]);
        // (4 + 1 + 9) / 3 and (4 + 0 + 4) / 3; the divisor of a constant feature is 1.
        let expected = [(14.0f64 / 3.0).sqrt(), 1.0, (8.0f64 / 3.0).sqrt()];
        assert_eq!(scaling.divisor, expected);
    }

    #[test]
    fn none_changes_nothing() {
        let scaling = Scaling::fit(Normalize::None, &part(vec![0], Some(16.0))).unwrap();
        assert_eq!(scaling, Scaling::identity(3));
        assert_eq!(scaling.apply(1, -3.5), -3.5);
    }

    #[test]
    fn a_range_beyond_the_finite_numbers_is_refused() {
        let mut part = part(vec![0, 1], None);
        let dataset = Arc::get_mut(&mut part.dataset).unwrap();
        dataset.features = Features::Reals(arr2(&[[1e308, 0.0], [-1e308, 0.0]]));
        for normalize in [Normalize::Unit, Normalize::Standard] {
            let error = Scaling::fit(normalize, &part).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("feature 1"), "{error}");
        }
        assert!(Scaling::fit(Normalize::None, &part).is_ok());
    }
}
