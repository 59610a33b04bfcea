//! Gradient engines: θ and a mini-batch in, the gradient out.

pub mod backprop;
pub mod difference;
pub mod operations;
pub mod packed;
mod passes;

pub use backprop::Backprop;

use crate::data::Batch;
use crate::model::Parameters;
use crate::numeric::Real;
use crate::numeric::tally::Tally;

/// `[gradient]`.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientConfig {
    /// Which engine: `backprop`.
    pub method: String,
}

/// What one gradient found on its way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// The loss at θ, mean over the mini-batch, l2 left out.
    pub loss: f64,
    /// The operations performed.
    pub tally: Tally,
}

/// A way to a gradient.
pub trait GradientEngine<R: Real>: Send {
    /// Overwrites `gradient` with ∂L/∂θ of the mini-batch, l2 included. The same bits at any
    /// thread count. No allocation that grows with the batch after the first call.
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
    ) -> Evaluation;
}
