//! The precision a network is computed in: `f32` or `f64`, sealed.

use std::fmt::{Debug, Display, LowerExp};

/// The name of a precision, as configs and files spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision, 24 bits.
    F32,
    /// Double precision, 53 bits.
    F64,
}

impl Precision {
    /// `f32` or `f64`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// `f32` or `f64`.
pub trait Real:
    sealed::Sealed
    + Copy
    + Default
    + PartialOrd
    + Debug
    + Display
    + LowerExp
    + Send
    + Sync
    + 'static
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
{
    /// Which of the two this is.
    const PRECISION: Precision;
    /// Bytes of one number.
    const BYTES: usize;
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The unit round-off u: half the distance from 1 to the next number.
    const UNIT_ROUNDOFF: f64;

    /// The nearest number of this precision.
    fn from_f64(value: f64) -> Self;
    /// The same number in double precision, exactly.
    fn to_f64(self) -> f64;
    /// `self · factor + addend`, rounded once.
    #[must_use]
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// |self|.
    #[must_use]
    fn abs(self) -> Self;
    /// Appends the little-endian bytes of `values`.
    fn extend_bytes(values: &[Self], bytes: &mut Vec<u8>);
    /// The number in `bytes`, little-endian; `bytes` holds [`Real::BYTES`].
    fn from_bytes(bytes: &[u8]) -> Self;
}

macro_rules! real {
    ($type:ident, $precision:ident, $roundoff:expr) => {
        impl Real for $type {
            const PRECISION: Precision = Precision::$precision;
            const BYTES: usize = size_of::<$type>();
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const UNIT_ROUNDOFF: f64 = $roundoff;

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                $type::mul_add(self, factor, addend)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $type::is_finite(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $type::abs(self)
            }
            fn extend_bytes(values: &[Self], bytes: &mut Vec<u8>) {
                bytes.reserve(values.len() * Self::BYTES);
                for value in values {
                    bytes.extend_from_slice(&value.to_le_bytes());
                }
            }
            fn from_bytes(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<$type>()];
                array.copy_from_slice(bytes);
                $type::from_le_bytes(array)
            }
        }
    };
}

real!(f32, F32, f32::EPSILON as f64 / 2.0);
real!(f64, F64, f64::EPSILON / 2.0);
