//! SIMD vectors, and the choice of the instruction set at run time.
//!
//! A [`Kernel`] is a loop written once over any [`Vector`]; [`Isa::run`] runs it with the vectors
//! of one instruction set, usually the widest that the processor has ([`Isa::detect`]). Every
//! operation here is correctly rounded and no kernel sums across lanes, so AVX-512, AVX2 and the
//! portable form give the same bits.

use super::panels::width;
use crate::numeric::Real;

/// An instruction set that kernels can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// 512-bit vectors.
    Avx512,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// Plain arrays, which the compiler vectorizes with the target's baseline instructions. On an
    /// x86-64 processor without FMA this form is correct but very slow.
    Portable,
}

impl Isa {
    /// All instruction sets, the widest first.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    /// Environment variable that names the instruction set to use.
    pub const VARIABLE: &str = "NPLUS1_KERNEL";

    /// Returns the widest instruction set that this processor has, or the one that
    /// [`Isa::VARIABLE`] names (`avx512`, `avx2`, `portable`) if the processor has it. The command
    /// line refuses any other name.
    pub fn detect() -> Self {
        let requested = std::env::var(Self::VARIABLE).ok();
        Self::ALL
            .into_iter()
            .filter(|isa| isa.is_available())
            .find(|isa| requested.is_none() || requested.as_deref() == Some(isa.name()))
            .or_else(|| Self::ALL.into_iter().find(|isa| isa.is_available()))
            .unwrap_or(Self::Portable)
    }

    /// Returns whether this processor has the instruction set.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f") && Self::Avx2.is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }

    /// Returns `avx512`, `avx2` or `portable`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// Runs `kernel` with this instruction set.
    ///
    /// # Panics
    /// If the processor does not have it.
    #[inline]
    pub fn run<R: Real, K: Kernel<R>>(self, kernel: K) -> K::Output {
        R::dispatch(self, kernel)
    }
}

/// A loop over vectors, written once for all instruction sets. `run` and every function that it
/// calls must be `#[inline(always)]`; otherwise the vector operations are compiled to calls instead
/// of instructions.
pub trait Kernel<R: Real> {
    /// The result of [`Kernel::run`].
    type Output;
    /// Runs the loop over vectors of type `V`.
    fn run<V: Vector<Element = R>>(self) -> Self::Output;
}

/// A vector of [`Vector::LANES`] numbers.
///
/// The methods may be called from a [`Kernel`] only, where the processor has the instructions.
pub trait Vector: Copy {
    /// Type of a number: `f32` or `f64`.
    type Element: Real;
    /// Number of lanes.
    const LANES: usize;
    /// Largest number of rows of a register block with two vectors per row that does not spill
    /// registers.
    const BLOCK_ROWS: usize;

    /// Returns a vector with the same number in every lane.
    fn splat(value: Self::Element) -> Self;
    /// Reads [`Vector::LANES`] numbers.
    ///
    /// # Safety
    /// The numbers must lie within one allocation and be initialized.
    unsafe fn load(from: *const Self::Element) -> Self;
    /// Writes [`Vector::LANES`] numbers.
    ///
    /// # Safety
    /// The numbers must lie within one allocation that may be written.
    unsafe fn store(self, to: *mut Self::Element);
    /// Returns `self + other`.
    #[must_use]
    fn add(self, other: Self) -> Self;
    /// Returns `self − other`.
    #[must_use]
    fn sub(self, other: Self) -> Self;
    /// Returns `self · other`.
    #[must_use]
    fn mul(self, other: Self) -> Self;
    /// Returns `self / other`.
    #[must_use]
    fn div(self, other: Self) -> Self;
    /// Returns `self · factor + addend`, rounded once.
    #[must_use]
    fn fma(self, factor: Self, addend: Self) -> Self;
    /// Returns the smaller number of each pair; `other` if one of them is NaN.
    #[must_use]
    fn min(self, other: Self) -> Self;
    /// Returns the larger number of each pair; `other` if one of them is NaN.
    #[must_use]
    fn max(self, other: Self) -> Self;
    /// Rounds to the nearest integer, ties to even.
    #[must_use]
    fn round(self) -> Self;
    /// Returns 2ⁿ for integers n = `self` for which 2ⁿ is a normal number.
    #[must_use]
    fn power_of_two(self) -> Self;
    /// Returns self·2ⁿ for integers n, where self and the product are normal numbers.
    #[must_use]
    fn scale(self, n: Self) -> Self;
    /// Selects lane by lane: `yes` where `self` < 0, else `no`.
    #[must_use]
    fn select_negative(self, yes: Self, no: Self) -> Self;
    /// Returns |self|.
    #[must_use]
    #[inline(always)]
    fn abs(self) -> Self {
        self.select_negative(Self::splat(Self::Element::ZERO).sub(self), self)
    }
}

/// Asserts, when the program is compiled, what `unsafe` code relies on: whole vectors fill a panel's
/// row of P numbers, so none has more than 16, and a vector is its numbers and nothing else.
const fn assert_lanes<V: Vector>() {
    assert!(width::<V::Element>().is_multiple_of(V::LANES) && V::LANES <= 16);
    assert!(size_of::<V>() == V::LANES * V::Element::BYTES);
}

