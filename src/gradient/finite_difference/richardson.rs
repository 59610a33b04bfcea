//! Richardson extrapolation, which combines quotients at h, h/2, h/4 … to estimate their limit for
//! h → 0.
//!
//! The error of a forward quotient is c₁h + c₂h² + …, that of a central one c₂h² + c₄h⁴ + …. Two
//! quotients D, at h and h/2, cancel the first term:
//!
//! ```text
//! forward:  2·D(h/2) − D(h)           = D(h/2) + (D(h/2) − D(h))           error O(h²)
//! central: (4·D(h/2) − D(h)) / 3      = D(h/2) + (D(h/2) − D(h)) / 3       error O(h⁴)
//! ```
//!
//! The correction added to D(h/2) estimates the error of D(h/2), and so overestimates the error of
//! the result. A third level cancels the next term, and so on (Richardson 1911). The result is the
//! entry of the table that differs least from its neighbors (Ridders, "Accurate computation of
//! F′(x) and F′(x)F″(x)", 1982), because beyond some level noise grows faster than truncation
//! shrinks.
//!
//! The best increment grows with the number of levels L: extrapolation leaves an error of order
//! p = L (forward) or 2L (central), whose sum with noise of u/h is least at h ≈ u^(1/(p + 1)).

use super::increment::{self, power_of_two};
use super::{Arithmetic, DifferenceConfig, Increment, Scheme};
use crate::numeric::Real;

/// The number of levels of [`extrapolate`].
pub const LEVELS: usize = 2;

/// The largest number of levels of a table; beyond it only noise would be extrapolated.
pub const MOST_LEVELS: usize = 10;

/// Returns the relative increment of `auto` at the first of `levels` levels: u^(1/(p + 1)), where p
/// is the order of the remaining error. With one level these are √u and ∛u, as without
/// extrapolation.
pub fn relative<R: Real>(scheme: Scheme, levels: usize) -> f64 {
    let order = match scheme {
        Scheme::Forward => levels,
        Scheme::Central => 2 * levels,
    };
    R::UNIT_ROUNDOFF.powf(1.0 / (order + 1) as f64)
}

/// Returns the factor, a power of two, by which extrapolation enlarges the increment at the first
/// of two levels: the best `auto` increment is larger than without extrapolation. The factor is 1
/// for other rules, and for cancellation-free arithmetic, in which small increments have no noise.
pub fn widening<R: Real>(config: &DifferenceConfig) -> f64 {
    if config.increment != Increment::Auto || config.arithmetic == Arithmetic::CancellationFree {
        return 1.0;
    }
    let plain = increment::relative::<R>(config.scheme, config.arithmetic);
    power_of_two(relative::<R>(config.scheme, LEVELS) / plain)
}

/// Returns the factors of the quotients at h and at h/2 in the result of [`extrapolate`].
pub fn weights(scheme: Scheme) -> [f64; 2] {
    let correction = 1.0 / divisor(scheme, 1);
    [-correction, 1.0 + correction]
}

/// Returns the divisor of the corrections in column k = `column` (1, 2, …) of the table: the factor
/// by which halving h shrinks the error term that the column cancels, less 1. It is 2ᵏ − 1
/// (forward) or 4ᵏ − 1 (central).
fn divisor(scheme: Scheme, column: usize) -> f64 {
    let powers = match scheme {
        Scheme::Forward => column,
        Scheme::Central => 2 * column,
    };
    (powers as f64).exp2() - 1.0
}

/// Extrapolates two gradients to a more accurate one and an error estimate, in place.
///
/// `wide`, `(N,)`, holds the quotients at h, and receives the estimate of the error
/// |∂L/∂θᵢ − result|. `narrow`, `(N,)`, holds the quotients at h/2, and receives the extrapolated
/// gradient.
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

/// A quotient, or an entry of the table over quotients.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Entry {
    /// The number.
    pub value: f64,
    /// A bound of its error by the noise of the values; 0 if that does not count.
    pub noise: f64,
}

