//! The gradient engines, the trait that they share, and the choice among them.
//!
//! A gradient engine takes θ and a mini-batch, and computes ∂L/∂θ.

pub mod backprop;
pub mod control;
pub mod finite_difference;
pub mod flat_descent;
pub mod forward_mode;
mod local_rows;
pub mod operation_counts;
mod parameter_shares;
pub mod random_direction;

pub use backprop::{Backprop, NumericBackpropConfig};
pub use control::{Control, Stopped};
pub use flat_descent::FlatDescent;
pub use forward_mode::WholeTangentPasses;
pub use local_rows::LocalRows;

use std::sync::Arc;

use self::finite_difference::{
    AdaptiveIncrement, DifferenceConfig, Incremental, NodePerturbationConfig, Perturbation, Reuse,
    WholePasses,
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
use crate::parallel::cluster::Reduce;
use crate::parallel::{Split, Workers};

/// The `[gradient]` section of a config: the gradient method and its options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GradientConfig {
    /// One forward and one backward pass.
    Backprop,
    /// Backprop with difference quotients for the derivatives of σ and of the loss.
    NumericBackprop(NumericBackpropConfig),
    /// N + 1 or 2N evaluations of the loss; [`Reuse`] says how much of each pass is shared.
    Difference(DifferenceConfig),
    /// Two evaluations of the loss along each of K random directions.
    Spsa(SpsaConfig),
    /// The exact directional derivative along each of K random directions.
    ForwardGradient(ForwardGradientConfig),
    /// N Jacobian-vector products; [`Reuse`] says how much of each pass is shared.
    ForwardMode(Reuse),
    /// One difference per unit and sample, multiplied by the unit's inputs.
    NodePerturbation(NodePerturbationConfig),
}

impl GradientConfig {
    /// Returns the method with `count` random directions; `None` if the method takes none.
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

    /// Returns the method's name in configs.
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

    /// Returns the finite difference that the method takes, of parameters, of pre-activations or of
    /// σ; `None` if it takes none.
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

    /// Returns the number of losses and directional derivatives that one gradient evaluates: what
    /// a [`Control`] counts.
    pub fn passes(&self, layout: &Layout) -> u64 {
        let count_passes = |perturbation: Perturbation| {
            let tally = perturbation.evaluations(layout);
            tally.evaluations + tally.jacobian_vector_products
        };
        match self {
            Self::Backprop | Self::NumericBackprop(_) => 1,
            Self::Difference(config) => {
                let once = count_passes(Perturbation::Difference(*config));
                if config.extrapolate { 2 * once } else { once }
            }
            Self::ForwardMode(_) => count_passes(Perturbation::Tangent),
            Self::Spsa(config) => 2 * config.directions.count as u64,
            Self::ForwardGradient(config) => 1 + config.directions.count as u64,
            Self::NodePerturbation(config) => count_passes(Perturbation::Unit(*config)),
        }
    }

    /// Returns the config of a finite difference of each parameter; `None` for other methods.
    pub fn difference(&self) -> Option<&DifferenceConfig> {
        match self {
            Self::Difference(config) => Some(config),
            _ => None,
        }
    }

    /// Returns the splits that the engine can take; empty if the method has one partition of its
    /// own.
    pub fn splits(&self) -> &'static [Split] {
        match self {
            Self::Backprop | Self::NumericBackprop(_) => &Split::ALL,
            _ => &[],
        }
    }

    /// Creates the engine, for mini-batches of at most `capacity` rows of `samples`.
    pub fn engine<R: Real>(
        &self,
        network: &Network,
        pool: &Arc<Workers>,
        isa: Isa,
        samples: &Samples<R>,
        capacity: usize,
    ) -> Box<dyn TrainingEngine<R>> {
        let incremental =
            |perturbation| Incremental::new(network, perturbation, pool, isa, samples, capacity);
        let of_ranks = |backprop: Backprop<R>| -> Box<dyn TrainingEngine<R>> {
            let ranks = pool.ranks();
            match ranks.are_many() && ranks.reduce() == Reduce::Fast {
                true => Box::new(FlatDescent::new(network, LocalRows::new(backprop, ranks))),
                false => Box::new(backprop),
            }
        };
        match self {
            Self::Backprop => of_ranks(Backprop::new(network, pool, isa, capacity)),
            Self::NumericBackprop(config) => {
                of_ranks(Backprop::numeric(network, *config, pool, isa, capacity))
            }
            Self::Difference(config) => {
                let incremental = || incremental(Perturbation::Difference(*config));
                let whole_passes =
                    || WholePasses::new(network, config, pool, isa, samples, capacity);
                let adapt = |inner| AdaptiveIncrement::new(network, config, isa, capacity, inner);
                match (config.reuse, config.is_adaptive()) {
                    (Reuse::Incremental, false) => Box::new(incremental()),
                    (Reuse::Incremental, true) => {
                        Box::new(FlatDescent::new(network, adapt(Box::new(incremental()))))
                    }
                    (_, false) => Box::new(FlatDescent::new(network, whole_passes())),
                    (_, true) => {
                        Box::new(FlatDescent::new(network, adapt(Box::new(whole_passes()))))
                    }
                }
            }
            Self::Spsa(config) => {
                let spsa = Spsa::new(network, config, pool, isa, capacity);
                Box::new(FlatDescent::new(network, spsa))
            }
            Self::ForwardGradient(config) => {
                let directions = config.directions;
                match config.perturbed {
                    PerturbedQuantity::Weights => {
                        let engine =
                            PerturbedWeights::new(network, directions, pool, isa, capacity);
                        Box::new(FlatDescent::new(network, engine))
                    }
                    PerturbedQuantity::Activations => {
                        let engine =
                            PerturbedActivations::new(network, directions, pool, isa, capacity);
                        Box::new(FlatDescent::new(network, engine))
                    }
                }
            }
            Self::ForwardMode(Reuse::Incremental) => Box::new(incremental(Perturbation::Tangent)),
            Self::ForwardMode(reuse) => {
                let whole_passes = WholeTangentPasses::new(network, *reuse, pool, isa, capacity);
                Box::new(FlatDescent::new(network, whole_passes))
            }
            Self::NodePerturbation(config) => Box::new(incremental(Perturbation::Unit(*config))),
        }
    }
}

