//! Scalars for generic formulas: `f64`, and a number that counts the operations performed on it.
//!
//! A formula written once, over any [`Number`], yields both its value and its exact operation
//! counts, so a count is measured, never written by hand. Kernels do not run over these numbers:
//! their counts are closed forms, and tests compare these with formulas over [`Counted`].

// Every operator of `Counted` adds to a counter.
#![allow(clippy::suspicious_arithmetic_impl)]

use std::cell::Cell;
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::numeric::tally::Tally;

/// Scalar of a generic formula. Constants, signs, comparisons and copies are free; everything else
/// counts as an operation.
pub trait Number:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// Returns the constant `value`.
    fn of(value: f64) -> Self;
    /// Returns the value as `f64`; without the derivative, if the type carries one.
    fn value(self) -> f64;
    /// Returns e^x.
    fn exp(self) -> Self;
    /// Returns e^x − 1: one exponential.
    fn exp_m1(self) -> Self;
    /// Returns e^x − 1 for a small x: one exponential.
    fn exp_m1_near(self) -> Self {
        self.exp_m1()
    }
    /// Returns ln x.
    fn ln(self) -> Self;
    /// Returns ln(1 + x): one logarithm.
    fn ln_1p(self) -> Self;
    /// Returns 1/(1 + e^−x).
    fn sigmoid(self) -> Self {
        Self::of(1.0) / (Self::of(1.0) + (-self).exp())
    }

    /// Returns σ(x) − `target`: in a type that may, without cancellation if both are near 1.
    fn sigmoid_residual(self, target: f64) -> Self {
        self.sigmoid() - Self::of(target)
    }

    /// Returns `self · factor + addend`: one multiplication and one addition.
    fn fma(self, factor: Self, addend: Self) -> Self {
        self * factor + addend
    }
    /// Returns |x|: free, as it changes only a sign.
    fn abs(self) -> Self {
        if self.value() < 0.0 { -self } else { self }
    }
    /// Returns the larger number: free, as it is a comparison.
    fn max(self, other: Self) -> Self {
        if other.value() > self.value() {
            other
        } else {
            self
        }
    }
}

/// Returns the sum of `terms`, in order: one addition fewer than there are terms.
pub fn sum<N: Number>(terms: impl IntoIterator<Item = N>) -> N {
    let total = terms.into_iter().reduce(|sum, term| sum + term);
    total.unwrap_or(N::of(0.0))
}

impl Number for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn value(self) -> f64 {
        self
    }
    fn exp(self) -> Self {
        self.exp()
    }
    fn exp_m1(self) -> Self {
        self.exp_m1()
    }
    fn ln(self) -> Self {
        self.ln()
    }
    fn ln_1p(self) -> Self {
        self.ln_1p()
    }
}

/// Number whose operations are counted, separately on each thread.
#[derive(Clone, Copy, Debug)]
pub struct Counted(f64);

thread_local! {
    static PERFORMED: Cell<Tally> = Cell::new(Tally::default());
}

/// Runs `work`, and returns its result and the operations that it performed on [`Counted`] numbers.
/// Evaluations are not counted, and stay 0.
pub fn count<T>(work: impl FnOnce() -> T) -> (T, Tally) {
    let before = PERFORMED.replace(Tally::default());
    let result = work();
    let performed = PERFORMED.replace(before);
    (result, performed)
}

/// Counts one operation, and returns its result.
fn performed(value: f64, operation: fn(&mut Tally)) -> Counted {
    let mut tally = PERFORMED.get();
    operation(&mut tally);
    PERFORMED.set(tally);
    Counted(value)
}

impl Add for Counted {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        performed(self.0 + other.0, |tally| tally.additions += 1)
    }
}

impl Sub for Counted {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        performed(self.0 - other.0, |tally| tally.additions += 1)
    }
}

impl Mul for Counted {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        performed(self.0 * other.0, |tally| tally.multiplications += 1)
    }
}

impl Div for Counted {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        performed(self.0 / other.0, |tally| tally.divisions += 1)
    }
}

impl Neg for Counted {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Number for Counted {
    fn of(value: f64) -> Self {
        Self(value)
    }
    fn value(self) -> f64 {
        self.0
    }
    fn exp(self) -> Self {
        performed(self.0.exp(), |tally| tally.exponentials += 1)
    }
    fn exp_m1(self) -> Self {
        performed(self.0.exp_m1(), |tally| tally.exponentials += 1)
    }
    fn ln(self) -> Self {
        performed(self.0.ln(), |tally| tally.logarithms += 1)
    }
    fn ln_1p(self) -> Self {
        performed(self.0.ln_1p(), |tally| tally.logarithms += 1)
    }
}
