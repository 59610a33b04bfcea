//! The properties of a floating-point format that the error analysis needs.

use crate::gradient::finite_difference::increment::power_of_two_below;
use crate::numeric::{Precision, Real};

/// The unit round-off u of a precision, with its limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NumberFormat {
    /// The unit round-off u.
    pub roundoff: f64,
    /// The smallest positive number; a rounding in the subnormal range errs by at most half of it.
    pub tiny: f64,
    /// The smallest positive normal number; smaller products may be subnormal.
    pub least: f64,
    /// The largest |z| at which σ is evaluated; beyond it, z is clamped.
    pub clamp: f64,
    /// Whether the numbers come from another program, whose backprop may subtract to get 1 − a and
    /// may sum in any order.
    pub foreign: bool,
}

impl NumberFormat {
    pub(super) fn of(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self {
                roundoff: f32::UNIT_ROUNDOFF,
                tiny: 2f64.powi(-149),
                least: f64::from(f32::MIN_POSITIVE),
                clamp: f32::SIGMOID_CLAMP,
                foreign: false,
            },
            Precision::F64 => Self {
                roundoff: f64::UNIT_ROUNDOFF,
                tiny: f64::from_bits(1),
                least: f64::MIN_POSITIVE,
                clamp: f64::SIGMOID_CLAMP,
                foreign: false,
            },
        }
    }

    pub(super) fn foreign(self) -> Self {
        Self {
            foreign: true,
            ..self
        }
    }

    /// Returns a format with the same limits that rounds nothing.
    pub(super) fn without_roundoff(self) -> Self {
        Self {
            roundoff: 0.0,
            ..self
        }
    }

    /// Returns the number of this format nearest to `x`.
    pub(super) fn nearest(self, x: f64) -> f64 {
        if self.roundoff == f64::UNIT_ROUNDOFF {
            x
        } else {
            f64::from(x as f32)
        }
    }

    /// Returns the distance between neighboring numbers of this format around `x`.
    pub(super) fn spacing(self, x: f64) -> f64 {
        2.0 * (self.roundoff * power_of_two_below(x.abs())).max(self.tiny)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spacing_is_the_distance_to_the_next_number() {
        let single = NumberFormat::of(Precision::F32);
        for x in [1.0f32, 1.5, 1.999_999, 2.0, 3e-5, 1e-30, 0.7] {
            let next = f32::from_bits(x.to_bits() + 1);
            let distance = f64::from(next) - f64::from(x);
            assert_eq!(single.spacing(f64::from(x)), distance, "{x}");
            assert_eq!(single.spacing(-f64::from(x)), distance, "{x}");
        }
        let double = NumberFormat::of(Precision::F64);
        assert_eq!(double.spacing(1.0), f64::EPSILON);
        assert!(double.spacing(0.0) > 0.0);
    }
}
