//! Richardson extrapolation: quotients at h, h/2, h/4 … combined to what they tend to as h → 0.
//!
//! A forward quotient errs by c₁h + c₂h² + …, a central one by c₂h² + c₄h⁴ + …. Two quotients at h
//! and h/2 cancel the first term:
//!
//! ```text
//! forward:  2·D(h/2) − D(h)           = D(h/2) + (D(h/2) − D(h))           error O(h²)
//! central: (4·D(h/2) − D(h)) / 3      = D(h/2) + (D(h/2) − D(h)) / 3       error O(h⁴)
//! ```
//!
//! What is added to D(h/2) estimates the error that D(h/2) had: a cautious estimate for the result.
//! A third level cancels the next term, and so on (Richardson 1911). Of the whole table the entry
//! is taken that differs least from its neighbors (Ridders, "Accurate computation of F′(x) and
//! F′(x)F″(x)", 1982), since past some level the noise grows faster than the truncation falls.
//!
//! An increment serves L levels best when it is larger: with the first L terms gone the error is
//! of order p = L (forward) or 2L (central), least against noise of u/h at h ≈ u^(1/(p + 1)).

use super::increment::{self, power_of_two};
use super::{Arithmetic, DifferenceConfig, Increment, Scheme};
use crate::numeric::Real;

/// Levels of [`extrapolate`].
pub const LEVELS: usize = 2;

/// The most levels of a table: beyond, noise is all that is left to extrapolate.
pub const MOST_LEVELS: usize = 10;

/// The relative increment of `auto` at the first of `levels` levels: u^(1/(p + 1)), where p is the
/// order of the error that is left. One level: √u and ∛u, as without extrapolation.
pub fn relative<R: Real>(scheme: Scheme, levels: usize) -> f64 {
    let order = match scheme {
        Scheme::Forward => levels,
        Scheme::Central => 2 * levels,
    };
    R::UNIT_ROUNDOFF.powf(1.0 / (order + 1) as f64)
}

/// What the increments of two levels are multiplied by first, a power of two: `auto` at the first level
/// is larger than without extrapolation. Without cancellation nothing forbids the smallest.
pub fn widening<R: Real>(config: &DifferenceConfig) -> f64 {
    if config.increment != Increment::Auto || config.arithmetic == Arithmetic::CancellationFree {
        return 1.0;
    }
    let plain = increment::relative::<R>(config.scheme, config.arithmetic);
    power_of_two(relative::<R>(config.scheme, LEVELS) / plain)
}

/// What [`extrapolate`] multiplies the quotients at h and at h/2 by.
pub fn weights(scheme: Scheme) -> [f64; 2] {
    let correction = 1.0 / divisor(scheme, 1);
    [-correction, 1.0 + correction]
}

/// How much faster than h itself the error term that step `step` (1, 2, …) cancels falls when h
/// is halved, less 1: 2ᵏ − 1 (forward), 4ᵏ − 1 (central).
fn divisor(scheme: Scheme, step: usize) -> f64 {
    let powers = match scheme {
        Scheme::Forward => step,
        Scheme::Central => 2 * step,
    };
    (powers as f64).exp2() - 1.0
}

/// Two gradients in, a better one and its error out, in place.
///
/// `wide`, `(N,)`: quotients at h, becomes the estimate of the error |∂L/∂θᵢ − result|.
/// `narrow`, `(N,)`: quotients at h/2, becomes the extrapolated gradient.
///
/// # Panics
/// If the lengths differ.
pub fn extrapolate<R: Real>(scheme: Scheme, wide: &mut [R], narrow: &mut [R]) {
    assert_eq!(wide.len(), narrow.len(), "two gradients of N numbers");
    let divisor = R::from_f64(divisor(scheme, 1));
    for (wide, narrow) in wide.iter_mut().zip(narrow) {
        let correction = (*narrow - *wide) / divisor;
        *narrow = *narrow + correction;
        *wide = if correction < R::ZERO {
            -correction
        } else {
            correction
        };
    }
}

