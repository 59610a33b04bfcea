//! Definition of a network: layer sizes, output units, loss.

use std::sync::Arc;

use super::{Layout, Loss, LossConfig, ModelConfig, Parameters};
use crate::error::InputError;
use crate::numeric::output_loss::OutputLoss;

/// Activation of the units of the last layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputUnits {
    /// σ(z) = 1/(1 + e^−z), unit by unit.
    Sigmoid,
    /// e^z / Σ e^z over the layer.
    Softmax,
    /// z itself.
    Linear,
}

impl OutputUnits {
    /// Returns the name used in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sigmoid => "sigmoid",
            Self::Softmax => "softmax",
            Self::Linear => "linear",
        }
    }
}

/// Network with sigmoid hidden layers, and its loss: everything that defines the loss as a function
/// of θ.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Layer sizes, and the position of each layer's parameters in θ.
    pub layout: Arc<Layout>,
    /// Activation of the units of the last layer.
    pub output: OutputUnits,
    /// Loss function.
    pub loss: Loss,
    /// Factor λ' of the l2 term ½λ' Σ weights², which is added to the loss; biases are left out.
    pub l2: f64,
}

impl Network {
    /// Creates a network of layers `sizes`.
    ///
    /// # Errors
    /// A message, if output units and loss do not go together: quadratic loss takes sigmoid or
    /// linear outputs, cross-entropy takes sigmoid or softmax outputs, the logistic loss one linear
    /// output.
    pub fn new(
        sizes: &[usize],
        bias: bool,
        output: OutputUnits,
        loss: Loss,
        l2: f64,
    ) -> Result<Self, String> {
        let network = Self {
            layout: Arc::new(Layout::new(sizes, bias)),
            output,
            loss,
            l2,
        };
        if loss == Loss::Logistic && sizes.last() != Some(&1) {
            return Err("the logistic loss needs exactly one output".to_owned());
        }
        output_loss(output, loss).map(|_| network)
    }

    /// Creates the network of `model` and `loss` for rows of `features` numbers in `classes`
    /// classes.
    ///
    /// # Errors
    /// [`InputError`]: no features, fewer than 2 classes, or other than 2 with the logistic loss, a
    /// hidden layer without units, output units and a loss that do not go together.
    pub fn for_data(
        features: usize,
        classes: usize,
        model: &ModelConfig,
        loss: &LossConfig,
    ) -> Result<Self, InputError> {
        if features == 0 {
            return Err(InputError::NoFeatures { rows: 0 });
        }
        if classes < 2 {
            return Err(InputError::TooFewClasses { classes });
        }
        let outputs = Self::outputs(loss.kind, classes);
        if outputs == 1 && classes != 2 {
            return Err(InputError::NotTwoClasses { classes });
        }
        if model.hidden.contains(&0) {
            return Err(InputError::Setting {
                setting: "hidden",
                found: format!("{:?}", model.hidden),
                allowed: "at least 1 unit in each layer",
            });
        }
        let mut sizes = vec![features];
        sizes.extend(&model.hidden);
        sizes.push(outputs);
        Self::new(&sizes, model.bias, model.output, loss.kind, loss.l2)
            .map_err(InputError::Conflict)
    }

    /// Returns the combination of output units and loss.
    pub fn output_loss(&self) -> OutputLoss {
        output_loss(self.output, self.loss).expect("`Network::new` has checked the combination")
    }

    /// Returns the l2 term ½λ' Σ weights², biases left out. Summed in the order of θ, in double
    /// precision.
    pub fn penalty<R: crate::numeric::Real>(&self, parameters: &Parameters<R>) -> f64 {
        if self.l2 == 0.0 {
            return 0.0;
        }
        let weights = (0..self.layout.layers()).flat_map(|layer| self.layout.weights(layer));
        let squares = weights.map(|index| parameters.flat()[index].to_f64().powi(2));
        0.5 * self.l2 * squares.fold(0.0, |sum, square| sum + square)
    }

    /// Returns the number of outputs for `classes` classes: one per class, or a single one for the
    /// logistic loss.
    pub fn outputs(loss: Loss, classes: usize) -> usize {
        if loss == Loss::Logistic { 1 } else { classes }
    }

    /// Returns the class that a row of outputs predicts: that of the largest output, the first of
    /// equal ones; with the logistic loss class 1 if the output is positive, else 0.
    /// Pre-activations give the same class, since σ and softmax preserve the order.
    pub fn predict<R: crate::numeric::Real>(&self, outputs: impl Iterator<Item = R>) -> usize {
        let mut best = (0, R::from_f64(f64::NEG_INFINITY));
        for (class, value) in outputs.enumerate() {
            if self.loss == Loss::Logistic {
                return usize::from(value > R::ZERO);
            }
            if value > best.1 {
                best = (class, value);
            }
        }
        best.0
    }
}

/// Returns the combination of output units and loss.
///
/// # Errors
/// A message, if they do not go together.
fn output_loss(output: OutputUnits, loss: Loss) -> Result<OutputLoss, String> {
    match (output, loss) {
        (OutputUnits::Sigmoid, Loss::Quadratic) => Ok(OutputLoss::SigmoidQuadratic),
        (OutputUnits::Linear, Loss::Quadratic) => Ok(OutputLoss::LinearQuadratic),
        (OutputUnits::Sigmoid, Loss::CrossEntropy) => Ok(OutputLoss::SigmoidCrossEntropy),
        (OutputUnits::Softmax, Loss::CrossEntropy) => Ok(OutputLoss::SoftmaxCrossEntropy),
        (OutputUnits::Linear, Loss::Logistic) => Ok(OutputLoss::Logistic),
        _ => Err(format!(
            "{} outputs do not go with the {} loss",
            output.name(),
            loss.name()
        )),
    }
}
