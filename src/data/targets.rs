//! The numbers that a regression predicts, their scaling, and targets gathered for the kernels.
//!
//! Targets are standardized by the training rows, as `sklearn.preprocessing.StandardScaler` does
//! it: the network learns `(y − mean) / deviation`, and what is printed is in the units of y.

use ndarray::Array2;

use super::dataset::Part;
use super::samples::Samples;
use super::scaling::standardization;
use crate::error::{Error, InputError, Result};
use crate::kernels::targets::Targets;
use crate::numeric::Real;

/// The target numbers of a dataset's rows.
#[derive(Clone, Debug, PartialEq)]
pub struct RegressionTargets {
    /// The name of each target.
    pub names: Vec<String>,
    /// The numbers, `(rows, targets)`, in the units of the data.
    pub values: Array2<f64>,
}

impl RegressionTargets {
    /// Checks what the public fields may violate, for a dataset of `rows` rows.
    pub(super) fn check(&self, rows: usize) -> Result<(), InputError> {
        let (found, targets) = self.values.dim();
        if found != rows {
            return Err(InputError::TargetRows { rows, found });
        }
        if targets == 0 || targets != self.names.len() {
            return Err(InputError::TargetNames {
                targets,
                names: self.names.len(),
            });
        }
        let mut values = self.values.indexed_iter();
        match values.find(|(_, value)| !value.is_finite()) {
            None => Ok(()),
            Some(((row, target), &value)) => {
                Err(InputError::TargetNotFinite { row, target, value })
            }
        }
    }
}

/// The affine map of each target, `z = (y − mean) / deviation`, from the training rows.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TargetScaling {
    /// The name of each target.
    pub names: Vec<String>,
    /// The mean of each target.
    pub mean: Vec<f64>,
    /// The population standard deviation of each target, never 0 (1 for a constant target).
    pub deviation: Vec<f64>,
}

impl TargetScaling {
    /// Computes the scaling from the rows of `part`; `None` for a dataset of classes.
    ///
    /// # Errors
    /// A target whose mean or variance is not finite.
    pub fn fit(part: &Part) -> Result<Option<Self>> {
        let Some(targets) = &part.dataset.targets else {
            return Ok(None);
        };
        let value = |row: u32, target: usize| targets.values[[row as usize, target]];
        let (mean, deviation) = standardization(&part.rows, targets.names.len(), value);
        let finite = |target: &usize| mean[*target].is_finite() && deviation[*target].is_finite();
        if let Some(target) = (0..targets.names.len()).find(|target| !finite(target)) {
            let name = crate::text::plain_line(&targets.names[target]);
            return Err(Error::refused(
                &part.dataset.name,
                format!("the values of the target `{name}` are too large to be standardized"),
            )
            .help("rescale the column in the file"));
        }
        Ok(Some(Self {
            names: targets.names.clone(),
            mean,
            deviation,
        }))
    }

    /// Returns the standardized `value` of target `target`.
    #[inline]
    pub fn apply(&self, target: usize, value: f64) -> f64 {
        (value - self.mean[target]) / self.deviation[target]
    }

    /// Returns the value of target `target`, in the units of the data, of a network's output `z`.
    #[inline]
    pub fn undo(&self, target: usize, z: f64) -> f64 {
        z.mul_add(self.deviation[target], self.mean[target])
    }

    /// Returns whether the lengths agree, and all numbers are finite and no deviation is 0.
    pub fn is_valid(&self) -> bool {
        let targets = self.names.len();
        let finite = |numbers: &[f64]| {
            numbers.len() == targets && numbers.iter().all(|number| number.is_finite())
        };
        finite(&self.mean)
            && finite(&self.deviation)
            && self.deviation.iter().all(|&deviation| deviation > 0.0)
    }
}

/// The targets of a mini-batch, gathered from the samples; reused from batch to batch.
#[derive(Clone, Debug, Default)]
pub struct GatheredTargets<R> {
    labels: Vec<u16>,
    numbers: Vec<R>,
    weights: Vec<R>,
}

impl<R: Real> GatheredTargets<R> {
    /// Allocates memory for `capacity` rows of classes that count the same.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            labels: Vec::with_capacity(capacity),
            numbers: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// Gathers the targets of `rows`. `class_weights` is the factor of each class's loss; empty if
    /// all count the same.
    pub fn read(&mut self, samples: &Samples<R>, rows: &[u32], class_weights: &[f64]) {
        self.labels.clear();
        self.labels
            .extend(rows.iter().map(|&row| samples.label(row)));
        self.numbers.clear();
        if samples.is_regression() {
            for &row in rows {
                self.numbers.extend_from_slice(samples.targets(row));
            }
        }
        self.weights.clear();
        if !class_weights.is_empty() {
            let weight = |&label: &u16| R::from_f64(class_weights[usize::from(label)]);
            self.weights.extend(self.labels.iter().map(weight));
        }
    }

    /// Returns the number of rows gathered.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Returns the targets in the form that kernels read.
    pub fn targets(&self) -> Targets<'_, R> {
        Targets {
            labels: &self.labels,
            numbers: &self.numbers,
            weights: &self.weights,
        }
    }
}
