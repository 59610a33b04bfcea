//! The product of a function's Hessian and a vector, from two gradients.

use std::ops::ControlFlow;

use super::failure::{EvaluationPoint, Failure};
use super::increment::{self, power_of_two};
use super::jacobian::Outputs;
use super::objective::scale;
use super::{Arithmetic, Scheme, quotient};
use crate::parallel::EvaluationThreads;

/// Returns H·v, `(N,)`, of the function whose gradient at θ is `gradient(θ)`, `(N,)`: the central
/// difference of two gradients along v, at θ + h·v and θ − h·v, side by side on two cores. The
/// largest |h·vᵢ|/max(1, |θᵢ|) is about ∛u = 5e-6.
///
/// ```
/// use nplus1::finite_difference;
///
/// // f = x²y, so H = [[2y, 2x], [2x, 0]].
/// let gradient = |x: &[f64]| vec![2.0 * x[0] * x[1], x[0] * x[0]];
/// let product = finite_difference::hessian_vector(gradient, &[3.0, 1.0], &[1.0, 0.0])?;
/// assert!((product[0] - 2.0).abs() < 1e-8 && (product[1] - 6.0).abs() < 1e-8);
/// # Ok::<(), nplus1::error::Error>(())
/// ```
///
/// # Errors
/// [`Failure`]: θ is empty; θ or v is not finite, or v is of another length; the gradient fails, is
/// not finite or of another length.
pub fn hessian_vector<V: Outputs>(
    gradient: impl Fn(&[f64]) -> V + Sync,
    theta: &[f64],
    vector: &[f64],
) -> Result<Vec<f64>, Failure> {
    if theta.is_empty() {
        return Err(Failure::NoParameters);
    }
    if vector.len() != theta.len() {
        return Err(Failure::Length {
            found: vector.len(),
            parameters: theta.len(),
        });
    }
    for (name, numbers) in [("θ", theta), ("v", vector)] {
        if let Some(index) = numbers.iter().position(|value| !value.is_finite()) {
            return Err(Failure::Theta {
                parameter: format!("{name}[{index}]"),
                value: numbers[index],
            });
        }
    }
    let sizes = vector.iter().zip(theta);
    let largest = sizes
        .map(|(v, theta)| v.abs() / scale(*theta))
        .fold(0.0, f64::max);
    if largest == 0.0 {
        return Ok(vec![0.0; theta.len()]);
    }
    let relative = increment::relative::<f64>(Scheme::Central, Arithmetic::Plain);
    let h = power_of_two(relative / largest);
    let at = |number: usize| if number == 0 { h } else { -h };
    let threads =
        EvaluationThreads::shared().map_err(|error| Failure::Threads(error.to_string()))?;
    let gradients = threads.numbered(
        2,
        || (),
        |(), number| {
            let moved = theta.iter().zip(vector);
            let moved: Vec<f64> = moved.map(|(theta, v)| theta + at(number) * v).collect();
            let place = EvaluationPoint::Line {
                distance: at(number),
            };
            match checked(gradient(&moved).outputs(), theta.len(), place) {
                Ok(gradient) => ControlFlow::Continue(Ok(gradient)),
                Err(failure) => ControlFlow::Break(Err(failure)),
            }
        },
    );
    let gradients = gradients.map_err(|error| Failure::Threads(error.to_string()))?;
    let gradients: Vec<Vec<f64>> = gradients.into_iter().flatten().collect::<Result<_, _>>()?;
    let pairs = gradients[0].iter().zip(&gradients[1]);
    let products = pairs.map(|(above, below)| quotient::quotient(above - below, 2.0 * h));
    Ok(products.collect())
}

/// Returns a gradient of `expected` finite numbers.
fn checked(
    gradient: Result<Vec<f64>, String>,
    expected: usize,
    place: EvaluationPoint,
) -> Result<Vec<f64>, Failure> {
    let gradient = match gradient {
        Ok(gradient) => gradient,
        Err(message) => return Err(Failure::Function { message, place }),
    };
    let found = gradient.len();
    if found != expected {
        return Err(Failure::Outputs {
            found,
            expected,
            place,
        });
    }
    match gradient.iter().find(|element| !element.is_finite()) {
        None => Ok(gradient),
        Some(&value) => Err(Failure::NotFinite { value, place }),
    }
}
