//! The quotient: where N + 1 evaluations become N partial derivatives.
//!
//! ```text
//! forward:  ∂L/∂θᵢ ≈ (L(θ + h·eᵢ) − L(θ)) / h             N + 1 evaluations, error O(h)
//! central:  ∂L/∂θᵢ ≈ (L(θ + h·eᵢ) − L(θ − h·eᵢ)) / 2h     2N evaluations, error O(h²)
//! ```

use crate::kernels::divided_difference::formulas::Propagation;
use crate::kernels::panels::width;
use crate::kernels::{Kernel, Vector};
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

    /// The distance between the two points of a perturbation by ±`increment`.
    #[inline(always)]
    pub fn distance<R: Real>(self, increment: R) -> R {
        match self {
            Self::Forward => increment,
            Self::Central => increment + increment,
        }
    }
}

/// The partial derivative: a change of the loss over the distance that made it. Every finite
/// difference of this crate is this line.
#[inline(always)]
pub fn quotient<R: Real>(change: R, distance: R) -> R {
    change / distance
}

/// Sums of changes over the rows, in lines of P units, to partial derivatives, in place.
pub struct DivideSums<'a, R> {
    /// One-sided or two-sided.
    pub scheme: Scheme,
    /// 1/rows.
    pub share: R,
    /// h of each unit, one line.
    pub increments: &'a [R],
    /// Whole lines.
    pub changes: &'a mut [R],
}

impl<R: Real> Kernel<R> for DivideSums<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let width = width::<R>();
        assert_eq!(self.increments.len(), width);
        // One division a unit; every change is multiplied.
        let mut factors = [R::ZERO; 16];
        for (factor, &h) in factors.iter_mut().zip(self.increments) {
            *factor = quotient(self.share, self.scheme.distance(h));
        }
        crate::kernels::scatter_add::scale::<V>(&factors[..width], self.changes);
    }
}

/// Adds the finite difference of ½λ'·w² to the partial derivatives of weights: the l2 term has a
/// loss of its own, and a difference.
pub struct Penalties<'a, R> {
    /// One-sided or two-sided.
    pub scheme: Scheme,
    /// Changes: (w + h)² − w² as h·(2w + h) (central: 4wh), without the subtraction. Rates: λ'w, and no quotient.
    pub carried: Propagation,
    /// λ'.
    pub l2: R,
    /// Units of the panel; columns beyond them are padding and stay 0.
    pub units: usize,
    /// h of each unit, one line.
    pub increments: &'a [R],
    /// Whole lines.
    pub weights: &'a [R],
    /// As many.
    pub gradient: &'a mut [R],
}

impl<R: Real> Kernel<R> for Penalties<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let width = width::<R>();
        let half = R::from_f64(0.5) * self.l2;
        assert!(self.increments.len() == width && self.weights.len() == self.gradient.len());
        let lines = self.weights.chunks_exact(width);
        for (weights, gradient) in lines.zip(self.gradient.chunks_exact_mut(width)) {
            for ((&w, g), &h) in weights
                .iter()
                .zip(gradient)
                .zip(self.increments)
                .take(self.units)
            {
                let square = |w: R| half * (w * w);
                let change = match (self.scheme, self.carried) {
                    (_, Propagation::Rates) => {
                        *g = *g + self.l2 * w;
                        continue;
                    }
                    (Scheme::Forward, Propagation::Changes) => half * (h * (w + w + h)),
                    (Scheme::Forward, Propagation::Values) => square(w + h) - square(w),
                    (Scheme::Central, Propagation::Changes) => half * ((h + h) * (w + w)),
                    (Scheme::Central, Propagation::Values) => square(w + h) - square(w - h),
                };
                *g = *g + quotient(change, self.scheme.distance(h));
            }
        }
    }
}
