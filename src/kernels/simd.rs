//! Vectors of numbers, and the choice of instructions at run time: one portable binary.
//!
//! A [`Kernel`] is a loop written once over any [`Vector`]; [`Isa::run`] picks the widest vector
//! that this processor has. Every operation here is correctly rounded and no loop sums across
//! lanes, so AVX-512, AVX2 and the portable form give the same bits.

use crate::numeric::Real;

/// The instruction set a kernel uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// 512-bit vectors.
    Avx512,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// Plain arrays, which the compiler vectorizes as far as the target's baseline goes. On an
    /// x86-64 processor without FMA this is exact but very slow.
    Portable,
}

impl Isa {
    /// All of them, widest first.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    /// The variable of the environment that names the one to use.
    pub const VARIABLE: &str = "NPLUS1_KERNEL";

    /// The widest that this processor has, or the one that [`Isa::VARIABLE`] names
    /// (`avx512`, `avx2`, `portable`) if the processor has it. The command line refuses others.
    pub fn detect() -> Self {
        let asked = std::env::var(Self::VARIABLE).ok();
        Self::ALL
            .into_iter()
            .filter(|isa| isa.is_available())
            .find(|isa| asked.is_none() || asked.as_deref() == Some(isa.name()))
            .or_else(|| Self::ALL.into_iter().find(|isa| isa.is_available()))
            .unwrap_or(Self::Portable)
    }

    /// Whether this processor has it.
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

    /// `avx512`, `avx2` or `portable`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// Runs `task` with this instruction set.
    ///
    /// # Panics
    /// If the processor lacks it.
    #[inline]
    pub fn run<R: Real, T: Kernel<R>>(self, task: T) -> T::Output {
        R::dispatch(self, task)
    }
}

/// A loop over vectors, written once. `run` must be `#[inline(always)]`, and so must everything it
/// calls, or the vectors are not compiled to their instructions.
pub trait Kernel<R: Real> {
    /// What it returns.
    type Output;
    /// The loop.
    fn run<V: Vector<Element = R>>(self) -> Self::Output;
}

/// A vector of [`Vector::LANES`] numbers.
///
/// The methods may only be called where the processor has the instructions: from a [`Kernel`].
pub trait Vector: Copy {
    /// `f32` or `f64`.
    type Element: Real;
    /// How many numbers.
    const LANES: usize;
    /// How many rows a register block of two vectors a row may have without spilling.
    const BLOCK_ROWS: usize;

    /// The same number in every lane.
    fn splat(value: Self::Element) -> Self;
    /// Reads [`Vector::LANES`] numbers.
    ///
    /// # Safety
    /// They must lie within one allocation and be initialized.
    unsafe fn load(from: *const Self::Element) -> Self;
    /// Writes [`Vector::LANES`] numbers.
    ///
    /// # Safety
    /// They must lie within one allocation that may be written.
    unsafe fn store(self, to: *mut Self::Element);
    /// `self + other`.
    #[must_use]
    fn add(self, other: Self) -> Self;
    /// `self − other`.
    #[must_use]
    fn sub(self, other: Self) -> Self;
    /// `self · other`.
    #[must_use]
    fn mul(self, other: Self) -> Self;
    /// `self / other`.
    #[must_use]
    fn div(self, other: Self) -> Self;
    /// `self · factor + addend`, rounded once.
    #[must_use]
    fn fma(self, factor: Self, addend: Self) -> Self;
    /// The smaller of each pair; where one is NaN, `other`.
    #[must_use]
    fn min(self, other: Self) -> Self;
    /// The larger of each pair; where one is NaN, `other`.
    #[must_use]
    fn max(self, other: Self) -> Self;
    /// The nearest integer, ties to even.
    #[must_use]
    fn round(self) -> Self;
    /// 2ⁿ of an integer-valued n whose power is a normal number.
    #[must_use]
    fn power_of_two(self) -> Self;
    /// self·2ⁿ of an integer-valued n, where self and the product are normal numbers.
    #[must_use]
    fn scale(self, n: Self) -> Self;
    /// Lane by lane: `yes` where `self` < 0, else `no`.
    #[must_use]
    fn select_negative(self, yes: Self, no: Self) -> Self;
    /// |self|.
    #[must_use]
    #[inline(always)]
    fn abs(self) -> Self {
        self.select_negative(Self::splat(Self::Element::ZERO).sub(self), self)
    }
}

/// An array of numbers as a vector: the portable form, 128 bits of them, as every 64-bit processor
/// has at least (twice as many took 1.4 MB more of the program).
#[derive(Clone, Copy)]
pub struct Lanes<R, const K: usize>([R; K]);

macro_rules! portable {
    ($real:ident, $lanes:expr, $bits:ident, $mantissa:expr, $bias:expr) => {
        impl Vector for Lanes<$real, $lanes> {
            type Element = $real;
            const LANES: usize = $lanes;
            const BLOCK_ROWS: usize = 4;
            #[inline(always)]
            fn splat(value: $real) -> Self {
                Self([value; $lanes])
            }
            #[inline(always)]
            unsafe fn load(from: *const $real) -> Self {
                // SAFETY: the caller vouches for LANES numbers at `from`.
                Self(unsafe { from.cast::<[$real; $lanes]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $real) {
                // SAFETY: the caller vouches for LANES numbers at `to`.
                unsafe { to.cast::<[$real; $lanes]>().write_unaligned(self.0) }
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

portable!(f32, 4, u32, 23, 127);
portable!(f64, 2, u64, 52, 1023);

#[cfg(target_arch = "x86_64")]
#[path = "simd_x86.rs"]
mod x86;

macro_rules! dispatch {
    ($real:ident, $avx512:ident, $avx2:ident, $lanes:expr) => {
        impl Dispatch for $real {
            #[inline]
            fn dispatch<T: Kernel<$real>>(isa: Isa, task: T) -> T::Output {
                assert!(isa.is_available(), "{} is not available", isa.name());
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx512f,avx2,fma")]
                    fn avx512<T: Kernel<$real>>(task: T) -> T::Output {
                        task.run::<x86::$avx512>()
                    }
                    #[target_feature(enable = "avx2,fma")]
                    fn avx2<T: Kernel<$real>>(task: T) -> T::Output {
                        task.run::<x86::$avx2>()
                    }
                    match isa {
                        // SAFETY: the processor has it, as asserted.
                        Isa::Avx512 => return unsafe { avx512(task) },
                        // SAFETY: as above.
                        Isa::Avx2 => return unsafe { avx2(task) },
                        Isa::Portable => {}
                    }
                }
                task.run::<Lanes<$real, $lanes>>()
            }
        }
    };
}

/// How a precision finds its vectors.
pub trait Dispatch: Sized {
    /// Runs `task` with `isa`.
    fn dispatch<T: Kernel<Self>>(isa: Isa, task: T) -> T::Output
    where
        Self: Real;
}

dispatch!(f32, F32x16, F32x8, 4);
dispatch!(f64, F64x8, F64x4, 2);
