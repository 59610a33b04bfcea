//! Trains a network on a dataset, from a few settings.

use std::path::Path;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2};

use super::model::check_scaled;
use super::settings::RunSettings;
use crate::data::arrays::Feature;
use crate::data::{Dataset, LoadedData, Normalize, Samples, Share, Split};
use crate::error::{InputError, Result};
use crate::format::{AnyParameters, Model};
use crate::gradient::{Control, GradientConfig};
use crate::kernels::Isa;
use crate::model::{
    Assessment, ClassWeights, Initialization, Loss, LossConfig, ModelConfig, Network, OutputUnits,
    Parameters,
};
use crate::numeric::{Precision, Real};
use crate::optimizer::{OptimizerConfig, Schedule, SgdConfig};
use crate::parallel::{self, Workers};
use crate::train::{Ending, EpochRecord, NoObserver, Training, TrainingState};

/// Settings of a training run, and [`Trainer::fit`], which makes it.
///
/// Without a setting: one hidden layer of 30 sigmoid units, softmax outputs, cross-entropy,
/// features of mean 0 and deviation 1, stochastic gradient descent at a rate of 0.1 over
/// mini-batches of 10 rows, 30 epochs, single precision, seed 1, one thread for each core. Settings
/// are checked by [`Trainer::fit`].
///
/// The weights depend on settings and data alone, bit by bit: not on threads, not on the machine.
/// They are those of `nplus1 train` with an equal config and the same data in one file.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a trainer does nothing before `fit`"]
pub struct Trainer {
    pub(super) name: String,
    pub(super) seed: u64,
    pub(super) model: ModelConfig,
    pub(super) output: Option<OutputUnits>,
    pub(super) loss: LossConfig,
    /// Whether a setting chose the loss.
    pub(super) chose_loss: bool,
    pub(super) gradient: GradientConfig,
    pub(super) optimizer: OptimizerConfig,
    pub(super) learning_rate: Option<f64>,
    pub(super) momentum: Option<f64>,
    pub(super) schedule: Option<Schedule>,
    pub(super) epochs: usize,
    pub(super) batch_size: Option<usize>,
    pub(super) early_stopping: Option<usize>,
    pub(super) validation: Option<f64>,
    pub(super) normalize: Normalize,
    pub(super) threads: Option<usize>,
    pub(super) split: Option<parallel::Split>,
}

impl Default for Trainer {
    fn default() -> Self {
        Self::new()
    }
}

impl Trainer {
    /// Creates a trainer with the defaults above.
    pub fn new() -> Self {
        Self {
            name: "model".to_owned(),
            seed: 1,
            model: ModelConfig {
                hidden: vec![30],
                output: OutputUnits::Softmax,
                initialization: Initialization::Scaled,
                bias: true,
                precision: Precision::F32,
            },
            output: None,
            loss: LossConfig {
                kind: Loss::CrossEntropy,
                l2: 0.0,
                class_weights: None,
            },
            chose_loss: false,
            gradient: GradientConfig::Backprop,
            optimizer: OptimizerConfig::Sgd(SgdConfig {
                learning_rate: 0.1,
                momentum: 0.0,
                weight_decay: 0.0,
                schedule: Schedule::Constant,
            }),
            learning_rate: None,
            momentum: None,
            schedule: None,
            epochs: 30,
            batch_size: None,
            early_stopping: None,
            validation: None,
            normalize: Normalize::Standard,
            threads: None,
            split: None,
        }
    }

    /// Sets the number of units of each hidden layer; `[]` for none.
    pub fn hidden(mut self, units: impl IntoIterator<Item = usize>) -> Self {
        self.model.hidden = units.into_iter().collect();
        self
    }

    /// Sets the loss. The outputs become those that go with it, if [`Trainer::output`] does not
    /// say: softmax for cross-entropy, sigmoid for quadratic (linear if numbers are predicted),
    /// linear for logistic.
    pub fn loss(mut self, loss: Loss) -> Self {
        self.loss.kind = loss;
        self.chose_loss = true;
        self
    }

    /// Sets the output units.
    pub fn output(mut self, output: OutputUnits) -> Self {
        self.output = Some(output);
        self
    }

    /// Sets factors of the classes' losses, for classes of which some are rare.
    pub fn class_weights(mut self, weights: ClassWeights) -> Self {
        self.loss.class_weights = Some(weights);
        self
    }

