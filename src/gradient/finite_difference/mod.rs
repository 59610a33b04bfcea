//! Finite differences: a partial derivative is approximated by a change of the loss, divided by the
//! increment that caused it.
//!
//! The choice of h ([`increment`]) and the quotient ([`quotient`]) are shared by all engines. The
//! engines, [`WholePasses`], [`Incremental`] and [`Differences`] (of any function), differ in how
//! they evaluate the perturbed losses. [`Jacobian`] is the sibling of [`Differences`] for functions
//! of several outputs, and [`hessian_vector`] for gradients.

pub mod adaptive;
pub mod bounded;
pub mod directional;
pub mod evaluation;
pub mod failure;
pub(in crate::gradient) mod forward_pass;
pub mod function;
pub mod hessian;
pub mod increment;
pub mod incremental;
pub mod jacobian;
pub(in crate::gradient) mod lost_increments;
pub mod noise;
pub mod noise_increment;
pub mod objective;
mod objective_evaluation;
pub mod objective_noise;
mod one_sided;
pub mod perturbation;
pub mod quotient;
pub mod richardson;
pub mod sparsity;
pub mod unit_panels;
pub mod whole_passes;

pub use adaptive::AdaptiveIncrement;
pub use evaluation::LossEvaluator;
pub use failure::Failure;
pub use function::{central, differentiate, estimate, forward, waiting};
pub use hessian::hessian_vector;
pub use increment::Increment;
pub use incremental::Incremental;
pub use jacobian::{Jacobian, jacobian, sparse_jacobian};
pub use lost_increments::check_increments;
pub use noise_increment::NoiseIncrement;
pub use objective::{Differences, GradientEstimate};
pub use perturbation::{NodePerturbationConfig, Perturbation};
pub use quotient::Scheme;
pub use sparsity::SparsityPattern;
pub use whole_passes::WholePasses;

use crate::gradient::GradientEngine;
use crate::numeric::Real;

/// The part of the unperturbed forward pass that an evaluation at θ + h·eᵢ reuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Nothing: every evaluation is a whole forward pass.
    Full,
    /// The activations below the perturbed layer.
    Prefix,
    /// All that the perturbed unit does not change: the next layer takes a rank-1 update, the
    /// layers above it full passes. Zero inputs are skipped, and equal inputs share one evaluation.
    Incremental,
}

impl Reuse {
    /// Returns the name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Prefix => "prefix",
            Self::Incremental => "incremental",
        }
    }
}

/// The arithmetic by which a difference of two losses is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Both losses are computed, then subtracted: their common part cancels, their round-off
    /// remains.
    Plain,
    /// The difference itself is propagated from layer to layer, so that no two nearly equal
    /// numbers are ever subtracted (Reps and Rall, "Computational divided differencing and
    /// divided-difference arithmetics", 2003).
    CancellationFree,
}

impl Arithmetic {
    /// Returns the name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::CancellationFree => "cancellation-free",
        }
    }
}

/// The order of subtraction and summation over the rows of a mini-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summation {
    /// The losses of each sample are subtracted, then the differences summed: 9 to 18 times less
    /// round-off.
    Differences,
    /// The mean losses of the mini-batch are subtracted: the textbook's form.
    Losses,
}

impl Summation {
    /// Returns the name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Differences => "differences",
            Self::Losses => "losses",
        }
    }
}

/// The options of a finite-difference gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DifferenceConfig {
    /// One-sided or two-sided.
    pub scheme: Scheme,
    /// The part of the unperturbed pass that an evaluation reuses.
    pub reuse: Reuse,
    /// The arithmetic of a difference of losses.
    pub arithmetic: Arithmetic,
    /// The order of subtraction and summation.
    pub summation: Summation,
    /// The rule that chooses h.
    pub increment: Increment,
    /// Whether quotients at h and h/2 are extrapolated to h → 0 (Richardson).
    pub extrapolate: bool,
}

impl DifferenceConfig {
    /// The textbook's forward difference: N + 1 whole passes.
    pub const TEXTBOOK: Self = Self {
        scheme: Scheme::Forward,
        reuse: Reuse::Full,
        arithmetic: Arithmetic::Plain,
        summation: Summation::Differences,
        increment: Increment::Auto,
        extrapolate: false,
    };

    /// Returns an incremental forward difference with h = `increment`, or `auto` if `None`.
    pub fn forward(arithmetic: Arithmetic, increment: Option<f64>) -> Self {
        Self {
            scheme: Scheme::Forward,
            reuse: Reuse::Incremental,
            arithmetic,
            summation: Summation::Differences,
            increment: increment.map_or(Increment::Auto, Increment::Absolute),
            extrapolate: false,
        }
    }

    /// Returns the name of the extrapolation in configs, `none` or `richardson`.
    pub fn extrapolation(&self) -> &'static str {
        if self.extrapolate {
            "richardson"
        } else {
            "none"
        }
    }

    /// Returns whether the engine evaluates more than the difference itself: to extrapolate, or to
    /// measure its increment.
    pub fn is_adaptive(&self) -> bool {
        self.extrapolate || self.increment == Increment::Noise
    }

    /// Returns the number of gradients that are combined to one: 2 with extrapolation, else 1.
    pub fn levels(&self) -> usize {
        if self.extrapolate {
            richardson::LEVELS
        } else {
            1
        }
    }
}

/// An engine whose increments can be set before each gradient.
pub trait IncrementControl<R: Real>: GradientEngine<R> {
    /// Sets the factor that all increments are multiplied by, and the `measured` increment of
    /// [`Increment::Noise`], relative to max(1, the unit's largest |θ|).
    fn set_increments(&mut self, factor: f64, measured: f64);
}
