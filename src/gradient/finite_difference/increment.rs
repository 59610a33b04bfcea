//! The choice of the increment h, a compromise between truncation and round-off.
//!
//! The error of a forward difference is μ₂·h/2 from truncation (μ₂ = |L″|) plus 2·ε_f/h from the
//! noise ε_f of the two losses, least at h = 2√(ε_f/μ₂). That of a central difference is μ₃·h²/6
//! plus ε_f/h (μ₃ = |L‴|), least at h = ∛(3·ε_f/μ₃). With ε_f ≈ u (the unit round-off) and
//! derivatives of order 1, h is about √u or ∛u, relative to max(1, |θ|): the default of scipy and
//! FiniteDiff.jl too. Cancellation-free differences have no such noise, and h = u makes truncation
//! as small as a rounding error, whatever θ is.
//!
//! All weights of a unit and its bias share one increment, so inputs of equal value cause equal
//! changes, which are computed once. An `auto` or measured increment is a power of two, so that
//! θ + h is as exact as possible, and the division by h is exact.

use super::{Arithmetic, Scheme};
use crate::numeric::Real;

/// The rule that chooses h.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Increment {
    /// A power of two for each unit, from precision, scheme and arithmetic.
    Auto,
    /// A power of two for each unit, from the measured noise of the loss (ECnoise) and its
    /// derivatives.
    Noise,
    /// The given number for every parameter.
    Absolute(f64),
    /// The given number times max(1, the unit's largest |θ|).
    Relative(f64),
}

impl Increment {
    /// Returns whether h depends on θ. Cancellation-free arithmetic never forms θ + h, so there
    /// `auto` does not grow with θ.
    pub fn depends_on_theta(self, arithmetic: Arithmetic) -> bool {
        match self {
            Self::Auto => arithmetic == Arithmetic::Plain,
            Self::Absolute(_) => false,
            Self::Noise | Self::Relative(_) => true,
        }
    }

    /// Returns h of a unit whose largest |θ| is `largest`; `noise` is the measured relative
    /// increment of [`Increment::Noise`]. The result is rounded to precision `R`.
    pub fn for_unit<R: Real>(
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

/// Returns the relative increment of `auto`: √u, ∛u, or u in cancellation-free arithmetic.
pub fn relative<R: Real>(scheme: Scheme, arithmetic: Arithmetic) -> f64 {
    match (arithmetic, scheme) {
        (Arithmetic::CancellationFree, _) => R::UNIT_ROUNDOFF,
        (Arithmetic::Plain, Scheme::Forward) => R::UNIT_ROUNDOFF.sqrt(),
        (Arithmetic::Plain, Scheme::Central) => R::UNIT_ROUNDOFF.cbrt(),
    }
}

/// Returns h of a central difference along a random direction, in a network whose layers have at
/// most `widest` inputs: the power of two nearest to ∛u/√(widest + 1).
///
/// The components of a direction are of order 1, so its norm is √N. But the loss is nonlinear in
/// the pre-activations only. When all m weights and the bias of a unit change by ±h, its
/// pre-activation changes by about h·√(m + 1), against h for a single weight. So along the
/// direction μ₃ ≈ (m + 1)^{3/2}, while the noise remains ε_f ≈ u: the best h shrinks by √(m + 1),
/// not by √N.
pub fn for_direction<R: Real>(widest: usize) -> R {
    let reach = ((widest + 1) as f64).sqrt();
    R::from_f64(power_of_two(R::UNIT_ROUNDOFF.cbrt() / reach))
}

/// Returns the power of two nearest by ratio to the normal `number` > 0 (of two equally near, the
/// larger). It is computed from the bits, hence the same on every machine.
pub fn power_of_two(number: f64) -> f64 {
    let power = power_of_two_below(number);
    if number >= power * std::f64::consts::SQRT_2 {
        2.0 * power
    } else {
        power
    }
}

/// Returns the largest power of two that does not exceed the normal `number` > 0; 0 for 0.
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
            |scheme, arithmetic| Increment::Auto.for_unit::<f64>(scheme, arithmetic, 0.3, f64::NAN);
        assert_eq!(auto(Scheme::Forward, Arithmetic::Plain), 2f64.powi(-26));
        assert_eq!(auto(Scheme::Central, Arithmetic::Plain), 2f64.powi(-18));
        assert_eq!(
            auto(Scheme::Forward, Arithmetic::CancellationFree),
            2f64.powi(-53)
        );
        let single = Increment::Auto.for_unit::<f32>(Scheme::Forward, Arithmetic::Plain, 3.9, 0.0);
        assert_eq!(single, 2f32.powi(-10));
    }

    #[test]
    fn the_increment_of_a_direction_shrinks_with_the_square_root_of_the_widest_fan_in() {
        // ∛2⁻⁵³ ≈ 2⁻¹⁷·⁶⁷; 15 inputs and a bias give the factor 2⁻².
        assert_eq!(for_direction::<f64>(15), 2f64.powi(-20));
        assert_eq!(for_direction::<f32>(15), 2f32.powi(-10));
        assert_eq!(for_direction::<f32>(4095), 2f32.powi(-14));
    }

    #[test]
    fn a_relative_increment_grows_with_the_unit_and_an_absolute_one_does_not() {
        let h = |rule: Increment, largest| {
            rule.for_unit::<f64>(Scheme::Forward, Arithmetic::Plain, largest, f64::NAN)
        };
        assert_eq!(h(Increment::Relative(1e-3), 5.0), 5e-3);
        assert_eq!(h(Increment::Relative(1e-3), 0.1), 1e-3);
        assert_eq!(h(Increment::Absolute(1e-3), 5.0), 1e-3);
    }
}
