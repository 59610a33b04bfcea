//! The vectors of x86-64 processors: AVX-512, and AVX2 with FMA.

use std::arch::x86_64::*;

use super::{Vector, assert_lanes};

macro_rules! vector {
    ($name:ident, $real:ident, $raw:ident, $lanes:expr, $rows:expr,
     $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $div:ident,
     $fma:ident, $min:ident, $max:ident, $round:ident, $power:ident, $scale:ident, $select:ident) => {
        /// One register of numbers.
        #[derive(Clone, Copy)]
        pub struct $name($raw);

        const _: () = assert_lanes::<$name>();

        impl Vector for $name {
            type Element = $real;
            const LANES: usize = $lanes;
            const BLOCK_ROWS: usize = $rows;
            #[inline(always)]
            fn splat(value: $real) -> Self {
                // SAFETY: only a `Kernel` calls this, where the processor has the instructions.
                Self(unsafe { $splat(value) })
            }
            #[inline(always)]
            unsafe fn load(from: *const $real) -> Self {
                // SAFETY: the caller guarantees LANES numbers at `from`.
                Self(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $real) {
                // SAFETY: the caller guarantees LANES numbers at `to`.
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                // SAFETY: as in `splat`.
                Self(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                // SAFETY: as in `splat`.
                Self(unsafe { $sub(self.0, other.0) })
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                // SAFETY: as in `splat`.
                Self(unsafe { $mul(self.0, other.0) })
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                // SAFETY: as in `splat`.
                Self(unsafe { $div(self.0, other.0) })
            }
            #[inline(always)]
            fn fma(self, factor: Self, addend: Self) -> Self {
                // SAFETY: as in `splat`.
                Self(unsafe { $fma(self.0, factor.0, addend.0) })
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                // SAFETY: as in `splat`.
                Self(unsafe { $min(self.0, other.0) })
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                // SAFETY: as in `splat`.
                Self(unsafe { $max(self.0, other.0) })
            }
            #[inline(always)]
            fn round(self) -> Self {
                // SAFETY: as in `splat`.
                Self(unsafe { $round(self.0) })
            }
            #[inline(always)]
            fn power_of_two(self) -> Self {
                // SAFETY: as in `splat`.
                Self(unsafe { $power(self.0) })
            }
            #[inline(always)]
            fn scale(self, n: Self) -> Self {
                // SAFETY: as in `splat`.
                Self(unsafe { $scale(self.0, n.0) })
            }
            #[inline(always)]
            fn select_negative(self, yes: Self, no: Self) -> Self {
                // SAFETY: as in `splat`.
                Self(unsafe { $select(self.0, yes.0, no.0) })
            }
        }
    };
}

/// Rounding to the nearest integer, ties to even, without exceptions.
const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

macro_rules! primitive {
    ($name:ident, $feature:literal, ($($argument:ident: $raw:ident),*) $result:ident => $body:expr) => {
        #[inline]
        #[target_feature(enable = $feature)]
        fn $name($($argument: $raw),*) -> $result {
            $body
        }
    };
}

primitive!(round_512_f32, "avx512f", (x: __m512) __m512 => _mm512_roundscale_ps::<NEAREST>(x));
primitive!(round_512_f64, "avx512f", (x: __m512d) __m512d => _mm512_roundscale_pd::<NEAREST>(x));
primitive!(round_256_f32, "avx", (x: __m256) __m256 => _mm256_round_ps::<NEAREST>(x));
primitive!(round_256_f64, "avx", (x: __m256d) __m256d => _mm256_round_pd::<NEAREST>(x));
primitive!(power_512_f32, "avx512f", (n: __m512) __m512 => _mm512_scalef_ps(_mm512_set1_ps(1.0), n));
primitive!(power_512_f64, "avx512f", (n: __m512d) __m512d => _mm512_scalef_pd(_mm512_set1_pd(1.0), n));
primitive!(power_256_f32, "avx2", (n: __m256) __m256 => {
    let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
});
primitive!(power_256_f64, "avx2", (n: __m256d) __m256d => {
    let exponent = _mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(n));
    let biased = _mm256_add_epi64(exponent, _mm256_set1_epi64x(1023));
    _mm256_castsi256_pd(_mm256_slli_epi64::<52>(biased))
});
primitive!(scale_512_f32, "avx512f", (x: __m512, n: __m512) __m512 => _mm512_scalef_ps(x, n));
primitive!(scale_512_f64, "avx512f", (x: __m512d, n: __m512d) __m512d => _mm512_scalef_pd(x, n));
primitive!(scale_256_f32, "avx2", (x: __m256, n: __m256) __m256 => {
    let exponent = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(n));
    _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent))
});
primitive!(scale_256_f64, "avx2", (x: __m256d, n: __m256d) __m256d => {
    let exponent = _mm256_slli_epi64::<52>(_mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(n)));
    _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(x), exponent))
});
primitive!(select_512_f32, "avx512f", (x: __m512, yes: __m512, no: __m512) __m512 => {
    let negative = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, _mm512_setzero_ps());
    _mm512_mask_blend_ps(negative, no, yes)
});
primitive!(select_512_f64, "avx512f", (x: __m512d, yes: __m512d, no: __m512d) __m512d => {
    let negative = _mm512_cmp_pd_mask::<_CMP_LT_OQ>(x, _mm512_setzero_pd());
    _mm512_mask_blend_pd(negative, no, yes)
});
primitive!(select_256_f32, "avx", (x: __m256, yes: __m256, no: __m256) __m256 => {
    _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_LT_OQ>(x, _mm256_setzero_ps()))
});
primitive!(select_256_f64, "avx", (x: __m256d, yes: __m256d, no: __m256d) __m256d => {
    _mm256_blendv_pd(no, yes, _mm256_cmp_pd::<_CMP_LT_OQ>(x, _mm256_setzero_pd()))
});

#[rustfmt::skip]
vector!(F32x16, f32, __m512, 16, 14,
    _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps,
    _mm512_div_ps, _mm512_fmadd_ps, _mm512_min_ps, _mm512_max_ps, round_512_f32, power_512_f32,
    scale_512_f32, select_512_f32);
#[rustfmt::skip]
vector!(F64x8, f64, __m512d, 8, 14,
    _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd,
    _mm512_div_pd, _mm512_fmadd_pd, _mm512_min_pd, _mm512_max_pd, round_512_f64, power_512_f64,
    scale_512_f64, select_512_f64);
#[rustfmt::skip]
vector!(F32x8, f32, __m256, 8, 6,
    _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps,
    _mm256_div_ps, _mm256_fmadd_ps, _mm256_min_ps, _mm256_max_ps, round_256_f32, power_256_f32,
    scale_256_f32, select_256_f32);
#[rustfmt::skip]
vector!(F64x4, f64, __m256d, 4, 6,
    _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd,
    _mm256_div_pd, _mm256_fmadd_pd, _mm256_min_pd, _mm256_max_pd, round_256_f64, power_256_f64,
    scale_256_f64, select_256_f64);