    /// Sets λ' of the l2 term ½λ' Σ weights², 0 or above.
    pub fn l2(mut self, factor: f64) -> Self {
        self.loss.l2 = factor;
        self
    }

    /// Sets the distribution of the initial parameters.
    pub fn initialization(mut self, initialization: Initialization) -> Self {
        self.model.initialization = initialization;
        self
    }

    /// Sets whether layers have biases.
    pub fn bias(mut self, bias: bool) -> Self {
        self.model.bias = bias;
        self
    }

    /// Sets the precision of the computation.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.model.precision = precision;
        self
    }

    /// Sets the gradient method.
    pub fn gradient(mut self, method: GradientConfig) -> Self {
        self.gradient = method;
        self
    }

    /// Sets the optimizer: an [`SgdConfig`], [`AdamConfig`](crate::optimizer::AdamConfig),
    /// [`RmspropConfig`](crate::optimizer::RmspropConfig) or
    /// [`LbfgsConfig`](crate::optimizer::LbfgsConfig).
    pub fn optimizer(mut self, optimizer: impl Into<OptimizerConfig>) -> Self {
        self.optimizer = optimizer.into();
        self
    }

    /// Sets the initial learning rate of SGD or Adam, above 0.
    pub fn learning_rate(mut self, rate: f64) -> Self {
        self.learning_rate = Some(rate);
        self
    }

    /// Sets μ of SGD's v ← μv + g, from 0 to below 1.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = Some(momentum);
        self
    }

    /// Sets the schedule of the learning rate of SGD or Adam.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = Some(schedule);
        self
    }

    /// Sets the largest number of epochs; with L-BFGS, of iterations.
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// Sets the number of rows of a mini-batch. L-BFGS takes all rows.
    pub fn batch_size(mut self, rows: usize) -> Self {
        self.batch_size = Some(rows);
        self
    }

    /// Sets aside this fraction of the rows, above 0 and below 1, stratified by class: they are not
    /// trained on, and the history has the loss and the accuracy on them.
    pub fn validation(mut self, fraction: f64) -> Self {
        self.validation = Some(fraction);
        self
    }

    /// Ends after `epochs` epochs without a lower validation loss, and restores the best weights.
    /// Needs [`Trainer::validation`].
    pub fn early_stopping(mut self, epochs: usize) -> Self {
        self.early_stopping = Some(epochs);
        self
    }

    /// Sets the scaling of the features, which is computed from the training rows.
    pub fn normalize(mut self, normalize: Normalize) -> Self {
        self.normalize = normalize;
        self
    }

    /// Sets the seed of every random stream.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the largest number of threads, 1 to 1024; there are at most as many as processors. The
    /// weights do not depend on it.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Sets what the threads of backprop divide, instead of measuring what is faster. The weights do
    /// not depend on it.
    pub fn split(mut self, split: parallel::Split) -> Self {
        self.split = Some(split);
        self
    }

    /// Sets the name that the model file holds.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Trains a network on `data`. Numbers to predict ([`Dataset::from_arrays_regression`]) are
    /// standardized and learned by linear outputs with the quadratic loss; the losses of the history
    /// are those of standardized targets, and its scores are R². Costs a forward and a backward pass of each row in each epoch, by the
    /// default method. Copies the data once, and once more in the network's precision.
    ///
    /// # Errors
    /// [`InputError`]: settings out of range or that do not go together; data that
    /// [`Dataset::check`] refuses, or in a single class. [`Error::Refused`] if the validation rows
    /// leave none to train on; [`Error::Diverged`]; [`Error::Resources`] if the system refuses
    /// threads.
    ///
    /// [`Error::Refused`]: crate::error::Error::Refused
    /// [`Error::Diverged`]: crate::error::Error::Diverged
    /// [`Error::Resources`]: crate::error::Error::Resources
    pub fn fit(&self, data: &Dataset) -> Result<TrainedModel> {
        if data.is_regression() && !(self.chose_loss && self.output.is_some()) {
            let loss = if self.chose_loss {
                self.loss.kind
            } else {
                Loss::Quadratic
            };
            let output = self.output.unwrap_or(OutputUnits::Linear);
            return self.clone().loss(loss).output(output).fit(data);
        }
        let settings = RunSettings::new(self)?;
        data.check()?;
        let first = data.labels[0];
        if !data.is_regression() && data.labels.iter().all(|&label| label == first) {
            return Err(InputError::TooFewClasses { classes: 1 }.into());
        }
        let loaded = LoadedData {
            train: Arc::new(data.clone()),
            test: None,
        };
        let validation = self.validation.map(Share::Fraction);
        let rows = loaded.split_rows(validation, self.normalize, self.seed)?;
        let data = &rows.train.dataset;
        check_scaled(&data.features, &rows.scaling, settings.model.precision)?;
        let network = Network::for_data(&rows.train, &settings.model, &self.loss)?;
        match settings.model.precision {
            Precision::F32 => self.fit_in::<f32>(&settings, network, &rows),
            Precision::F64 => self.fit_in::<f64>(&settings, network, &rows),
        }
    }

    fn fit_in<R: Real>(
        &self,
        settings: &RunSettings,
        network: Network,
        rows: &Split,
    ) -> Result<TrainedModel>
    where
        AnyParameters: From<Parameters<R>>,
    {
        let dataset = &rows.train.dataset;
        let samples = Samples::<R>::new(dataset, &rows.scaling);
        let workers = Arc::new(Workers::new(self.threads)?);
        let training = Training {
            network: &network,
            samples: &samples,
            rows: &rows.train.rows,
            validation: rows.validation.as_ref().map(|part| part.rows.as_slice()),
            classes: dataset.class_count(),
            gradient: &self.gradient,
            optimizer: &settings.optimizer,
            config: &settings.train,
            seed: self.seed,
            pool: &workers,
            isa: Isa::detect(),
            workers: None,
            split: self.split,
            control: &Control::default(),
        };
        let initialization = settings.model.initialization;
        let mut state = TrainingState::new(initialization.draw(&network.layout, self.seed));
        let ending = workers.install(|| training.run(&mut state, &mut NoObserver))?;
        Ok(TrainedModel {
            model: Model {
                name: self.name.clone(),
                network,
                parameters: state.parameters.into(),
                class_names: dataset.class_names.clone(),
                scaling: rows.scaling.clone(),
                schema: dataset.schema(),
            },
            history: state.records,
            ending,
        })
    }
}

