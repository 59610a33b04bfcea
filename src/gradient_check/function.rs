//! Is a gradient of any function right? A verdict in one call.
//!
//! Each element is compared with a finite difference whose error has a bound: what truncation and
//! the measured noise of the function leave
//! ([`bounded`](crate::gradient::finite_difference::bounded)).

use std::fmt;

use crate::error::{InputError, Result};
use crate::gradient::finite_difference::bounded::{BoundedDerivative, BoundedDerivatives};
use crate::gradient::finite_difference::failure::{EvaluationPoint, Failure};
use crate::gradient::finite_difference::function::{Closure, Outcome};
use crate::gradient::finite_difference::objective::noise_near;
use crate::model::Objective;
use crate::parallel::EvaluationThreads;

/// The relative difference that is always allowed: half of the digits of double precision agree.
const TOLERANCE: f64 = 1e-8;
/// The share of an element up to which its bound lets a mistake be seen.
const VISIBLE: f64 = 0.1;
/// The share of the largest slope below which an element is negligible.
const NEGLIGIBLE: f64 = 1e-3;

/// An element of a gradient beside its finite difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Index of the parameter, from 0.
    pub index: usize,
    /// The element of the given gradient.
    pub theirs: f64,
    /// The finite difference.
    pub ours: f64,
    /// The bound of the finite difference's error: a difference beyond it is a mistake.
    pub bound: f64,
}

impl Comparison {
    /// Returns |theirs − ours| in multiples of the bound; infinite if the element is infinite or
    /// NaN.
    pub fn bounds(&self) -> f64 {
        let difference = (self.theirs - self.ours).abs();
        if difference.is_nan() {
            f64::INFINITY
        } else if difference == 0.0 {
            0.0
        } else {
            difference / self.bound
        }
    }
}

/// The answer of [`check_gradient`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Every element is within its bound, and the bounds are small.
    Right {
        /// The element that is nearest to its bound.
        worst: Comparison,
        /// The largest bound: a larger error in any element would have been seen.
        smallest_error: f64,
    },
    /// An element is beyond its bound.
    Wrong {
        /// The element that is farthest beyond its bound, in multiples of it.
        worst: Comparison,
        /// The number of elements beyond their bounds.
        wrong: usize,
    },
    /// No element is beyond its bound, but the noise of the function, or a bend of it at θ, makes a
    /// bound larger than a tenth of its element, so a mistake could hide.
    CannotTell {
        /// The element whose bound is largest compared with it.
        worst: Comparison,
        /// The noise of the function's values near θ: their standard deviation.
        noise: f64,
        /// The smallest error of that element that would have been seen.
        smallest_error: f64,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Right { smallest_error, .. } => write!(
                f,
                "right: no element is off by more than {smallest_error:.1e}, the least error that can be seen"
            ),
            Self::Wrong { worst, wrong } => write!(
                f,
                "wrong: element {} is {:e}, but the difference quotient is {:e}, {:.1e} times its bound {:.1e} away; elements beyond their bounds: {wrong}",
                worst.index,
                worst.theirs,
                worst.ours,
                worst.bounds(),
                worst.bound
            ),
            Self::CannotTell {
                worst,
                noise,
                smallest_error,
            } => write!(
                f,
                "cannot tell: the function's noise is {noise:.1e}, so in element {} ({:e}) only an error above {smallest_error:.1e} can be seen",
                worst.index, worst.theirs
            ),
        }
    }
}

