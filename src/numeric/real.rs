//! The precision of a network's numbers: the sealed trait [`Real`], implemented by `f32` and `f64`.

use std::fmt::{Debug, Display, LowerExp};

/// A precision, named as in configs and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision, with a significand of 24 bits.
    F32,
    /// Double precision, with a significand of 53 bits.
    F64,
}

impl Precision {
    /// Returns `f32` or `f64`.
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

/// A floating-point number: `f32` or `f64`.
pub trait Real:
    sealed::Sealed
    + crate::kernels::simd::Dispatch
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
    /// The precision of this type.
    const PRECISION: Precision;
    /// Size of a number in bytes.
    const BYTES: usize;
    /// The number 0.
    const ZERO: Self;
    /// The number 1.
    const ONE: Self;
    /// The unit round-off u: half the distance from 1 to the next number.
    const UNIT_ROUNDOFF: f64;

    /// Bound to which the arguments of sigmoids are clamped on either side, so that no product of
    /// their values is subnormal.
    const SIGMOID_CLAMP: f64;
    /// Coefficients c_2, c_3, … of e^r ≈ 1 + r + Σ c_k r^k on |r| ≤ ½ ln 2, highest order first.
    const EXP: &'static [f64];
    /// Coefficients of the shorter series for e^r that [`crate::kernels::elementary::sigmoid`]
    /// uses, highest order first.
    const EXP_SHORT: &'static [f64];
    /// Number of coefficients of [`Real::EXP`] that e^x − 1 needs for |x| ≤ 1/64.
    const NEAR_TERMS: usize;
    /// ln 2 as a sum of two parts; the first ends in enough zero bits that its product with n is
    /// exact.
    const LN_2: [f64; 2];
    /// ln 2 as a sum of as many parts as n · ln 2 needs with fused multiply-adds: n ≤ 87 (f32), n ≤
    /// 866 (f64).
    const LN_2_FUSED: &'static [f64];
    /// Number of terms of the series of 2 atanh(s)/s in s² that give full precision for s ≤ 1/3.
    const ATANH_TERMS: usize;

    /// Returns the nearest number of this precision.
    fn from_f64(value: f64) -> Self;
    /// Returns the same number in double precision, exactly.
    fn to_f64(self) -> f64;
    /// Returns `self · factor + addend`, rounded once.
    #[must_use]
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// Returns whether the number is neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// Returns |self|.
    #[must_use]
    fn abs(self) -> Self;
    /// Appends the little-endian bytes of `values` to `bytes`.
    fn extend_bytes(values: &[Self], bytes: &mut Vec<u8>);
    /// Returns the number whose little-endian bytes are `bytes`, of which there are
    /// [`Real::BYTES`].
    fn from_bytes(bytes: &[u8]) -> Self;
}

macro_rules! real {
    ($type:ident, $precision:ident, $roundoff:expr, $clamp:expr, $exp:expr, $short:expr, $near:expr, $ln_2:expr, $fused:expr, $terms:expr) => {
        impl Real for $type {
            const PRECISION: Precision = Precision::$precision;
            const BYTES: usize = size_of::<$type>();
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const UNIT_ROUNDOFF: f64 = $roundoff;
            const SIGMOID_CLAMP: f64 = $clamp;
            const EXP: &'static [f64] = $exp;
            const EXP_SHORT: &'static [f64] = $short;
            const NEAR_TERMS: usize = $near;
            const LN_2: [f64; 2] = $ln_2;
            const LN_2_FUSED: &'static [f64] = $fused;
            const ATANH_TERMS: usize = $terms;

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

/// Taylor's coefficients 1/2!, 1/3!, …, highest order first. The remainder on |r| ≤ ½ ln 2 is below
/// a tenth of a unit in the last place.
const EXP_F32: &[f64] = &[
    1.0 / 5040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
];
/// The five coefficients of the minimax polynomial on |r| ≤ ½ ln 2 (Remez), rounded to `f32`. The
/// error of e^r is 4e-9, that of its slope 4e-7.
const EXP_SHORT_F32: &[f64] = &[
    0.001_381_461_275_741_458,
    0.008_368_710_055_947_304,
    0.041_668_388_992_547_99,
    0.166_665_211_319_923_4,
    0.499_999_940_395_355_2,
];
/// Taylor's coefficients of the same series for `f64`.
const EXP_F64: &[f64] = &[
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
];

real!(
    f32,
    F32,
    f32::EPSILON as f64 / 2.0,
    60.0,
    EXP_F32,
    EXP_SHORT_F32,
    3,
    [0.693_359_375, -2.121_944_400_546_905_8e-4],
    // ln 2 in `f32` has an error of 2e-9; 87 times that is 3 u.
    &[std::f64::consts::LN_2],
    8
);
real!(
    f64,
    F64,
    f64::EPSILON / 2.0,
    600.0,
    EXP_F64,
    EXP_F64,
    6,
    [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10],
    &[0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10],
    17
);