/// A model that was just trained, and how its training went.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainedModel {
    /// The model.
    pub model: Model,
    /// One record for each epoch: the losses, the accuracy, the norm of the gradient, the time.
    pub history: Vec<EpochRecord>,
    /// Why the training ended.
    pub ending: Ending,
}

impl TrainedModel {
    /// Returns the name of the predicted class of each row; see [`Model::predict`].
    ///
    /// # Errors
    /// Those of [`Model::predict`].
    pub fn predict<T: Feature>(&self, features: ArrayView2<'_, T>) -> Result<Vec<&str>> {
        self.model.predict(features)
    }

    /// Returns the index of the predicted class of each row; see [`Model::predict_indices`].
    ///
    /// # Errors
    /// Those of [`Model::predict`].
    pub fn predict_indices<T: Feature>(&self, features: ArrayView2<'_, T>) -> Result<Vec<usize>> {
        self.model.predict_indices(features)
    }

    /// Returns the probability of each class, `(rows, classes)`; see [`Model::predict_proba`].
    ///
    /// # Errors
    /// Those of [`Model::predict_proba`].
    pub fn predict_proba<T: Feature>(&self, features: ArrayView2<'_, T>) -> Result<Array2<f64>> {
        self.model.predict_proba(features)
    }

    /// Returns the numbers that a regression predicts, `(rows, targets)`; see
    /// [`Model::predict_numbers`].
    ///
    /// # Errors
    /// Those of [`Model::predict_numbers`].
    pub fn predict_numbers<T: Feature>(&self, features: ArrayView2<'_, T>) -> Result<Array2<f64>> {
        self.model.predict_numbers(features)
    }

    /// Evaluates the model on labeled rows; see [`Model::evaluate`].
    ///
    /// # Errors
    /// Those of [`Model::evaluate`].
    pub fn evaluate(&self, data: &Dataset) -> Result<Assessment> {
        self.model.evaluate(data)
    }

    /// Writes the model to `path`; see [`Model::save`].
    ///
    /// # Errors
    /// Those of [`Model::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.model.save(path)
    }

    /// Returns the SHA-256 of θ; see [`Model::weights_sha256`].
    pub fn weights_sha256(&self) -> String {
        self.model.weights_sha256()
    }
}