/// The best entry of the table over quotients at h, h/2, h/4 …, and an estimate of its error.
///
/// Works in place; `quotients` holds the last column afterward. With two quotients the result of
/// [`extrapolate`]; with one, that one, and no estimate (infinite).
///
/// # Panics
/// Without any quotient.
pub fn table(scheme: Scheme, quotients: &mut [f64]) -> (f64, f64) {
    let levels = quotients.len();
    let mut best = (quotients[levels - 1], f64::INFINITY);
    for step in 1..levels {
        let divisor = divisor(scheme, step);
        // Column `step`, from the last row up, so that the entry above is still the old column's.
        for row in (step..levels).rev() {
            let (above, left) = (quotients[row - 1], quotients[row]);
            let correction = (left - above) / divisor;
            let entry = left + correction;
            quotients[row] = entry;
            // The neighbors are the two entries that it was made from. With two levels alone the
            // far one tells the error of D(h), not of the result.
            let mut error = correction.abs();
            if levels > 2 {
                error = error.max((entry - above).abs());
            }
            if error <= best.1 {
                best = (entry, error);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D(h) of a function whose error terms are c₁ … c₄, exactly.
    fn quotient(scheme: Scheme, h: f64) -> f64 {
        match scheme {
            Scheme::Forward => 2.0 + 3.0 * h + 5.0 * h * h,
            Scheme::Central => 2.0 + 3.0 * h.powi(2) + 5.0 * h.powi(4),
        }
    }

    #[test]
    fn two_levels_cancel_the_first_term_and_say_what_it_was() {
        for (scheme, left, first) in [
            (Scheme::Forward, -2.5 / 256.0, 1.5 / 16.0),
            (Scheme::Central, -1.25 / 65536.0, 0.75 / 256.0),
        ] {
            let h = 1.0 / 16.0;
            let mut wide = [quotient(scheme, h)];
            let mut narrow = [quotient(scheme, h / 2.0)];
            extrapolate(scheme, &mut wide, &mut narrow);
            // c₂ is left as −c₂·h²/2 (forward), c₄ as −c₄·h⁴/4 (central).
            assert!((narrow[0] - 2.0 - left).abs() < 1e-15, "{scheme:?}");
            // The error of D(h/2), as far as the first term goes.
            assert!(
                (wide[0] / first - 1.0).abs() < 0.2,
                "{scheme:?}: {}",
                wide[0]
            );
        }
    }

    #[test]
    fn three_levels_cancel_two_terms() {
        for scheme in [Scheme::Forward, Scheme::Central] {
            let mut quotients = [0.5, 0.25, 0.125].map(|h| quotient(scheme, h));
            let (limit, _) = table(scheme, &mut quotients);
            assert!((limit - 2.0).abs() < 1e-14, "{scheme:?}: {limit}");
        }
    }

    #[test]
    fn a_table_of_two_is_the_pair_and_of_one_the_quotient() {
        for scheme in [Scheme::Forward, Scheme::Central] {
            let (mut wide, mut narrow) = ([1.25f64], [1.1f64]);
            let mut both = [wide[0], narrow[0]];
            extrapolate(scheme, &mut wide, &mut narrow);
            assert_eq!(table(scheme, &mut both), (narrow[0], wide[0]));
            assert_eq!(table(scheme, &mut [0.5]), (0.5, f64::INFINITY));
        }
    }

    #[test]
    fn one_level_takes_the_increment_of_plain_differences() {
        use crate::gradient::finite_difference::{Arithmetic, increment};
        for scheme in [Scheme::Forward, Scheme::Central] {
            let plain = increment::relative::<f32>(scheme, Arithmetic::Plain);
            assert!((relative::<f32>(scheme, 1) / plain - 1.0).abs() < 1e-15);
        }
    }
}