/// An array as a vector: the portable form.
#[derive(Clone, Copy)]
pub struct Lanes<R, const K: usize>([R; K]);

macro_rules! portable {
    ($real:ident, $lanes:expr, $bits:ident, $mantissa:expr, $bias:expr) => {
        const _: () = assert_lanes::<Lanes<$real, { $lanes }>>();
        impl Vector for Lanes<$real, { $lanes }> {
            type Element = $real;
            const LANES: usize = $lanes;
            const BLOCK_ROWS: usize = 4;
            #[inline(always)]
            fn splat(value: $real) -> Self {
                Self([value; $lanes])
            }
            #[inline(always)]
            unsafe fn load(from: *const $real) -> Self {
                // SAFETY: the caller guarantees LANES numbers at `from`.
                Self(unsafe { from.cast::<[$real; { $lanes }]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $real) {
                // SAFETY: the caller guarantees LANES numbers at `to`.
                unsafe { to.cast::<[$real; { $lanes }]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                Self(std::array::from_fn(|k| self.0[k] + other.0[k]))
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                Self(std::array::from_fn(|k| self.0[k] - other.0[k]))
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                Self(std::array::from_fn(|k| self.0[k] * other.0[k]))
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                Self(std::array::from_fn(|k| self.0[k] / other.0[k]))
            }
            #[inline(always)]
            fn fma(self, factor: Self, addend: Self) -> Self {
                Self(std::array::from_fn(|k| {
                    $real::mul_add(self.0[k], factor.0[k], addend.0[k])
                }))
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                Self(std::array::from_fn(|k| {
                    if self.0[k] < other.0[k] {
                        self.0[k]
                    } else {
                        other.0[k]
                    }
                }))
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                Self(std::array::from_fn(|k| {
                    if self.0[k] > other.0[k] {
                        self.0[k]
                    } else {
                        other.0[k]
                    }
                }))
            }
            #[inline(always)]
            fn round(self) -> Self {
                Self(std::array::from_fn(|k| self.0[k].round_ties_even()))
            }
            #[inline(always)]
            fn power_of_two(self) -> Self {
                Self(std::array::from_fn(|k| {
                    $real::from_bits(((self.0[k] as i64 + $bias) as $bits) << $mantissa)
                }))
            }
            #[inline(always)]
            fn scale(self, n: Self) -> Self {
                self.mul(n.power_of_two())
            }
            #[inline(always)]
            fn select_negative(self, yes: Self, no: Self) -> Self {
                Self(std::array::from_fn(|k| {
                    if self.0[k] < 0.0 { yes.0[k] } else { no.0[k] }
                }))
            }
        }
    };
}

portable!(f32, PORTABLE.0, u32, 23, 127);
portable!(f64, PORTABLE.1, u64, 52, 1023);

/// Numbers of a portable vector, f32 and f64: the 128 bits that most processors' registers have. On
/// x86-64 a single number: without AVX2 a fused multiply-add is a call there for each number, and
/// several of them in a row make the program larger, not faster.
const PORTABLE: (usize, usize) = if cfg!(target_arch = "x86_64") {
    (1, 1)
} else {
    (4, 2)
};

#[cfg(target_arch = "x86_64")]
#[path = "simd_x86.rs"]
mod x86;

macro_rules! dispatch {
    ($real:ident, $avx512:ident, $avx2:ident, $lanes:expr) => {
        impl Dispatch for $real {
            #[inline]
            fn dispatch<K: Kernel<$real>>(isa: Isa, kernel: K) -> K::Output {
                // Compiled once, not again for each caller.
                #[inline(never)]
                fn portable<K: Kernel<$real>>(kernel: K) -> K::Output {
                    kernel.run::<Lanes<$real, { $lanes }>>()
                }
                assert!(
                    isa.is_available(),
                    "this processor does not have {}",
                    isa.name()
                );
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx512f,avx2,fma")]
                    fn avx512<K: Kernel<$real>>(kernel: K) -> K::Output {
                        kernel.run::<x86::$avx512>()
                    }
                    #[target_feature(enable = "avx2,fma")]
                    fn avx2<K: Kernel<$real>>(kernel: K) -> K::Output {
                        kernel.run::<x86::$avx2>()
                    }
                    match isa {
                        // SAFETY: the processor has the instructions, as asserted above.
                        Isa::Avx512 => return unsafe { avx512(kernel) },
                        // SAFETY: as above.
                        Isa::Avx2 => return unsafe { avx2(kernel) },
                        Isa::Portable => {}
                    }
                }
                portable(kernel)
            }
        }
    };
}

/// Selection of the vectors of a precision.
pub trait Dispatch: Sized {
    /// Runs `kernel` with `isa`.
    fn dispatch<K: Kernel<Self>>(isa: Isa, kernel: K) -> K::Output
    where
        Self: Real;
}

dispatch!(f32, F32x16, F32x8, PORTABLE.0);
dispatch!(f64, F64x8, F64x4, PORTABLE.1);
