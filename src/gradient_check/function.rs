//! Is a gradient of any function right? A verdict in one call.
//!
//! Each element is compared with a finite difference whose error has a bound: what truncation and
//! the measured noise of the function leave
//! ([`bounded`](crate::gradient::finite_difference::bounded)).

use std::fmt;

use super::objective_check::ObjectiveCheck;
use crate::error::{InputError, Result};
use crate::gradient::finite_difference::bounded::BoundedDerivative;
use crate::gradient::finite_difference::function::{Closure, Outcome};
use crate::numeric::Real;
use crate::parallel::EvaluationThreads;

/// The relative difference that is always allowed: what 2²⁰ operations, each rounded to double
/// precision, leave at most in a gradient whose terms have one sign.
pub(super) const TOLERANCE: f64 = (1u64 << 20) as f64 * f64::UNIT_ROUNDOFF;
/// The share of an element up to which a visible error is small enough.
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
    /// The size from which on a mistake in this element is found, but once in 10⁵ cases: more than
    /// the bound, since the finite difference has an error of its own.
    pub visible: f64,
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
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Every element is within its bound, and the bounds are small.
    Right {
        /// The element that is nearest to its bound.
        worst: Comparison,
        /// The largest visible error of an element: a larger one would have been seen in any.
        smallest_error: f64,
    },
    /// An element is beyond its bound.
    Wrong {
        /// The element that is farthest beyond its bound, in multiples of it.
        worst: Comparison,
        /// The number of elements beyond their bounds.
        wrong: usize,
        /// All of them, in order: theirs, ours, and the bound.
        elements: Vec<Comparison>,
    },
    /// No element is beyond its bound, but the noise of the function, or a bend of it at θ, hides
    /// errors larger than a tenth of an element.
    CannotTell {
        /// The element whose visible error is largest compared with it.
        worst: Comparison,
        /// The noise of the function's values near θ: their standard deviation.
        noise: f64,
        /// The smallest error of that element that would have been seen.
        smallest_error: f64,
        /// Whether the function bends at θ in that element: then less noise would not help.
        bent: bool,
    },
}

impl Verdict {
    /// Returns what would let the check tell; `None` unless it cannot.
    pub fn help(&self) -> Option<String> {
        let Self::CannotTell {
            worst, noise, bent, ..
        } = self
        else {
            return None;
        };
        let size = worst.theirs.abs().max(worst.ours.abs());
        Some(if *bent {
            format!(
                "the function bends at θ in element {}, where it has no derivative: check at another θ",
                worst.index
            )
        } else if size == 0.0 || worst.visible == 0.0 {
            "check at another θ, where the element is not 0".to_owned()
        } else {
            format!(
                "noise below {:.1e} would do: compute in higher precision, solve or iterate to a tighter tolerance, fix random seeds; or check at a θ where element {} is larger",
                noise * VISIBLE * size / worst.visible,
                worst.index
            )
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Right { smallest_error, .. } => write!(
                f,
                "right: no element is off by more than {smallest_error:.1e}, the least error that can be seen"
            ),
            Self::Wrong { worst, wrong, .. } => write!(
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
                ..
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
/// Takes about 6N + 13 evaluations, spread over the processor's cores; more where the function is
/// steep, ends near θ or is noisy. A gradient is right if each element agrees with an extrapolated
/// central difference within a bound derived from that difference's own error estimate and the
/// function's noise, which is measured. A right gradient is called wrong with a probability of 1e-6
/// at most if the noise is normal: the bounds count the elements that are compared, and the degrees
/// of freedom of the measured noise. Elements below a thousandth of the largest slope count as
/// negligible; relative differences of 1.2e-10, the round-off of a gradient, are always allowed.
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
/// [`InputError::GradientLength`]; `Failure`, converted: θ is empty or not finite, the function
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
    let check = ObjectiveCheck::new(&objective, theta, gradient, threads)?;
    let derivatives = check.derivatives()?;
    Ok(check.verdict(&derivatives))
}

/// Compares a gradient with the partial derivatives.
pub(super) fn verdict(gradient: &[f64], derivatives: &[BoundedDerivative]) -> Verdict {
    let finite = |number: &f64| number.is_finite();
    let slopes = derivatives.iter().map(|derivative| derivative.slope);
    let elements = gradient.iter().copied().filter(finite).map(f64::abs);
    let largest = slopes.chain(elements).fold(0.0, f64::max);
    let mut elements = Vec::new();
    let mut worst: Option<Comparison> = None;
    // The comparison with the largest share of its visible error in its element, and that share.
    let mut hidden: Option<(f64, Comparison, &BoundedDerivative)> = None;
    let mut smallest_error = 0f64;
    for (index, (&theirs, derivative)) in gradient.iter().zip(derivatives).enumerate() {
        let compared = compare(index, theirs, derivative);
        smallest_error = smallest_error.max(compared.visible);
        if compared.bounds() > 1.0 {
            elements.push(compared);
        }
        if worst.is_none_or(|worst| compared.bounds() > worst.bounds()) {
            worst = Some(compared);
        }
        let constant = theirs == 0.0 && derivative.slope == 0.0;
        let share = compared.visible / size(&compared).max(NEGLIGIBLE * largest);
        if !constant && hidden.is_none_or(|(other, ..)| share > other) {
            hidden = Some((share, compared, derivative));
        }
    }
    let worst = worst.expect("θ is not empty");
    match hidden {
        _ if !elements.is_empty() => Verdict::Wrong {
            worst,
            wrong: elements.len(),
            elements,
        },
        Some((share, worst, derivative)) if share > VISIBLE => Verdict::CannotTell {
            worst,
            noise: derivative.noise,
            smallest_error: worst.visible,
            bent: derivative.bent,
        },
        _ => Verdict::Right {
            worst,
            smallest_error,
        },
    }
}

/// Compares element `index` of a gradient with its finite difference.
pub(super) fn compare(index: usize, theirs: f64, derivative: &BoundedDerivative) -> Comparison {
    let mut compared = Comparison {
        index,
        theirs,
        ours: derivative.derivative,
        bound: derivative.bound,
        visible: derivative.visible,
    };
    let allowed = TOLERANCE * size(&compared);
    compared.bound += allowed;
    compared.visible += allowed;
    compared
}

/// Returns the larger of both elements' sizes, of those that are finite.
fn size(compared: &Comparison) -> f64 {
    let theirs = compared.theirs.abs();
    let theirs = if theirs.is_finite() { theirs } else { 0.0 };
    compared.ours.abs().max(theirs)
}
