//! Gradients of closures, in one call.
//!
//! [`forward`] and [`central`] take a function of `&[f64]`; [`differentiate`] one of a vector of
//! either precision, a `Vec` or an [`Array1`]. The evaluations run on the threads that all such
//! calls share; within an evaluation, such as that of a gradient's gradient, they run on its own
//! thread. The bits do not depend on the threads.

use std::fmt::Display;
use std::marker::PhantomData;

use ndarray::Array1;

use super::Differences;
use super::failure::Failure;
use super::objective::GradientEstimate;
use crate::gradient::Control;
use crate::model::Objective;
use crate::numeric::{Precision, Real};
use crate::parallel::EvaluationThreads;

/// What a function may return: `f64`, `f32`, or a [`Result`] of one of them with an error that can
/// be shown.
pub trait Outcome {
    /// Returns the value, or the message of the error.
    ///
    /// # Errors
    /// The message.
    fn outcome(self) -> Result<f64, String>;
}

impl Outcome for f64 {
    fn outcome(self) -> Result<f64, String> {
        Ok(self)
    }
}

impl Outcome for f32 {
    fn outcome(self) -> Result<f64, String> {
        Ok(f64::from(self))
    }
}

impl<T: Outcome, E: Display> Outcome for Result<T, E> {
    fn outcome(self) -> Result<f64, String> {
        self.map_err(|error| error.to_string())?.outcome()
    }
}

/// A vector that holds θ or a gradient: `Vec<f64>`, `Vec<f32>`, `Array1<f64>`, `Array1<f32>`.
pub trait Vector: Sync {
    /// The type of its numbers.
    type Number: Real;
    /// Returns the numbers in double precision.
    fn to_numbers(&self) -> Vec<f64>;
    /// Creates a vector of `numbers`, each rounded to the precision.
    fn from_numbers(numbers: &[f64]) -> Self;
}

impl<R: Real> Vector for Vec<R> {
    type Number = R;
    fn to_numbers(&self) -> Vec<f64> {
        self.iter().map(|number| number.to_f64()).collect()
    }
    fn from_numbers(numbers: &[f64]) -> Self {
        numbers.iter().map(|&number| R::from_f64(number)).collect()
    }
}

impl<R: Real> Vector for Array1<R> {
    type Number = R;
    fn to_numbers(&self) -> Vec<f64> {
        self.iter().map(|number| number.to_f64()).collect()
    }
    fn from_numbers(numbers: &[f64]) -> Self {
        numbers.iter().map(|&number| R::from_f64(number)).collect()
    }
}

/// Returns the gradient of `function` at `theta`, `(N,)`, by forward differences: N + 1
/// evaluations, spread over the processor's cores. The error of each element is about 1e-8 of the
/// function's scale.
///
/// ```
/// use nplus1::finite_difference;
///
/// let g = finite_difference::forward(
///     |theta| (1.0 - theta[0]).powi(2) + 100.0 * (theta[1] - theta[0].powi(2)).powi(2),
///     &[-1.2, 1.0],
/// )?;
/// assert!((g[0] - -215.6).abs() < 1e-4 && (g[1] - -88.0).abs() < 1e-4);
/// # Ok::<(), nplus1::error::Error>(())
/// ```
///
/// # Errors
/// [`Failure`]: θ is empty or has an element that is infinite or NaN; the function fails, or its
/// value is infinite or NaN, with the point.
pub fn forward<V: Outcome>(
    function: impl Fn(&[f64]) -> V + Sync,
    theta: &[f64],
) -> Result<Vec<f64>, Failure> {
    gradient(Differences::FORWARD, function, theta)
}

/// Returns the gradient of `function` at `theta`, `(N,)`, by central differences: 2N evaluations,
/// spread over the processor's cores. The error of each element is about 1e-10 of the function's
/// scale.
///
/// ```
/// use nplus1::finite_difference;
///
/// // A function may fail; its error ends the gradient.
/// let root = |x: &[f64]| match x[0] > 0.0 {
///     true => Ok(x[0].sqrt()),
///     false => Err("no real root"),
/// };
/// let g = finite_difference::central(root, &[4.0])?;
/// assert!((g[0] - 0.25).abs() < 1e-9);
/// assert!(finite_difference::central(root, &[0.0]).is_err());
/// # Ok::<(), nplus1::error::Error>(())
/// ```
///
/// # Errors
/// Those of [`forward`].
pub fn central<V: Outcome>(
    function: impl Fn(&[f64]) -> V + Sync,
    theta: &[f64],
) -> Result<Vec<f64>, Failure> {
    gradient(Differences::CENTRAL, function, theta)
}

