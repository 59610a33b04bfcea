//! The increment h: as large as truncation allows, as small as round-off allows.
//!
//! A forward difference errs by μ₂·h/2 from the curvature it leaves out and by 2·ε_f/h from the
//! noise ε_f of the two losses, least at h = 2√(ε_f/μ₂); a central one by μ₃·h²/6 and ε_f/h, least
//! at h = ∛(3·ε_f/μ₃). With ε_f ≈ u (the unit round-off) and derivatives of order 1 that is √u and
//! ∛u, relative to max(1, |θ|): the default of scipy and FiniteDiff.jl as well. Where differences
//! are computed without cancellation there is no noise to stay above, and h = u makes truncation
//! as small as a rounding, whatever θ is.
//!
//! One increment serves a whole unit, its row of weights and its bias: what inputs of equal value
//! change is then equal, and computed once. It is a power of two, so that θ + h is as exact as it
//! can be, and a division by it is exact.

use super::{Arithmetic, Scheme};
use crate::numeric::Real;

/// How h is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Increment {
    /// By precision, scheme and arithmetic: a power of two for each unit.
    Auto,
    /// From the measured noise of the loss and its curvature along a direction (ECnoise).
    Noise,
    /// This number for every parameter.
    Absolute(f64),
    /// This number times max(1, the unit's largest |θ|).
    Relative(f64),
}

impl Increment {
    /// Whether h depends on θ: without cancellation θ + h is never formed, and `auto` has no reason
    /// to grow with it.
    pub fn follows_theta(self, arithmetic: Arithmetic) -> bool {
        match self {
            Self::Auto => arithmetic == Arithmetic::Plain,
            Self::Absolute(_) => false,
            Self::Noise | Self::Relative(_) => true,
        }
    }

    /// h of a unit whose largest |θ| is `largest`; `noise` is what [`Increment::Noise`] measured.
    ///
    /// The result is a number of this precision, and positive if the rule's own number is.
    pub fn of_unit<R: Real>(
        self,
        scheme: Scheme,
        arithmetic: Arithmetic,
        largest: f64,
        noise: f64,
    ) -> R {
        let scale = largest.max(1.0);
        R::from_f64(match self {
            Self::Auto if arithmetic == Arithmetic::CancellationFree => {
                relative::<R>(scheme, arithmetic)
            }
            Self::Auto => power_of_two(relative::<R>(scheme, arithmetic) * scale),
            Self::Noise => power_of_two(noise * scale),
            Self::Absolute(number) => number,
            Self::Relative(number) => number * scale,
        })
    }
}

/// The relative increment of `auto`: √u, ∛u, or u without cancellation.
pub fn relative<R: Real>(scheme: Scheme, arithmetic: Arithmetic) -> f64 {
    match (arithmetic, scheme) {
        (Arithmetic::CancellationFree, _) => R::UNIT_ROUNDOFF,
        (Arithmetic::Plain, Scheme::Forward) => R::UNIT_ROUNDOFF.sqrt(),
        (Arithmetic::Plain, Scheme::Central) => R::UNIT_ROUNDOFF.cbrt(),
    }
}

/// h of a central difference along a random direction, in a network no layer of which has more than
/// `widest` inputs: the power of two nearest to ∛u/√(widest + 1).
///
/// The components of a direction are of order 1, so its norm is √N; but what the loss bends with are
/// pre-activations, and one of m inputs moves by h·√(m + 1) where all its weights and its bias move by
/// ±h, against h for a single one. So the loss along the direction is as curved as that factor
/// says (μ₃ ≈ (m + 1)^{3/2}), while its noise stays ε_f ≈ u: the best h falls by √(m + 1), not by √N.
pub fn of_direction<R: Real>(widest: usize) -> R {
    let moved = ((widest + 1) as f64).sqrt();
    R::from_f64(power_of_two(R::UNIT_ROUNDOFF.cbrt() / moved))
}

/// The power of two nearest to the normal `number` > 0, by ratio (of two as near, the larger); by its bits, hence the same on
/// every machine.
pub fn power_of_two(number: f64) -> f64 {
    let power = power_of_two_below(number);
    if number >= power * std::f64::consts::SQRT_2 {
        2.0 * power
    } else {
        power
    }
}

/// The largest power of two that is not above the normal `number` > 0; 0 for 0.
pub fn power_of_two_below(number: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    f64::from_bits(number.to_bits() & !MANTISSA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_the_power_of_two_nearest_to_the_optimum() {
        let auto =
            |scheme, arithmetic| Increment::Auto.of_unit::<f64>(scheme, arithmetic, 0.3, f64::NAN);
        assert_eq!(auto(Scheme::Forward, Arithmetic::Plain), 2f64.powi(-26));
        assert_eq!(auto(Scheme::Central, Arithmetic::Plain), 2f64.powi(-18));
        assert_eq!(
            auto(Scheme::Forward, Arithmetic::CancellationFree),
            2f64.powi(-53)
        );
        let single = Increment::Auto.of_unit::<f32>(Scheme::Forward, Arithmetic::Plain, 3.9, 0.0);
        assert_eq!(single, 2f32.powi(-10));
    }

    #[test]
    fn a_direction_s_increment_falls_with_the_norm_of_a_unit_s_share_of_it() {
        // ∛2⁻⁵³ ≈ 2⁻¹⁷·⁶⁷; 2⁻² for 15 inputs and a bias.
        assert_eq!(of_direction::<f64>(15), 2f64.powi(-20));
        assert_eq!(of_direction::<f32>(15), 2f32.powi(-10));
        assert_eq!(of_direction::<f32>(4095), 2f32.powi(-14));
    }

    #[test]
    fn a_relative_increment_grows_with_the_unit_and_an_absolute_one_does_not() {
        let h = |rule: Increment, largest| {
            rule.of_unit::<f64>(Scheme::Forward, Arithmetic::Plain, largest, f64::NAN)
        };
        assert_eq!(h(Increment::Relative(1e-3), 5.0), 5e-3);
        assert_eq!(h(Increment::Relative(1e-3), 0.1), 1e-3);
        assert_eq!(h(Increment::Absolute(1e-3), 5.0), 1e-3);
    }
}
