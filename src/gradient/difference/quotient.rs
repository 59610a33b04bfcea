//! The quotient: where N + 1 evaluations become N partial derivatives.
//!
//! ```text
//! forward:  ∂L/∂θᵢ ≈ (L(θ + h·eᵢ) − L(θ)) / h             N + 1 evaluations, error O(h)
//! central:  ∂L/∂θᵢ ≈ (L(θ + h·eᵢ) − L(θ − h·eᵢ)) / 2h     2N evaluations, error O(h²)
//! ```

use crate::numeric::Real;

/// One-sided or two-sided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Against the loss at θ itself: N + 1 evaluations, truncation error μ₂·h/2.
    Forward,
    /// On both sides of θ: 2N evaluations, truncation error μ₃·h²/6.
    Central,
}

impl Scheme {
    /// `forward-difference` or `central-difference`, as configs spell the method.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward-difference",
            Self::Central => "central-difference",
        }
    }

    /// Losses evaluated for a gradient of `parameters` partial derivatives.
    pub fn evaluations(self, parameters: u64) -> u64 {
        match self {
            Self::Forward => parameters + 1,
            Self::Central => 2 * parameters,
        }
    }

    /// What a change of the loss is divided by, for a perturbation by ±`increment`: the distance
    /// between the two points.
    #[inline(always)]
    pub fn distance<R: Real>(self, increment: R) -> R {
        match self {
            Self::Forward => increment,
            Self::Central => increment + increment,
        }
    }

    /// The partial derivative: a change of the loss over the distance that made it. Every finite
    /// difference of this crate is this line.
    #[inline(always)]
    pub fn quotient<R: Real>(self, change: R, increment: R) -> R {
        change / self.distance(increment)
    }
}
