//! The state of L-BFGS: the last changes of θ and of the gradient, and the direction −H∇f that they
//! give.

use std::collections::VecDeque;

use super::{OptimizerState, StateForm};
use crate::model::Parameters;
use crate::numeric::Real;

/// The vectors of a [`History`]: the gradient at θ, and of each pair both changes, from the oldest on.
pub static STATE: StateForm = StateForm {
    kind: "history",
    vectors: &["gradient"],
    repeated: &["theta_change", "gradient_change"],
};

/// State of L-BFGS.
#[derive(Clone, Debug, PartialEq)]
pub struct History<R> {
    /// Objective at θ.
    pub value: f64,
    /// Gradient of the objective at θ.
    pub gradient: Parameters<R>,
    /// Last m pairs from the oldest on: s = the change of θ, y = the change of the gradient.
    pub pairs: VecDeque<(Parameters<R>, Parameters<R>)>,
}

/// Returns ‖g‖∞; NaN if any element is NaN.
pub fn largest<R: Real>(gradient: &Parameters<R>) -> f64 {
    let sizes = gradient.flat().iter().map(|g| g.to_f64().abs());
    // `f64::max` would drop a NaN.
    sizes.fold(0.0, |largest: f64, size| {
        if largest.is_nan() || size <= largest {
            largest
        } else {
            size
        }
    })
}

impl<R: Real> From<History<R>> for OptimizerState<R> {
    fn from(history: History<R>) -> Self {
        let pairs = history.pairs.into_iter().flat_map(|(s, y)| [s, y]);
        let vectors = std::iter::once(history.gradient).chain(pairs).collect();
        let mut state = Self::new(&STATE, vectors);
        state.value = history.value;
        state
    }
}

impl<R: Real> History<R> {
    /// Returns the history in the state of an optimizer; `None` if that is of another optimizer.
    pub fn from_state(state: OptimizerState<R>) -> Option<Self> {
        if *state.form() != STATE {
            return None;
        }
        let value = state.value;
        let mut vectors = state.vectors.into_iter();
        let gradient = vectors.next()?;
        let mut pairs = VecDeque::with_capacity(vectors.len() / 2);
        while let (Some(s), Some(y)) = (vectors.next(), vectors.next()) {
            pairs.push_back((s, y));
        }
        Some(Self {
            value,
            gradient,
            pairs,
        })
    }

    /// Returns the gradient in the state of an optimizer; `None` if that is not a history.
    pub fn gradient_in(state: &OptimizerState<R>) -> Option<&Parameters<R>> {
        (*state.form() == STATE).then(|| state.vectors.first())?
    }

    /// Returns −∇f.
    pub(super) fn steepest_descent(&self) -> Vec<f64> {
        self.gradient.flat().iter().map(|g| -g.to_f64()).collect()
    }

    /// Returns −H∇f by the two-loop recursion. Cost: 4mN multiplications, and 2mN for the pairs'
    /// products s·y.
    pub(super) fn direction(&self) -> Vec<f64> {
        let mut direction = self.steepest_descent();
        let mut factors = Vec::with_capacity(self.pairs.len());
        for (s, y) in self.pairs.iter().rev() {
            let (s, y) = (s.flat(), y.flat());
            let factor = dot(s, direction.iter().copied()) / product(s, y);
            factors.push(factor);
            add(&mut direction, -factor, y);
        }
        if let Some((s, y)) = self.pairs.back() {
            let (s, y) = (s.flat(), y.flat());
            let gamma = product(s, y) / product(y, y);
            for element in &mut direction {
                *element *= gamma;
            }
        }
        for ((s, y), factor) in self.pairs.iter().zip(factors.into_iter().rev()) {
            let (s, y) = (s.flat(), y.flat());
            let beta = dot(y, direction.iter().copied()) / product(s, y);
            add(&mut direction, factor - beta, s);
        }
        direction
    }
}

/// Returns Σ a_i b_i, summed in order.
pub(super) fn dot<R: Real>(a: &[R], b: impl Iterator<Item = f64>) -> f64 {
    a.iter()
        .zip(b)
        .fold(0.0, |sum, (a, b)| sum + a.to_f64() * b)
}

/// Returns a·b, summed in order.
pub(super) fn product<R: Real>(a: &[R], b: &[R]) -> f64 {
    dot(a, b.iter().map(|b| b.to_f64()))
}

/// Adds `factor` · `other` to `vector`.
fn add<R: Real>(vector: &mut [f64], factor: f64, other: &[R]) {
    for (element, other) in vector.iter_mut().zip(other) {
        *element += factor * other.to_f64();
    }
}
