//! A number format, as an error analysis sees it: what one rounding can lose.

use crate::numeric::{Precision, Real};

/// u, and what else a precision can lose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Format {
    /// The unit round-off.
    pub roundoff: f64,
    /// Half the smallest number.
    pub tiny: f64,
    /// Below this the product of two numbers of a gradient may be subnormal.
    pub least: f64,
    /// Sigmoids are evaluated at ±this where |z| is larger.
    pub clamp: f64,
    /// 1 − a and a − 1 may be subtractions, and sums in any order: another program's backprop.
    pub foreign: bool,
}

impl Format {
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
}