/// Returns the best entry of the table over quotients at h, h/2, h/4 …, and an estimate of its
/// error: what truncation and noise leave. The bounds of noise add up as if the errors of the
/// quotients had the worst signs.
///
/// Overwrites `quotients`. With two quotients without noise, this is the result of
/// [`extrapolate`]; with one, the quotient itself, and an infinite error.
///
/// # Panics
/// If `quotients` is empty.
pub fn table(scheme: Scheme, quotients: &mut [Entry]) -> (f64, f64) {
    let levels = quotients.len();
    let mut best = (quotients[levels - 1].value, f64::INFINITY);
    for column in 1..levels {
        let divisor = divisor(scheme, column);
        // From the last row up, so that the entry above still belongs to the previous column.
        for row in (column..levels).rev() {
            let (above, left) = (quotients[row - 1], quotients[row]);
            let correction = (left.value - above.value) / divisor;
            let entry = left.value + correction;
            let noise = left.noise + (left.noise + above.noise) / divisor;
            quotients[row] = Entry {
                value: entry,
                noise,
            };
            // The neighbors are the two entries from which this one was computed. With only two
            // levels, the difference from D(h) is the error of D(h), not of the result.
            let mut error = correction.abs();
            if levels > 2 {
                error = error.max((entry - above.value).abs());
            }
            error += noise;
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

    fn exact(value: f64) -> Entry {
        Entry { value, noise: 0.0 }
    }

    /// Returns D(h) of a function with two error terms, of coefficients 3 and 5.
    fn quotient(scheme: Scheme, h: f64) -> f64 {
        match scheme {
            Scheme::Forward => 2.0 + 3.0 * h + 5.0 * h * h,
            Scheme::Central => 2.0 + 3.0 * h.powi(2) + 5.0 * h.powi(4),
        }
    }

    #[test]
    fn two_levels_cancel_the_first_term_and_estimate_it() {
        for (scheme, left, first) in [
            (Scheme::Forward, -2.5 / 256.0, 1.5 / 16.0),
            (Scheme::Central, -1.25 / 65536.0, 0.75 / 256.0),
        ] {
            let h = 1.0 / 16.0;
            let mut wide = [quotient(scheme, h)];
            let mut narrow = [quotient(scheme, h / 2.0)];
            extrapolate(scheme, &mut wide, &mut narrow);
            // The remaining error is −c₂·h²/2 (forward) or −c₄·h⁴/4 (central).
            assert!((narrow[0] - 2.0 - left).abs() < 1e-15, "{scheme:?}");
            // The first term of the error of D(h/2).
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
            let mut quotients = [0.5, 0.25, 0.125].map(|h| exact(quotient(scheme, h)));
            let (limit, _) = table(scheme, &mut quotients);
            assert!((limit - 2.0).abs() < 1e-14, "{scheme:?}: {limit}");
        }
    }

    #[test]
    fn a_table_of_two_levels_equals_extrapolate_and_a_table_of_one_returns_its_quotient() {
        for scheme in [Scheme::Forward, Scheme::Central] {
            let (mut wide, mut narrow) = ([1.25f64], [1.1f64]);
            let mut both = [exact(wide[0]), exact(narrow[0])];
            extrapolate(scheme, &mut wide, &mut narrow);
            assert_eq!(table(scheme, &mut both), (narrow[0], wide[0]));
            let one = table(scheme, &mut [exact(0.5)]);
            assert_eq!(one, (0.5, f64::INFINITY));
        }
    }

    #[test]
    fn noise_of_the_quotients_is_in_the_estimate_and_decides_which_entry_is_best() {
        // Without truncation, central: (4/3 + 1/3·1/2)·1 = 1.5 in E₂, (16·1.5 + .75)/15 = 1.65 in E,
        // and half of the former in E₁, from the wider quotients.
        let noises = [0.25, 0.5, 1.0];
        let mut quotients = noises.map(|noise| Entry { value: 2.0, noise });
        let best = table(Scheme::Central, &mut quotients);
        assert_eq!(best.0, 2.0);
        assert!((best.1 - 0.75).abs() < 1e-15, "{best:?}");
        assert!((quotients[2].noise - 1.65).abs() < 1e-15);
    }

    #[test]
    fn one_level_uses_the_increment_of_plain_differences() {
        use crate::gradient::finite_difference::{Arithmetic, increment};
        for scheme in [Scheme::Forward, Scheme::Central] {
            let plain = increment::relative::<f32>(scheme, Arithmetic::Plain);
            assert!((relative::<f32>(scheme, 1) / plain - 1.0).abs() < 1e-15);
        }
    }
}
