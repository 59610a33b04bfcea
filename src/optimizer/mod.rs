//! Optimizers, which update θ by gradients: SGD, Adam, RMSprop and L-BFGS.
//!
//! They see numbers only: θ, a gradient, and in L-BFGS a closure that returns the objective and the
//! gradient at another θ. They do not know how a gradient is computed. (Configs refuse one
//! combination: L-BFGS with random directions, because its pairs are changes of the gradient, and
//! new directions in each step would change it, too.)
//!
//! A new optimizer that steps by one gradient is a file of its own: its config with its name and
//! numbers (`definition!`), its step ([`Optimizer`]) and the names of its state's vectors
//! ([`StateForm`]). It is entered in [`OptimizerConfig`], in [`OPTIMIZERS`] and in the table of config
//! keys.

/// Defines an optimizer with a learning rate: `DEFINITION`, its name in configs, and [`Settings`] of
/// its config, which has a field for each number, named as its key, and a `schedule`.
macro_rules! definition {
    ($config:ident as $variant:ident, $kind:literal, [$($number:ident),*]) => {
        /// The optimizer, as configs name it.
        pub const DEFINITION: crate::optimizer::Definition = crate::optimizer::Definition {
            kind: $kind,
            create: |given| {
                crate::optimizer::OptimizerConfig::$variant($config {
                    $($number: (given.number)(stringify!($number)),)*
                    schedule: given.schedule,
                })
            },
        };

        impl crate::optimizer::Settings for $config {
            fn kind(&self) -> &'static str {
                DEFINITION.kind
            }

            fn number(&self, key: &str) -> Option<f64> {
                match key {
                    $(stringify!($number) => Some(self.$number),)*
                    _ => None,
                }
            }

            fn schedule(&self) -> Option<Schedule> {
                Some(self.schedule)
            }

            fn rate_and_schedule(&mut self) -> Option<(&mut f64, &mut Schedule)> {
                Some((&mut self.learning_rate, &mut self.schedule))
            }
        }
    };
}

pub mod adam;
pub mod history;
pub mod lbfgs;
pub mod line_search;
pub mod rmsprop;
pub mod sgd;
pub mod state;

pub use adam::AdamConfig;
pub use history::History;
pub use lbfgs::LbfgsConfig;
pub use rmsprop::RmspropConfig;
pub use sgd::{Schedule, SgdConfig};
pub use state::{OptimizerState, StateForm};

use crate::model::Parameters;
use crate::numeric::Real;

/// Optimizer and its settings: the section `[optimizer]` of a config.
#[derive(Clone, Debug, PartialEq)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent.
    Sgd(SgdConfig),
    /// Adam.
    Adam(AdamConfig),
    /// RMSprop.
    Rmsprop(RmspropConfig),
    /// L-BFGS over the whole training set.
    Lbfgs(LbfgsConfig),
}

impl From<SgdConfig> for OptimizerConfig {
    fn from(config: SgdConfig) -> Self {
        Self::Sgd(config)
    }
}

impl From<AdamConfig> for OptimizerConfig {
    fn from(config: AdamConfig) -> Self {
        Self::Adam(config)
    }
}

impl From<LbfgsConfig> for OptimizerConfig {
    fn from(config: LbfgsConfig) -> Self {
        Self::Lbfgs(config)
    }
}

impl From<RmspropConfig> for OptimizerConfig {
    fn from(config: RmspropConfig) -> Self {
        Self::Rmsprop(config)
    }
}

/// Every optimizer, in the order in which messages list them.
pub static OPTIMIZERS: [Definition; 4] = [
    sgd::DEFINITION,
    adam::DEFINITION,
    rmsprop::DEFINITION,
    lbfgs::DEFINITION,
];

/// The forms of all states that a checkpoint can have.
pub static STATE_FORMS: [&StateForm; 5] = [
    &state::NOTHING,
    &sgd::STATE,
    &adam::STATE,
    &rmsprop::STATE,
    &history::STATE,
];

