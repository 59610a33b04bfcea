//! Finite differences: a partial derivative as the quotient of a change of the loss and the
//! increment that made it.
//!
//! What is perturbed, by how much, and what the quotient is stand in one file each
//! ([`increment`], [`quotient`]) and are shared by every way of evaluating the perturbed losses.
//! The ways differ in the work they repeat, never in what they mean.

pub mod adaptive;
pub mod directional;
pub mod evaluation;
pub mod failure;
pub(in crate::gradient) mod forward_pass;
pub mod increment;
pub mod incremental;
pub mod noise;
pub mod noise_increment;
pub mod objective;
pub mod perturbation;
pub mod quotient;
pub mod richardson;
pub mod unit_panels;
pub mod whole_passes;

pub use adaptive::AdaptiveIncrement;
pub use evaluation::LossEvaluator;
pub use failure::Failure;
pub use increment::Increment;
pub use incremental::Incremental;
pub use noise_increment::NoiseIncrement;
pub use objective::{Differences, GradientEstimate};
pub use perturbation::{NodePerturbationConfig, Perturbation};
pub use quotient::Scheme;
pub use whole_passes::{WholePasses, check_increments};

use crate::gradient::GradientEngine;
use crate::numeric::Real;

/// How much of the unperturbed forward pass an evaluation at θ + h·eᵢ uses again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Nothing: a whole forward pass each, as the question counts them.
    Full,
    /// The activations below the perturbed layer.
    Prefix,
    /// All that the perturbed unit does not change: the next layer takes a rank-1 update, the
    /// layers after it full passes; zero inputs are left out and equal ones shared.
    Incremental,
}

impl Reuse {
    /// As configs spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Prefix => "prefix",
            Self::Incremental => "incremental",
        }
    }
}

/// How a difference of two losses is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Both losses, then their difference: what is common to them cancels, round-off stays.
    Plain,
    /// The difference itself is propagated from layer to layer, so that no two nearly equal
    /// numbers are ever subtracted (Reps and Rall, "Computational divided differencing and
    /// divided-difference arithmetics", 2003).
    CancellationFree,
}

impl Arithmetic {
    /// As configs spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::CancellationFree => "cancellation-free",
        }
    }
}

/// What is subtracted: sums, or summands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summation {
    /// Each sample's losses, then the differences are summed: 9 to 18 times less round-off.
    Differences,
    /// The mini-batch's mean losses: the textbook's form.
    Losses,
}

impl Summation {
    /// As configs spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Differences => "differences",
            Self::Losses => "losses",
        }
    }
}

/// Everything that tells one finite-difference gradient from another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DifferenceConfig {
    /// One-sided or two-sided.
    pub scheme: Scheme,
    /// What an evaluation uses again.
    pub reuse: Reuse,
    /// How a difference of losses is computed.
    pub arithmetic: Arithmetic,
    /// What is subtracted.
    pub summation: Summation,
    /// The choice of h.
    pub increment: Increment,
    /// Whether quotients at h and h/2 are extrapolated to h → 0 (Richardson).
    pub extrapolate: bool,
}

impl DifferenceConfig {
    /// As the question counts it: N + 1 whole passes.
    pub const TEXTBOOK: Self = Self {
        scheme: Scheme::Forward,
        reuse: Reuse::Full,
        arithmetic: Arithmetic::Plain,
        summation: Summation::Differences,
        increment: Increment::Auto,
        extrapolate: false,
    };
    /// An incremental forward difference by `increment`; `None`: `auto`.
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

    /// `none` or `richardson`, as configs spell it.
    pub fn extrapolation(&self) -> &'static str {
        if self.extrapolate {
            "richardson"
        } else {
            "none"
        }
    }

    /// Gradients that one is made of: 2 with extrapolation.
    pub fn looks(&self) -> usize {
        if self.extrapolate {
            richardson::LEVELS
        } else {
            1
        }
    }
}

/// An engine whose increments can be set from outside, gradient by gradient.
pub trait IncrementControl<R: Real>: GradientEngine<R> {
    /// Multiplies all increments by `factor`, and takes `measured` for [`Increment::Noise`]: h
    /// relative to max(1, the unit's largest |θ|).
    fn set_increments(&mut self, factor: f64, measured: f64);
}
