//! A trained model: all that is needed to turn raw features into a class, without the settings of
//! its training.

use std::sync::Arc;

use crate::data::{Scaling, Schema};
use crate::model::{Layout, Network, Parameters};
use crate::numeric::Precision;

/// The parameters θ in either precision.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyParameters {
    /// Single precision.
    F32(Parameters<f32>),
    /// Double precision.
    F64(Parameters<f64>),
}

impl AnyParameters {
    /// Returns the precision.
    pub fn precision(&self) -> Precision {
        match self {
            Self::F32(_) => Precision::F32,
            Self::F64(_) => Precision::F64,
        }
    }

    /// Returns the layer sizes and the position of each layer in θ.
    pub fn layout(&self) -> &Arc<Layout> {
        match self {
            Self::F32(parameters) => parameters.layout(),
            Self::F64(parameters) => parameters.layout(),
        }
    }

    /// Returns the SHA-256 of θ (`weights_sha256`), see [`Parameters::sha256`].
    pub fn sha256(&self) -> String {
        match self {
            Self::F32(parameters) => parameters.sha256(),
            Self::F64(parameters) => parameters.sha256(),
        }
    }
}

impl From<Parameters<f32>> for AnyParameters {
    fn from(parameters: Parameters<f32>) -> Self {
        Self::F32(parameters)
    }
}

impl From<Parameters<f64>> for AnyParameters {
    fn from(parameters: Parameters<f64>) -> Self {
        Self::F64(parameters)
    }
}

/// A network with its parameters, the scaling of its inputs and the names of its classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The config's name.
    pub name: String,
    /// The topology, output units and loss.
    pub network: Network,
    /// The parameters θ, in the network's layout.
    pub parameters: AnyParameters,
    /// The name of each class: one per output, or two for one output; none in a regression.
    pub class_names: Vec<String>,
    /// The scaling of raw features to inputs, and of a regression's targets.
    pub scaling: Scaling,
    /// What is known of the columns that the model was trained on.
    pub schema: Schema,
}

impl Model {
    /// Returns whether the model predicts numbers instead of classes.
    pub fn is_regression(&self) -> bool {
        self.scaling.targets.is_some()
    }
}