/// The loss and the operation counts of one gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientEvaluation {
    /// The mean loss of the mini-batch at θ, without the l2 term.
    pub loss: f64,
    /// The number of operations performed, by kind.
    pub tally: Tally,
}

/// A gradient method, with its workspace.
pub trait GradientEngine<R: Real>: Send {
    /// Overwrites `gradient` with ∂L/∂θ of the mini-batch, l2 included. The bits are the same on
    /// any number of threads. After the first call, no allocation grows with the batch, except that
    /// measuring [`Increment::Noise`](finite_difference::Increment::Noise) allocates each time.
    ///
    /// # Errors
    /// [`Stopped`] if `control` was stopped, if θ + h rounds to θ, or if no increment could be
    /// measured; the contents of `gradient` are then unspecified.
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        control: &Control,
    ) -> Result<GradientEvaluation, Stopped>;

    /// Returns the number of operations that a gradient of these rows performs.
    fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally;

    /// Returns the largest number of workers that have work to do, with the present split.
    fn most_workers(&self) -> usize;

    /// Returns the splits among which [`GradientEngine::set_split`] chooses; empty if the method
    /// has one partition of its own.
    fn splits(&self) -> &'static [Split] {
        &[]
    }

    /// Sets how all following gradients and steps divide their work. The bits stay the same.
    /// Methods with one partition of their own ignore it.
    fn set_split(&mut self, _: Split) {}

    /// Limits [`GradientEngine::gradient`] to `workers` workers. Without a limit it uses
    /// [`GradientEngine::most_workers`].
    ///
    /// # Panics
    /// If `workers` is 0 or exceeds the number of threads.
    fn limit_workers(&mut self, workers: usize);

    /// Sets the seed of the random directions of all following gradients. A gradient is a function
    /// of its arguments and of this seed. Methods without random directions ignore it.
    fn set_direction_seed(&mut self, _: DirectionSeed) {}
}

/// Gradient descent by an engine that keeps θ in its own memory layout.
pub trait Descent<R: Real>: GradientEngine<R> {
    /// Copies `parameters` to the engine's θ, and discards the velocity.
    fn load(&mut self, parameters: &Parameters<R>);

    /// Copies the engine's θ to `parameters`.
    fn store(&mut self, parameters: &mut Parameters<R>);

    /// Copies `velocity` to the engine's velocity (of momentum).
    fn load_velocity(&mut self, velocity: &Parameters<R>);

    /// Copies the engine's velocity to `velocity`; returns `false` if the engine has none.
    fn store_velocity(&mut self, velocity: &mut Parameters<R>) -> bool;

    /// Takes steps of stochastic gradient descent over the rows `order`, `batch_size` rows a step
    /// (the last may have fewer), with at most `workers` workers. Adds the rows' losses, evaluated
    /// before each step, to `loss` in order, so that the sum does not depend on how the rows are
    /// split into calls.
    ///
    /// The bits are those of [`GradientEngine::gradient`] followed by `rule`, for any number of
    /// workers; each step takes new random directions. Returns the number of rows processed: all
    /// of them, unless `control` was stopped.
    ///
    /// # Errors
    /// [`Stopped`] if θ + h rounds to θ or no increment could be measured.
    ///
    /// # Panics
    /// If `batch_size` is 0 or exceeds the engine's capacity, or if `workers` is 0 or exceeds the
    /// number of threads.
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

/// An engine that computes gradients and takes steps: what training requires.
pub trait TrainingEngine<R: Real>: GradientEngine<R> + Descent<R> {}

impl<R: Real, E: GradientEngine<R> + Descent<R>> TrainingEngine<R> for E {}