/// Says whether `gradient`, `(N,)`, is the gradient of `function` at `theta`, `(N,)`.
///
/// Takes about 6N + 10 evaluations, spread over the processor's cores, more where the function is
/// steep or ends near θ. A gradient is right if each element agrees with an extrapolated central
/// difference within a bound derived from that difference's own error estimate and the function's
/// noise, which is measured. Elements below a thousandth of the largest slope count as negligible;
/// relative differences of 1e-8 are always allowed.
///
/// ```
/// use nplus1::{Verdict, check_gradient};
///
/// let f = |x: &[f64]| x[0] * x[0] + x[0] * x[1];
/// let my_gradient = |x: &[f64]| vec![2.0 * x[0] + x[1], 2.0 * x[0]]; // the 2 is a mistake
/// let theta = [1.0, 3.0];
/// match check_gradient(f, &my_gradient(&theta), &theta)? {
///     Verdict::Wrong { worst, .. } => assert_eq!(worst.index, 1),
///     Verdict::Right { .. } | Verdict::CannotTell { .. } => unreachable!(),
/// }
/// # Ok::<(), nplus1::error::Error>(())
/// ```
///
/// # Errors
/// [`InputError::GradientLength`]; [`Failure`], converted: θ is empty or not finite, the function
/// fails or is not finite at θ, or at every distance from θ that was tried.
pub fn check_gradient<V: Outcome>(
    function: impl Fn(&[f64]) -> V + Sync,
    gradient: &[f64],
    theta: &[f64],
) -> Result<Verdict> {
    if gradient.len() != theta.len() {
        return Err(InputError::GradientLength {
            gradient: gradient.len(),
            theta: theta.len(),
        }
        .into());
    }
    let objective = Closure::new(theta.len(), function);
    let threads = EvaluationThreads::shared()?;
    let derivatives = derivatives(&objective, theta, threads)?;
    Ok(verdict(gradient, &derivatives))
}

/// Returns the partial derivatives of `objective` at θ with their bounds.
fn derivatives(
    objective: &dyn Objective,
    theta: &[f64],
    threads: EvaluationThreads<'_>,
) -> Result<Vec<BoundedDerivative>, Failure> {
    if theta.is_empty() {
        return Err(Failure::NoParameters);
    }
    if let Some(index) = theta.iter().position(|value| !value.is_finite()) {
        return Err(Failure::Theta {
            parameter: objective.name(index),
            value: theta[index],
        });
    }
    let place = EvaluationPoint::Theta;
    let value = match objective.try_value(theta) {
        Ok(value) if value.is_finite() => value,
        Ok(value) => return Err(Failure::NotFinite { value, place }),
        Err(message) => return Err(Failure::Function { message, place }),
    };
    let noise = match noise_near(objective, theta, threads) {
        Ok(noise) => noise,
        // The function ends on that line; its partial derivatives may exist.
        Err(Failure::NotFinite { .. } | Failure::Function { .. }) => 0.0,
        Err(failure) => return Err(failure),
    };
    let bounded = BoundedDerivatives {
        objective,
        theta,
        value,
        noise,
    };
    let results = threads.map(theta.len(), |index| bounded.derivative(index));
    results.into_iter().collect()
}

/// Compares a gradient with the partial derivatives.
fn verdict(gradient: &[f64], derivatives: &[BoundedDerivative]) -> Verdict {
    let finite = |number: &f64| number.is_finite();
    let slopes = derivatives.iter().map(|derivative| derivative.slope);
    let elements = gradient.iter().copied().filter(finite).map(f64::abs);
    let largest = slopes.chain(elements).fold(0.0, f64::max);
    let mut wrong = 0;
    let mut worst: Option<Comparison> = None;
    // The comparison with the largest share of its bound in its element, and that share.
    let mut hidden: Option<(f64, Comparison, f64)> = None;
    let mut smallest_error = 0f64;
    for (index, (&theirs, derivative)) in gradient.iter().zip(derivatives).enumerate() {
        let ours = derivative.derivative;
        let size = ours.abs().max(if theirs.is_finite() {
            theirs.abs()
        } else {
            0.0
        });
        let compared = Comparison {
            index,
            theirs,
            ours,
            bound: derivative.bound + TOLERANCE * size,
        };
        smallest_error = smallest_error.max(compared.bound);
        wrong += usize::from(compared.bounds() > 1.0);
        if worst.is_none_or(|worst| compared.bounds() > worst.bounds()) {
            worst = Some(compared);
        }
        let both_zero = theirs == 0.0 && ours == 0.0;
        let share = compared.bound / size.max(NEGLIGIBLE * largest);
        if !both_zero && hidden.is_none_or(|(other, ..)| share > other) {
            hidden = Some((share, compared, derivative.noise));
        }
    }
    let worst = worst.expect("θ is not empty");
    match hidden {
        _ if wrong > 0 => Verdict::Wrong { worst, wrong },
        Some((share, worst, noise)) if share > VISIBLE => Verdict::CannotTell {
            worst,
            noise,
            smallest_error: worst.bound,
        },
        _ => Verdict::Right {
            worst,
            smallest_error,
        },
    }
}
