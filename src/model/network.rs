//! The topology of a network: layer sizes, output units, loss.

use std::sync::Arc;

use super::{Layout, Loss};

/// The units of the last layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// σ(z) = 1/(1 + e^−z), each unit on its own.
    Sigmoid,
    /// e^z / Σ e^z over the layer.
    Softmax,
    /// z itself.
    Linear,
}

impl Output {
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
    pub output: Output,
    /// The loss.
    pub loss: Loss,
    /// λ': ½λ' Σ weights² is added to the loss; biases are left out.
    pub l2: f64,
}
