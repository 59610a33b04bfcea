//! Numbers that a formula can be run over: `f64`, and one that counts what is performed on it.
//!
//! A formula that is written once, over any [`Number`], gives its value and its exact operation counts
//! by the same lines; so a count is measured, never typed in. No kernel runs over these: their counts
//! are closed forms, and tests hold those to formulas over [`Counted`].

// An operation that counts itself adds, whatever it is.
#![allow(clippy::suspicious_arithmetic_impl)]

use std::cell::Cell;
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::numeric::tally::Tally;

/// A scalar. Constants, signs, comparisons and copies are free; the rest is an operation.
pub trait Number:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The constant `value`.
    fn of(value: f64) -> Self;
    /// Its value, without its derivative.
    fn value(self) -> f64;
    /// e^x.
    fn exp(self) -> Self;
    /// e^x − 1: one exponential.
    fn exp_m1(self) -> Self;
    /// e^x − 1 of a small x: one exponential.
    fn exp_m1_near(self) -> Self {
        self.exp_m1()
    }
    /// ln x.
    fn ln(self) -> Self;
    /// ln(1 + x): one logarithm.
    fn ln_1p(self) -> Self;
    /// 1/(1 + e^−x).
    fn sigmoid(self) -> Self {
        Self::of(1.0) / (Self::of(1.0) + (-self).exp())
    }

    /// `self · factor + addend`: one multiplication and one addition.
    fn fma(self, factor: Self, addend: Self) -> Self {
        self * factor + addend
    }
    /// |x|: a sign.
    fn abs(self) -> Self {
        if self.value() < 0.0 { -self } else { self }
    }
    /// The larger one: a comparison.
    fn max(self, other: Self) -> Self {
        if other.value() > self.value() {
            other
        } else {
            self
        }
    }
}

/// The sum of `terms` in order: one addition fewer than there are terms.
pub fn sum<N: Number>(terms: impl IntoIterator<Item = N>) -> N {
    let all = terms.into_iter().reduce(|sum, term| sum + term);
    all.unwrap_or(N::of(0.0))
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

/// A number whose operations are counted, on the thread that performs them.
#[derive(Clone, Copy, Debug)]
pub struct Counted(f64);

thread_local! {
    static PERFORMED: Cell<Tally> = Cell::new(Tally::default());
}

/// What `work` gives, and the operations on [`Counted`] numbers that it performed; evaluations
/// are not told from operations, and stay 0.
pub fn count<T>(work: impl FnOnce() -> T) -> (T, Tally) {
    let before = PERFORMED.replace(Tally::default());
    let result = work();
    let performed = PERFORMED.replace(before);
    (result, performed)
}

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
