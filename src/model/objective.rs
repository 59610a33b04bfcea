//! Any function of θ: what can be differentiated without being a network.
//!
//! All that finite differences ask of a function is its value. So a simulation, a closure or a
//! program called from one is differentiated like a network's loss, N + 1 evaluations over the
//! threads of a team ([`crate::gradient::finite_difference::Differences`]). The shortcuts that look
//! inside a network are not for it: every evaluation is a whole one.

/// A function ℝᴺ → ℝ that may be evaluated on several threads at once.
///
/// The value must depend on θ alone: on any number of threads the gradient then has the same bits.
pub trait Objective: Sync {
    /// N, the length of θ.
    fn parameters(&self) -> usize;

    /// The value at `theta`, `(N,)`. A number that is not finite ends the gradient with an error
    /// that names the place.
    fn value(&self, theta: &[f64]) -> f64;

    /// What parameter `index` is called in messages.
    fn name(&self, index: usize) -> String {
        format!("θ[{index}]")
    }
}

/// A closure as an [`Objective`].
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
    /// `function` of `parameters` numbers.
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
