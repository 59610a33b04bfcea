//! A validated training run: a config, its rows and its network. It predicts times and writes
//! nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::data::{Samples, Split};
use crate::error::{Error, Result};
use crate::format::AnyParameters;
use crate::gradient::finite_difference::check_increments;
use crate::gradient::random_direction::check_increment;
use crate::gradient::{Control, GradientConfig, Stopped};
use crate::kernels::Isa;
use crate::model::{Network, Parameters};
use crate::numeric::{Precision, Real};
use crate::parallel::Workers;
use crate::parallel::processors::OtherLoad;
use crate::train::Training;

/// Approximate duration of the measurement behind a prediction.
const MEASURED: Duration = Duration::from_millis(300);

/// A training run whose config and rows fit together.
pub struct Session<'a> {
    /// The resolved config.
    pub config: &'a Config,
    /// The rows.
    pub split: &'a Split,
    /// Network for the config and the rows.
    pub network: Network,
    /// Initial θ; `None` draws it from the seed.
    pub start: Option<AnyParameters>,
}

/// Predicted time of a run.
#[derive(Clone, Copy, Debug)]
pub struct TimeEstimate {
    /// Seconds per step.
    pub seconds_per_step: f64,
    /// Seconds of all steps, if their number is known, without evaluation and files.
    pub seconds: Option<f64>,
    /// Processors that other processes kept busy during the measurement, if the system reports it.
    pub busy_elsewhere: Option<f64>,
}

/// Says that a prediction is doubtful if other processes kept a quarter of a processor busy or more.
pub fn load_note(busy_elsewhere: f64) -> Option<String> {
    (busy_elsewhere >= 0.25).then(|| {
        format!(
            "other processes kept {busy_elsewhere:.1} processors busy meanwhile; alone the run may be much faster"
        )
    })
}

impl<'a> Session<'a> {
    /// Checks that config and rows fit together.
    ///
    /// # Errors
    /// A network that cannot be made for these classes; a start with another layout.
    pub fn new(config: &'a Config, split: &'a Split, start: Option<AnyParameters>) -> Result<Self> {
        let dataset = &split.train.dataset;
        let (model, loss) = (&config.model, &config.loss);
        let network = Network::for_data(&split.train, model, loss)
            .map_err(|problem| Error::refused(&dataset.name, problem.to_string()))?;
        if let Some(start) = &start
            && start.layout() != &network.layout
        {
            let describe = |sizes: &[usize], bias| {
                format!("{sizes:?} {} biases", if bias { "with" } else { "without" })
            };
            return Err(Error::Usage(format!(
                "--init-from holds a network {}, but the config asks for {}",
                describe(start.layout().sizes(), start.layout().has_bias()),
                describe(network.layout.sizes(), model.bias),
            )));
        }
        Ok(Self {
            config,
            split,
            network,
            start,
        })
    }

    /// Returns the initial θ.
    pub fn first_parameters<R: Real>(&self) -> Parameters<R> {
        let layout = &self.network.layout;
        let converted = |numbers: Vec<R>| Parameters::from_flat(Arc::clone(layout), numbers);
        match &self.start {
            None => self
                .config
                .model
                .initialization
                .draw(layout, self.config.seed),
            Some(AnyParameters::F32(start)) => {
                let numbers = start.flat().iter().map(|x| R::from_f64(x.to_f64()));
                converted(numbers.collect())
            }
            Some(AnyParameters::F64(start)) => {
                converted(start.flat().iter().map(|&x| R::from_f64(x)).collect())
            }
        }
    }

    /// Returns the loop over the training rows with gradients by `gradient`.
    pub fn training<'s, R: Real>(
        &'s self,
        gradient: &'s GradientConfig,
        samples: &'s Samples<R>,
        workers: &'s Arc<Workers>,
        isa: Isa,
        control: &'s Control,
    ) -> Training<'s, R> {
        let split = self.split;
        Training {
            network: &self.network,
            samples,
            rows: &split.train.rows,
            validation: split.validation.as_ref().map(|part| part.rows.as_slice()),
            classes: split.train.dataset.class_count(),
            gradient,
            optimizer: &self.config.optimizer,
            config: &self.config.train,
            seed: self.config.seed,
            pool: workers,
            isa,
            workers: None,
            split: self.config.run.split,
            control,
        }
    }

    /// Returns the evaluations per step, directional derivatives included.
    pub fn evaluations_a_step(&self) -> u64 {
        self.config.gradient.passes(&self.network.layout)
    }

    /// Refuses increments that are lost in the initial θ, before anything is written.
    ///
    /// # Errors
    /// [`Error::Usage`] with the parameter and a valid increment.
    pub fn check_increments(&self) -> Result<()> {
        match self.config.model.precision {
            Precision::F32 => self.check_increments_in::<f32>(),
            Precision::F64 => self.check_increments_in::<f64>(),
        }
        .map_err(|lost| Error::Usage(lost.to_string()))
    }

    fn check_increments_in<R: Real>(&self) -> std::result::Result<(), Stopped> {
        match &self.config.gradient {
            GradientConfig::Difference(config) => {
                check_increments::<R>(config, &self.first_parameters())
            }
            GradientConfig::Spsa(config) => check_increment::<R>(config, &self.first_parameters()),
            // These methods never form θ + h.
            _ => Ok(()),
        }
    }

    /// Predicts the time of a run with gradients by `gradient` from a short measurement.
    ///
    /// # Errors
    /// An increment that is lost in θ.
    pub fn predict(
        &self,
        gradient: &GradientConfig,
        workers: &Arc<Workers>,
        isa: Isa,
    ) -> Result<TimeEstimate> {
        match self.config.model.precision {
            Precision::F32 => self.predict_in::<f32>(gradient, workers, isa),
            Precision::F64 => self.predict_in::<f64>(gradient, workers, isa),
        }
    }

    fn predict_in<R: Real>(
        &self,
        gradient: &GradientConfig,
        workers: &Arc<Workers>,
        isa: Isa,
    ) -> Result<TimeEstimate> {
        let samples = Samples::<R>::new(&self.split.train.dataset, &self.split.scaling);
        let control = Control::default();
        let training = self.training(gradient, &samples, workers, isa, &control);
        let theta = self.first_parameters::<R>();
        let load = OtherLoad::watch();
        let seconds_per_step =
            workers.install(|| training.measure_seconds_per_step(&theta, MEASURED))?;
        let busy_elsewhere = load.processors();
        let steps = self.steps(training.steps_per_epoch());
        Ok(TimeEstimate {
            seconds_per_step,
            seconds: steps.map(|steps| steps as f64 * seconds_per_step),
            busy_elsewhere,
        })
    }

    /// Returns the steps of the run; `None` if seconds or convergence end it.
    pub fn steps(&self, steps_per_epoch: u64) -> Option<u64> {
        let config = &self.config.train;
        let by_epochs = config.epochs.map(|epochs| epochs as u64 * steps_per_epoch);
        by_epochs.into_iter().chain(config.max_steps).min()
    }
}
