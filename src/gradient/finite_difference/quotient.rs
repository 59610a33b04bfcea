//! The difference quotient, which turns N + 1 evaluations into N partial derivatives.
//!
//! ```text
//! forward:  ∂L/∂θᵢ ≈ (L(θ + h·eᵢ) − L(θ)) / h             N + 1 evaluations, error O(h)
//! central:  ∂L/∂θᵢ ≈ (L(θ + h·eᵢ) − L(θ − h·eᵢ)) / 2h     2N evaluations, error O(h²)
//! ```

use crate::kernels::divided_difference::formulas::Propagation;
use crate::kernels::panels::width;
use crate::kernels::{Kernel, Vector};
use crate::numeric::Real;

/// The scheme of a finite difference, one-sided or two-sided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The loss at θ + h minus that at θ: N + 1 evaluations, truncation error μ₂·h/2, μ₂ = |L″|.
    Forward,
    /// The loss at θ + h minus that at θ − h: 2N evaluations, truncation error μ₃·h²/6, μ₃ = |L‴|.
    Central,
}

impl Scheme {
    /// Returns the method's name in configs, `forward-difference` or `central-difference`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward-difference",
            Self::Central => "central-difference",
        }
    }

    /// Returns the number of evaluations of a gradient of `parameters` partial derivatives.
    pub fn evaluations(self, parameters: u64) -> u64 {
        match self {
            Self::Forward => parameters + 1,
            Self::Central => 2 * parameters,
        }
    }

    /// Returns the distance between the two points of the difference: h or 2h.
    #[inline(always)]
    pub fn distance<R: Real>(self, increment: R) -> R {
        match self {
            Self::Forward => increment,
            Self::Central => increment + increment,
        }
    }
}

/// Returns the partial derivative: the change of the loss divided by the distance that caused it.
/// Whole passes, SPSA and differences of any function call it per derivative; incremental
/// differences call it once per unit, for the factor 1/(rows·h).
#[inline(always)]
pub fn quotient<R: Real>(change: R, distance: R) -> R {
    change / distance
}

/// A kernel that turns sums of changes over the rows into partial derivatives, in place: panel rows
/// of P units.
pub struct DivideSums<'a, R> {
    /// The scheme of the difference.
    pub scheme: Scheme,
    /// 1/B of a mini-batch of B rows.
    pub inverse_rows: R,
    /// h of each unit of the panel, `(P,)`.
    pub increments: &'a [R],
    /// Sums of changes in, partial derivatives out, `(panel rows, P)`.
    pub changes: &'a mut [R],
}

impl<R: Real> Kernel<R> for DivideSums<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let width = width::<R>();
        assert_eq!(self.increments.len(), width);
        // One division per unit; the changes are then multiplied by its result.
        let mut factors = [R::ZERO; 16];
        for (factor, &h) in factors.iter_mut().zip(self.increments) {
            *factor = quotient(self.inverse_rows, self.scheme.distance(h));
        }
        crate::kernels::scatter_add::scale::<V>(&factors[..width], self.changes);
    }
}

/// A kernel that adds the finite difference of the l2 penalty ½λ'·w² to the partial derivatives of
/// weights.
pub struct Penalties<'a, R> {
    /// The scheme of the difference.
    pub scheme: Scheme,
    /// The form of the difference. Values: squares are subtracted. Changes: (w + h)² − w² is
    /// computed as h·(2w + h) (central: 4wh), without the subtraction. Rates: the exact derivative
    /// λ'w.
    pub propagation: Propagation,
    /// The coefficient λ' of the penalty.
    pub l2: R,
    /// The number of units of the panel; columns beyond them are padding and stay 0.
    pub units: usize,
    /// h of each unit of the panel, `(P,)`.
    pub increments: &'a [R],
    /// The weights, `(panel rows, P)`.
    pub weights: &'a [R],
    /// The partial derivatives, `(panel rows, P)`.
    pub gradient: &'a mut [R],
}

impl<R: Real> Kernel<R> for Penalties<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let width = width::<R>();
        let half = R::from_f64(0.5) * self.l2;
        assert!(self.increments.len() == width && self.weights.len() == self.gradient.len());
        let panel_rows = self.weights.chunks_exact(width);
        for (weights, gradient) in panel_rows.zip(self.gradient.chunks_exact_mut(width)) {
            for ((&w, g), &h) in weights
                .iter()
                .zip(gradient)
                .zip(self.increments)
                .take(self.units)
            {
                let square = |w: R| half * (w * w);
                let change = match (self.scheme, self.propagation) {
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