/// The way in which an optimizer comes from one θ to the next.
pub enum Method<'c, R: Real> {
    /// The gradient engine makes the steps of SGD itself, fused with the gradient.
    Fused(&'c SgdConfig),
    /// Steps by the gradients of mini-batches.
    Steps(&'c dyn Optimizer<R>),
    /// Line searches over the whole training set.
    LineSearch(&'c LbfgsConfig),
}

impl OptimizerConfig {
    /// Returns the way in which the optimizer comes from one θ to the next.
    pub fn method<R: Real>(&self) -> Method<'_, R> {
        match self {
            Self::Sgd(config) => Method::Fused(config),
            Self::Adam(config) => Method::Steps(config),
            Self::Rmsprop(config) => Method::Steps(config),
            Self::Lbfgs(config) => Method::LineSearch(config),
        }
    }

    fn settings(&self) -> &dyn Settings {
        match self {
            Self::Sgd(config) => config,
            Self::Adam(config) => config,
            Self::Rmsprop(config) => config,
            Self::Lbfgs(config) => config,
        }
    }

    fn settings_mut(&mut self) -> &mut dyn Settings {
        match self {
            Self::Sgd(config) => config,
            Self::Adam(config) => config,
            Self::Rmsprop(config) => config,
            Self::Lbfgs(config) => config,
        }
    }

    /// Returns the name used in configs, such as `sgd`.
    pub fn kind(&self) -> &'static str {
        self.settings().kind()
    }

    /// Returns the setting that configs call `key`; `None` if the optimizer has no such number.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.settings().number(key)
    }

    /// Returns the initial learning rate; `None` for L-BFGS, whose line search chooses the step
    /// length.
    pub fn learning_rate(&self) -> Option<f64> {
        self.number("learning_rate")
    }

    /// Returns the initial learning rate and its schedule, to be changed; `None` for L-BFGS.
    pub fn rate_and_schedule_mut(&mut self) -> Option<(&mut f64, &mut Schedule)> {
        self.settings_mut().rate_and_schedule()
    }

    /// Sets the initial learning rate, if the optimizer has one.
    pub fn set_learning_rate(&mut self, rate: f64) {
        if let Some((learning_rate, _)) = self.rate_and_schedule_mut() {
            *learning_rate = rate;
        }
    }

    /// Returns the schedule of the learning rate; `None` for L-BFGS.
    pub fn schedule(&self) -> Option<Schedule> {
        self.settings().schedule()
    }
}

/// Optimizer that makes a step from θ by one gradient.
pub trait Optimizer<R: Real> {
    /// Returns the names of the vectors that the optimizer keeps between steps.
    fn state_form(&self) -> &'static StateForm;

    /// Updates `theta` and `state` by one step, with the learning rate multiplied by `factor`.
    ///
    /// # Panics
    /// If `theta`, `gradient` and the vectors of `state` do not have the same length N, or `state`
    /// is of another form.
    fn step(
        &self,
        factor: f64,
        theta: &mut Parameters<R>,
        gradient: &Parameters<R>,
        state: &mut OptimizerState<R>,
    );
}

/// Settings of an optimizer, by their keys in configs.
pub trait Settings {
    /// Returns the optimizer's name in configs.
    fn kind(&self) -> &'static str;

    /// Returns the setting that configs call `key`; `None` if there is no such number.
    fn number(&self, key: &str) -> Option<f64>;

    /// Returns the schedule of the learning rate, if there is one.
    fn schedule(&self) -> Option<Schedule>;

    /// Returns the initial learning rate and its schedule, to be changed; `None` if there are none.
    fn rate_and_schedule(&mut self) -> Option<(&mut f64, &mut Schedule)>;
}

/// An optimizer that configs can name.
#[derive(Clone, Copy)]
pub struct Definition {
    /// The name in configs.
    pub kind: &'static str,
    /// Creates the optimizer from the settings of a config.
    pub create: fn(&Given) -> OptimizerConfig,
}

/// The settings that a config gives, every default filled in.
pub struct Given<'g> {
    /// Returns the number of a key.
    pub number: &'g dyn Fn(&'static str) -> f64,
    /// The schedule of the learning rate; constant for an optimizer without one.
    pub schedule: Schedule,
}