/// Returns the gradient of `function` at `theta` by `differences`, as a vector of θ's own type: a
/// `Vec` or an [`Array1`] of `f64` or `f32`. Increments suit θ's precision.
///
/// ```
/// use ndarray::{Array1, array};
/// use nplus1::finite_difference::{Differences, differentiate};
///
/// let theta = array![1.0f32, 2.0];
/// let g = differentiate(Differences::CENTRAL, |x: &Array1<f32>| x.dot(x), &theta)?;
/// assert!((g[1] - 4.0).abs() < 1e-3);
/// # Ok::<(), nplus1::error::Error>(())
/// ```
///
/// # Errors
/// Those of [`Differences::gradient`], and [`Failure::Function`].
pub fn differentiate<A: Vector, V: Outcome>(
    differences: Differences,
    function: impl Fn(&A) -> V + Sync,
    theta: &A,
) -> Result<A, Failure> {
    let numbers = theta.to_numbers();
    let widened = |theta: &[f64]| function(&A::from_numbers(theta));
    let objective = Closure {
        precision: A::Number::PRECISION,
        ..Closure::new(numbers.len(), widened)
    };
    let gradient = on_shared_threads(differences, &objective, &numbers)?;
    Ok(A::from_numbers(&gradient))
}

/// Returns the gradient of `function` at `theta` by `differences`, with its error estimates and
/// cost. The evaluations run on `threads`, such as [`waiting`]`(32)`, and `control` counts and stops
/// them.
///
/// ```
/// use nplus1::finite_difference::{Differences, estimate, waiting};
/// use nplus1::gradient::Control;
///
/// // A function that waits, such as for another machine, is asked by 8 threads at once.
/// let far = |x: &[f64]| {
///     std::thread::sleep(std::time::Duration::from_millis(1));
///     x.iter().map(|x| x * x).sum::<f64>()
/// };
/// let found = estimate(Differences::CENTRAL, far, &[1.0, 2.0], waiting(8), &Control::default())?;
/// assert!((found.gradient[1] - 4.0).abs() < 1e-8 && found.evaluations == 4);
/// # Ok::<(), nplus1::error::Error>(())
/// ```
///
/// # Errors
/// Those of [`Differences::gradient_with_control`].
pub fn estimate<'a, V: Outcome>(
    differences: Differences,
    function: impl Fn(&[f64]) -> V + Sync,
    theta: &[f64],
    threads: impl Into<EvaluationThreads<'a>>,
    control: &Control,
) -> Result<GradientEstimate, Failure> {
    let objective = Closure::new(theta.len(), function);
    differences.gradient_with_control(&objective, theta, threads, control)
}

/// Returns `threads` threads of their own, however many processors there are: for functions that
/// wait for something else, such as another program or machine.
pub fn waiting(threads: usize) -> EvaluationThreads<'static> {
    EvaluationThreads::Waiting(threads)
}

fn gradient<V: Outcome>(
    differences: Differences,
    function: impl Fn(&[f64]) -> V + Sync,
    theta: &[f64],
) -> Result<Vec<f64>, Failure> {
    let objective = Closure::new(theta.len(), function);
    on_shared_threads(differences, &objective, theta)
}

fn on_shared_threads(
    differences: Differences,
    objective: &dyn Objective,
    theta: &[f64],
) -> Result<Vec<f64>, Failure> {
    let threads =
        EvaluationThreads::shared().map_err(|error| Failure::Threads(error.to_string()))?;
    Ok(differences.gradient(objective, theta, threads)?.gradient)
}

/// A closure of N numbers that returns an [`Outcome`].
pub(crate) struct Closure<F, V> {
    parameters: usize,
    precision: Precision,
    function: F,
    outcome: PhantomData<fn() -> V>,
}

impl<V: Outcome, F: Fn(&[f64]) -> V + Sync> Closure<F, V> {
    /// Creates an objective of `parameters` numbers in double precision.
    pub(crate) fn new(parameters: usize, function: F) -> Self {
        Self {
            parameters,
            precision: Precision::F64,
            function,
            outcome: PhantomData,
        }
    }
}

impl<V: Outcome, F: Fn(&[f64]) -> V + Sync> Objective for Closure<F, V> {
    fn parameters(&self) -> usize {
        self.parameters
    }

    fn value(&self, theta: &[f64]) -> f64 {
        self.try_value(theta).unwrap_or(f64::NAN)
    }

    fn try_value(&self, theta: &[f64]) -> Result<f64, String> {
        (self.function)(theta).outcome()
    }

    fn precision(&self) -> Precision {
        self.precision
    }
}
