//! A model that is ready to answer: packed once, asked many times.

use std::sync::Arc;

use ndarray::{Array2, ArrayView1};

use super::model::check_scaled;
use crate::data::{Dataset, Features, Samples};
use crate::error::{InputError, Result};
use crate::format::{AnyParameters, Model};
use crate::kernels::Isa;
use crate::model::{Forward, Loss, OutputUnits};
use crate::numeric::Real;

/// A model packed for many small questions. Each is answered on the calling thread; several threads
/// may ask at once. The bits are those of [`Model::predict_proba`], however rows are grouped.
pub struct Predictor<'m> {
    model: &'m Model,
    forward: AnyForward,
}

enum AnyForward {
    F32(Forward<f32>),
    F64(Forward<f64>),
}

impl<'m> Predictor<'m> {
    /// Packs the parameters of `model`: copies N numbers.
    pub fn new(model: &'m Model) -> Self {
        let (network, isa) = (&model.network, Isa::detect());
        Self {
            model,
            forward: match &model.parameters {
                AnyParameters::F32(theta) => AnyForward::F32(Forward::new(network, theta, isa)),
                AnyParameters::F64(theta) => AnyForward::F64(Forward::new(network, theta, isa)),
            },
        }
    }

    /// Returns the pre-activations of the outputs for each row of `features`, unscaled inputs of
    /// shape `(rows, inputs)`: `(rows, outputs)`. One forward pass of each row.
    ///
    /// # Errors
    /// [`InputError::FeatureCount`] and [`InputError::NotFinite`].
    pub fn outputs(&self, features: Features) -> Result<Array2<f64>> {
        let (found, expected) = (features.dim().1, self.model.network.layout.sizes()[0]);
        if found != expected {
            return Err(InputError::FeatureCount { found, expected }.into());
        }
        let precision = self.model.parameters.precision();
        check_scaled(&features, &self.model.scaling, precision)?;
        let data = Arc::new(Dataset::of_features(features));
        Ok(match &self.forward {
            AnyForward::F32(forward) => self.forward(forward, &data),
            AnyForward::F64(forward) => self.forward(forward, &data),
        })
    }

    fn forward<R: Real>(&self, forward: &Forward<R>, data: &Arc<Dataset>) -> Array2<f64> {
        forward.pre_activations_here(&Samples::<R>::new(data, &self.model.scaling))
    }

    /// Returns the index of the class that the pre-activations `z` of a row predict.
    pub fn class(&self, z: ArrayView1<'_, f64>) -> usize {
        self.model.network.predict(z.iter().copied())
    }

    /// Writes the numbers that a regression predicts, by the pre-activations `z` of a row, into
    /// `numbers`, in the units of the targets; see [`Model::predict_numbers`]. Without targets the
    /// pre-activations stay as they are.
    pub fn numbers(&self, z: ArrayView1<'_, f64>, numbers: &mut Vec<f64>) {
        numbers.clear();
        numbers.extend(z);
        if let Some(targets) = &self.model.scaling.targets {
            for (target, number) in numbers.iter_mut().enumerate() {
                *number = targets.undo(target, *number);
            }
        }
    }

    /// Returns whether the outputs give probabilities: not linear units with the quadratic loss.
    pub fn has_probabilities(&self) -> bool {
        has_probabilities(self.model)
    }

    /// Writes the probability of each class, by the pre-activations `z` of a row, into
    /// `probabilities`; see [`Model::predict_proba`].
    pub fn probabilities(&self, z: ArrayView1<'_, f64>, probabilities: &mut Vec<f64>) {
        write_probabilities(self.model, z, probabilities);
    }
}

pub(super) fn has_probabilities(model: &Model) -> bool {
    model.network.output != OutputUnits::Linear || model.network.loss == Loss::Logistic
}

pub(super) fn write_probabilities(
    model: &Model,
    z: ArrayView1<'_, f64>,
    probabilities: &mut Vec<f64>,
) {
    probabilities.clear();
    match model.network.output {
        OutputUnits::Softmax => probabilities.extend(z),
        OutputUnits::Sigmoid => probabilities.extend(z.iter().map(|&z| log_sigmoid(z))),
        OutputUnits::Linear => probabilities.extend([log_sigmoid(-z[0]), log_sigmoid(z[0])]),
    }
    let numbers = probabilities.iter().copied();
    let largest = numbers.fold(f64::NEG_INFINITY, f64::max);
    for logarithm in probabilities.iter_mut() {
        *logarithm = (*logarithm - largest).exp();
    }
    let sum = probabilities.iter().fold(0.0, |sum, share| sum + share);
    for share in probabilities {
        *share /= sum;
    }
}

/// Returns ln σ(z) without overflow.
fn log_sigmoid(z: f64) -> f64 {
    z.min(0.0) - (-z.abs()).exp().ln_1p()
}
