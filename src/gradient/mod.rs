//! Gradient engines: θ and a mini-batch in, the gradient out.

pub mod backprop;
pub mod control;
pub mod finite_difference;
pub mod flat_descent;
pub mod forward_mode;
pub mod operation_counts;
pub mod random_direction;

pub use backprop::{Backprop, NumericBackpropConfig};
pub use control::{Control, Stopped};
pub use flat_descent::FlatDescent;
pub use forward_mode::WholeTangentPasses;

use std::sync::Arc;

use self::finite_difference::{
    AdaptiveIncrement, DifferenceConfig, Increment, Incremental, NodePerturbationConfig,
    Perturbation, Reuse, WholePasses,
};
use self::random_direction::{
    DirectionSeed, ForwardGradientConfig, PerturbedActivations, PerturbedQuantity,
    PerturbedWeights, Spsa, SpsaConfig,
};
use crate::data::{Batch, Samples};
use crate::kernels::Isa;
use crate::kernels::update::Rule;
use crate::model::{Layout, Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::Workers;

/// `[gradient]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GradientConfig {
    /// One forward and one backward pass.
    Backprop,
    /// The same, with difference quotients for the derivatives of σ and of the loss.
    NumericBackprop(NumericBackpropConfig),
    /// N + 1 or 2N forward passes, and what may be saved of them.
    Difference(DifferenceConfig),
    /// Two losses along each of K random directions.
    Spsa(SpsaConfig),
    /// The exact derivative along each of K random directions.
    ForwardGradient(ForwardGradientConfig),
    /// N Jacobian-vector products, and what may be saved of them.
    ForwardMode(Reuse),
    /// A difference for each unit in each sample, times the unit's inputs.
    NodePerturbation(NodePerturbationConfig),
}

impl GradientConfig {
    /// The estimator with another number of random directions; `None` of a method that has none.
    pub fn with_directions(self, count: usize) -> Option<Self> {
        match self {
            Self::Spsa(mut config) => {
                config.directions.count = count;
                Some(Self::Spsa(config))
            }
            Self::ForwardGradient(mut config) => {
                config.directions.count = count;
                Some(Self::ForwardGradient(config))
            }
            _ => None,
        }
    }

    /// As configs spell it.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Backprop => "backprop",
            Self::NumericBackprop(_) => "numeric-backprop",
            Self::Difference(config) => config.scheme.name(),
            Self::Spsa(_) => "spsa",
            Self::ForwardGradient(_) => "forward-gradient",
            Self::ForwardMode(_) => "forward-mode",
            Self::NodePerturbation(_) => "node-perturbation",
        }
    }

    /// The difference that it takes, of parameters, of pre-activations or of σ, if it takes any.
    pub fn perturbation(&self) -> Option<DifferenceConfig> {
        match self {
            Self::Difference(config) => Some(*config),
            Self::NodePerturbation(config) => Some(config.difference()),
            Self::NumericBackprop(config) => Some(config.difference()),
            Self::Backprop | Self::ForwardMode(_) | Self::Spsa(_) | Self::ForwardGradient(_) => {
                None
            }
        }
    }

    /// Losses evaluated, and derivatives of the loss along a direction, of a gradient: what a
    /// [`Control`] counts.
    pub fn passes(&self, layout: &Layout) -> u64 {
        let of = |probe: Perturbation| {
            let tally = probe.evaluations(layout);
            tally.evaluations + tally.jacobian_vector_products
        };
        match self {
            Self::Backprop | Self::NumericBackprop(_) => 1,
            Self::Difference(config) => {
                let once = of(Perturbation::Difference(*config));
                if config.extrapolate { 2 * once } else { once }
            }
            Self::ForwardMode(_) => of(Perturbation::Tangent),
            Self::Spsa(config) => 2 * config.directions.count as u64,
            Self::ForwardGradient(config) => 1 + config.directions.count as u64,
            Self::NodePerturbation(config) => of(Perturbation::Unit(*config)),
        }
    }

    /// Its config, if it is a finite difference of each parameter.
    pub fn difference(&self) -> Option<&DifferenceConfig> {
        match self {
            Self::Difference(config) => Some(config),
            _ => None,
        }
    }

    /// The engine, for mini-batches of at most `capacity` rows of `samples`.
    pub fn engine<R: Real>(
        &self,
        network: &Network,
        team: &Arc<Workers>,
        isa: Isa,
        samples: &Samples<R>,
        capacity: usize,
    ) -> Box<dyn TrainingEngine<R>> {
        let incremental = |probe| Incremental::new(network, probe, team, isa, samples, capacity);
        match self {
            Self::Backprop => Box::new(Backprop::new(network, team, isa, capacity)),
            Self::NumericBackprop(config) => {
                Box::new(Backprop::numeric(network, *config, team, isa, capacity))
            }
            Self::Difference(config) => {
                let incremental = || incremental(Perturbation::Difference(*config));
                let whole = || WholePasses::new(network, config, team, isa, capacity);
                let refined = config.extrapolate || config.increment == Increment::Noise;
                let refine = |inner| AdaptiveIncrement::new(network, config, isa, capacity, inner);
                match (config.reuse, refined) {
                    (Reuse::Incremental, false) => Box::new(incremental()),
                    (Reuse::Incremental, true) => {
                        Box::new(FlatDescent::new(network, refine(Box::new(incremental()))))
                    }
                    (_, false) => Box::new(FlatDescent::new(network, whole())),
                    (_, true) => Box::new(FlatDescent::new(network, refine(Box::new(whole())))),
                }
            }
            Self::Spsa(config) => {
                let spsa = Spsa::new(network, config, team, isa, capacity);
                Box::new(FlatDescent::new(network, spsa))
            }
            Self::ForwardGradient(config) => {
                let directions = config.directions;
                match config.perturbed {
                    PerturbedQuantity::Weights => {
                        let engine =
                            PerturbedWeights::new(network, directions, team, isa, capacity);
                        Box::new(FlatDescent::new(network, engine))
                    }
                    PerturbedQuantity::Activations => {
                        let engine =
                            PerturbedActivations::new(network, directions, team, isa, capacity);
                        Box::new(FlatDescent::new(network, engine))
                    }
                }
            }
            Self::ForwardMode(Reuse::Incremental) => Box::new(incremental(Perturbation::Tangent)),
            Self::ForwardMode(reuse) => {
                let whole = WholeTangentPasses::new(network, *reuse, team, isa, capacity);
                Box::new(FlatDescent::new(network, whole))
            }
            Self::NodePerturbation(config) => Box::new(incremental(Perturbation::Unit(*config))),
        }
    }
}

