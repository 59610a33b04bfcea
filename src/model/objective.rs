//! Objectives: general functions of θ that finite differences can differentiate.
//!
//! Finite differences need only the function's value. So a simulation, a closure, or a program that
//! a closure calls can be differentiated like a network's loss, by N + 1 evaluations on several
//! threads ([`crate::gradient::finite_difference::Differences`]). The shortcuts that use a
//! network's structure do not apply: each evaluation is a complete one.

use crate::numeric::Precision;

/// Function ℝᴺ → ℝ that can be evaluated on several threads at once.
///
/// The value must depend on θ alone; the gradient then has the same bits on any number of threads.
pub trait Objective: Sync {
    /// Returns N, the length of θ.
    fn parameters(&self) -> usize;

    /// Returns the value at `theta`, `(N,)`. A value that is not finite ends the gradient with an
    /// error that names the point of evaluation.
    fn value(&self, theta: &[f64]) -> f64;

    /// Returns the value at `theta`, `(N,)`, of a function that may fail. A message ends the
    /// gradient, as a value that is not finite does.
    ///
    /// # Errors
    /// The message of the function's failure; never, unless an objective overrides this.
    fn try_value(&self, theta: &[f64]) -> Result<f64, String> {
        Ok(self.value(theta))
    }

    /// Returns the precision in which the function computes: that of θ, to which every point of
    /// evaluation is rounded, and of the values. It determines the increments of `auto`.
    fn precision(&self) -> Precision {
        Precision::F64
    }

    /// Returns the name of parameter `index` in messages.
    fn name(&self, index: usize) -> String {
        format!("θ[{index}]")
    }
}

/// [`Objective`] made from a closure.
///
/// ```
/// use nplus1::model::{Function, Objective};
///
/// let sphere = Function::new(3, |x: &[f64]| x.iter().map(|x| x * x).sum());
/// assert_eq!(sphere.value(&[1.0, 2.0, 2.0]), 9.0);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Function<F> {
    parameters: usize,
    function: F,
}

impl<F: Fn(&[f64]) -> f64 + Sync> Function<F> {
    /// Creates an objective from `function` of `parameters` numbers.
    pub fn new(parameters: usize, function: F) -> Self {
        Self {
            parameters,
            function,
        }
    }
}

impl<F: Fn(&[f64]) -> f64 + Sync> Objective for Function<F> {
    fn parameters(&self) -> usize {
        self.parameters
    }

    fn value(&self, theta: &[f64]) -> f64 {
        (self.function)(theta)
    }
}
