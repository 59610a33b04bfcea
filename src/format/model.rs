//! A trained model: everything that turns raw features into a class, and nothing of how it was
//! trained.

use std::sync::Arc;

use crate::data::Scaling;
use crate::model::{Layout, Network, Parameters};
use crate::numeric::Precision;

/// θ in either precision.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyParameters {
    /// In single precision.
    F32(Parameters<f32>),
    /// In double precision.
    F64(Parameters<f64>),
}

impl AnyParameters {
    /// Which of the two this is.
    pub fn precision(&self) -> Precision {
        match self {
            Self::F32(_) => Precision::F32,
            Self::F64(_) => Precision::F64,
        }
    }

    /// Layer sizes and where each layer lies.
    pub fn layout(&self) -> &Arc<Layout> {
        match self {
            Self::F32(parameters) => parameters.layout(),
            Self::F64(parameters) => parameters.layout(),
        }
    }

    /// `weights_sha256`: see [`Parameters::sha256`].
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
    /// Topology, output units and loss.
    pub network: Network,
    /// θ, of the network's layout.
    pub parameters: AnyParameters,
    /// One name a class: as many as there are outputs, or two for one output.
    pub class_names: Vec<String>,
    /// From raw features to inputs.
    pub scaling: Scaling,
}