/// What one gradient found on its way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientEvaluation {
    /// The loss at θ, mean over the mini-batch, l2 left out.
    pub loss: f64,
    /// The operations performed.
    pub tally: Tally,
}

/// A way to a gradient.
pub trait GradientEngine<R: Real>: Send {
    /// Overwrites `gradient` with ∂L/∂θ of the mini-batch, l2 included. The same bits at any
    /// thread count. No allocation that grows with the batch after the first call.
    ///
    /// # Errors
    /// [`Stopped`]: `control` asked for it, or an increment is lost in θ; `gradient` then holds
    /// nothing of use.
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        control: &Control,
    ) -> Result<GradientEvaluation, Stopped>;

    /// The operations that a gradient of these rows performs.
    fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally;

    /// The most workers that find something to do.
    fn most_workers(&self) -> usize;

    /// Lets [`GradientEngine::gradient`] use at most so many workers, as many as pay if it is
    /// never called.
    ///
    /// # Panics
    /// With 0 workers or more than the team has.
    fn limit_workers(&mut self, workers: usize);

    /// Which random directions gradients take from now on. A gradient stays a function of its
    /// arguments and this: the same twice without another draw. Most methods take none.
    fn set_draw(&mut self, _: DirectionSeed) {}
}

/// Steps of gradient descent by an engine that keeps θ in a form of its own.
pub trait Descent<R: Real>: GradientEngine<R> {
    /// Takes over θ, and forgets the velocity.
    fn load(&mut self, parameters: &Parameters<R>);

    /// Gives θ back.
    fn store(&mut self, parameters: &mut Parameters<R>);

    /// Takes over the velocity of momentum.
    fn load_velocity(&mut self, velocity: &Parameters<R>);

    /// Gives the velocity back, if momentum has made one.
    fn store_velocity(&mut self, velocity: &mut Parameters<R>) -> bool;

    /// Steps of stochastic gradient descent over `order`, `batch_size` rows each (the last may
    /// have fewer), by at most `workers` workers. Adds the rows' losses, each before its step, to
    /// `loss`: one sum in order, however the rows are cut into calls.
    ///
    /// The bits are those of [`GradientEngine::gradient`] followed by the rule, for any number of
    /// workers; each step takes the random directions of the next draw. Returns how many rows are
    /// done: all, unless `control` stopped it before.
    ///
    /// # Errors
    /// [`Stopped`], if an increment is lost in θ.
    ///
    /// # Panics
    /// If `batch_size` is 0 or beyond the engine's capacity, or `workers` 0 or beyond the team.
    #[allow(clippy::too_many_arguments)]
    fn descend(
        &mut self,
        samples: &Samples<R>,
        order: &[u32],
        batch_size: usize,
        rule: Rule<R>,
        workers: usize,
        loss: &mut f64,
        control: &Control,
    ) -> Result<usize, Stopped>;
}

/// What a run needs of an engine.
pub trait TrainingEngine<R: Real>: GradientEngine<R> + Descent<R> {}

impl<R: Real, E: GradientEngine<R> + Descent<R>> TrainingEngine<R> for E {}
