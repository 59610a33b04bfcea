//! Definition of a network: layer sizes, output units, loss.

use std::sync::Arc;

use super::{ClassWeights, Layout, Loss, LossConfig, ModelConfig, Parameters};
use crate::data::classes::list;
use crate::data::{Dataset, Part};
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
    /// Factor of the loss of a row of each class, above 0; empty if all rows count the same.
    pub class_weights: Vec<f64>,
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
            class_weights: Vec::new(),
        };
        if loss == Loss::Logistic && sizes.last() != Some(&1) {
            return Err("the logistic loss needs exactly one output".to_owned());
        }
        output_loss(output, loss).map(|_| network)
    }

    /// Creates the network of `model` and `loss` for the training rows `train`.
    ///
    /// # Errors
    /// [`InputError`]: no features, fewer than 2 classes, or other than 2 with the logistic loss, a
    /// hidden layer without units, output units and a loss that do not go together, or not with a
    /// regression; weights that do not go with the classes.
    pub fn for_data(
        train: &Part,
        model: &ModelConfig,
        loss: &LossConfig,
    ) -> Result<Self, InputError> {
        let dataset = &train.dataset;
        let (features, classes) = (dataset.feature_count(), dataset.class_count());
        if features == 0 {
            return Err(InputError::NoFeatures { rows: 0 });
        }
        if classes < 2 && !dataset.is_regression() {
            return Err(InputError::TooFewClasses { classes });
        }
        let outputs = Self::outputs_for(dataset, loss.kind);
        if dataset.is_regression() {
            if (model.output, loss.kind) != (OutputUnits::Linear, Loss::Quadratic) {
                return Err(InputError::Conflict(format!(
                    "{} outputs with the {} loss cannot predict numbers\n  help: a regression takes linear outputs and the quadratic loss, which are its defaults",
                    model.output.name(),
                    loss.kind.name()
                )));
            }
        } else if outputs == 1 && classes != 2 {
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
        let network = Self::new(&sizes, model.bias, model.output, loss.kind, loss.l2)
            .map_err(InputError::Conflict)?;
        let class_weights = match &loss.class_weights {
            None => Vec::new(),
            Some(weights) => weights.of(train)?,
        };
        Ok(Self {
            class_weights,
            ..network
        })
    }

    /// Returns the combination of output units and loss.
    pub fn output_loss(&self) -> OutputLoss {
        output_loss(self.output, self.loss).expect("`Network::new` has checked the combination")
    }

    /// Returns the factor of the loss of a row of class `label`.
    pub fn row_weight(&self, label: u16) -> f64 {
        let weight = self.class_weights.get(usize::from(label));
        weight.copied().unwrap_or(1.0)
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

    /// Returns the number of outputs for `dataset`: one for each target of a regression, or those
    /// of its classes.
    pub fn outputs_for(dataset: &Dataset, loss: Loss) -> usize {
        match &dataset.targets {
            Some(targets) => targets.names.len(),
            None => Self::outputs(loss, dataset.class_count()),
        }
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

impl ClassWeights {
    /// Returns the factor of each class for the training rows `train`.
    ///
    /// # Errors
    /// A regression; another number of factors than of classes, or one that is not above 0.
    fn of(&self, train: &Part) -> Result<Vec<f64>, InputError> {
        let classes = train.dataset.class_count();
        if train.dataset.is_regression() {
            return Err(InputError::Conflict(
                "`class_weights` are for classes, but the rows have numbers to predict\n  help: remove `class_weights`"
                    .to_owned(),
            ));
        }
        match self {
            Self::Given(weights) => {
                if weights.len() != classes {
                    return Err(InputError::Conflict(format!(
                        "`class_weights` has {} numbers, but there are {classes} classes: {}\n  help: give one number for each class, in this order, or \"balanced\"",
                        weights.len(),
                        list(&train.dataset.class_names)
                    )));
                }
                match weights
                    .iter()
                    .find(|weight| !(weight.is_finite() && **weight > 0.0))
                {
                    None => Ok(weights.clone()),
                    Some(wrong) => Err(InputError::Setting {
                        setting: "class_weights",
                        found: wrong.to_string(),
                        allowed: "finite numbers above 0",
                    }),
                }
            }
            Self::Balanced => {
                let mut rows = vec![0usize; classes];
                for &row in &train.rows {
                    rows[usize::from(train.dataset.labels[row as usize])] += 1;
                }
                let all = train.rows.len() as f64;
                // A class without a training row weighs nothing in training; 1 keeps its rows in
                // the losses of other parts.
                let weight = |&rows: &usize| match rows {
                    0 => 1.0,
                    rows => all / (classes as f64 * rows as f64),
                };
                Ok(rows.iter().map(weight).collect())
            }
        }
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
