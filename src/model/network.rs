//! The topology of a network: layer sizes, output units, loss.

use std::sync::Arc;

use super::{Layout, Loss, Parameters};
use crate::numeric::output_loss::OutputLoss;

/// The units of the last layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputUnits {
    /// σ(z) = 1/(1 + e^−z), each unit on its own.
    Sigmoid,
    /// e^z / Σ e^z over the layer.
    Softmax,
    /// z itself.
    Linear,
}

impl OutputUnits {
    /// As configs spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sigmoid => "sigmoid",
            Self::Softmax => "softmax",
            Self::Linear => "linear",
        }
    }
}

/// A network of sigmoid hidden layers: what θ means, and which loss it is judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Layer sizes and where each layer's parameters are.
    pub layout: Arc<Layout>,
    /// The units of the last layer.
    pub output: OutputUnits,
    /// The loss.
    pub loss: Loss,
    /// λ': ½λ' Σ weights² is added to the loss; biases are left out.
    pub l2: f64,
}

impl Network {
    /// The network of layers `sizes`.
    ///
    /// # Errors
    /// What contradicts itself, in words: softmax units have no quadratic loss here, cross-entropy
    /// needs probabilities, the logistic loss needs one linear output.
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
        head(output, loss).map(|_| network)
    }

    /// Output units and loss together.
    pub fn head(&self) -> OutputLoss {
        head(self.output, self.loss).expect("checked when the network was made")
    }

    /// ½λ' Σ weights², biases left out: what l2 adds to the loss. Summed in the order of θ, in double
    /// precision.
    pub fn penalty<R: crate::numeric::Real>(&self, parameters: &Parameters<R>) -> f64 {
        if self.l2 == 0.0 {
            return 0.0;
        }
        let weights = (0..self.layout.layers()).flat_map(|layer| self.layout.weights(layer));
        let squares = weights.map(|index| parameters.flat()[index].to_f64().powi(2));
        0.5 * self.l2 * squares.fold(0.0, |sum, square| sum + square)
    }

    /// Number of outputs that `classes` classes need: one each, and a single one for ±1 labels.
    pub fn outputs(loss: Loss, classes: usize) -> usize {
        if loss == Loss::Logistic { 1 } else { classes }
    }

    /// The class that a row of outputs (or pre-activations: σ and softmax keep the order) names:
    /// the largest, the first among equals; for ±1 labels the sign.
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

fn head(output: OutputUnits, loss: Loss) -> Result<OutputLoss, String> {
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
