//! A number with the arithmetic of the kernels: their precision, fused multiply-adds, exponential
//! and logarithm. A scalar twin that computes over it gives the bits of the kernels.

use std::ops::{Add, Div, Mul, Neg, Sub};

use nplus1::kernels::{Isa, Kernel, Vector, elementary};
use nplus1::numeric::Real;

use nplus1::textbook::counting::Number;

/// A number of precision `R` that computes as the kernels do.
#[derive(Clone, Copy, Debug)]
pub struct KernelNumber<R>(pub R);

impl<R: Real> Add for KernelNumber<R> {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl<R: Real> Sub for KernelNumber<R> {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl<R: Real> Mul for KernelNumber<R> {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }
}

impl<R: Real> Div for KernelNumber<R> {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        Self(self.0 / other.0)
    }
}

impl<R: Real> Neg for KernelNumber<R> {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

/// An elementary function of the kernels.
#[derive(Clone, Copy)]
enum Function {
    Exp,
    Sigmoid,
    ExpM1,
    ExpM1Near,
    Ln1p,
}

/// A kernel that evaluates one function at one number.
struct Lane<R>(Function, R);

impl<R: Real> Kernel<R> for Lane<R> {
    type Output = R;

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) -> R {
        let x = V::splat(self.1);
        let y = match self.0 {
            // All kernels clamp the argument.
            Function::Exp => elementary::exp(V::splat(R::from_f64(-R::SIGMOID_CLAMP)).max(x)),
            Function::Sigmoid => {
                let [y] = elementary::sigmoid([x]);
                y
            }
            Function::ExpM1 => elementary::expm1(x),
            Function::ExpM1Near => elementary::expm1_near(x),
            Function::Ln1p => elementary::ln_1p(x),
        };
        let mut lanes = [R::ZERO; 16];
        // SAFETY: no vector has more than 16 lanes.
        #[allow(unsafe_code)]
        unsafe {
            y.store(lanes.as_mut_ptr());
        }
        lanes[0]
    }
}

fn apply<R: Real>(function: Function, x: KernelNumber<R>) -> KernelNumber<R> {
    thread_local! {
        static ISA: Isa = Isa::detect();
    }
    KernelNumber(ISA.with(|isa| isa.run(Lane(function, x.0))))
}

impl<R: Real> Number for KernelNumber<R> {
    fn of(value: f64) -> Self {
        Self(R::from_f64(value))
    }
    fn value(self) -> f64 {
        self.0.to_f64()
    }
    fn exp(self) -> Self {
        apply(Function::Exp, self)
    }
    fn sigmoid(self) -> Self {
        apply(Function::Sigmoid, self)
    }
    fn exp_m1(self) -> Self {
        apply(Function::ExpM1, self)
    }
    fn exp_m1_near(self) -> Self {
        apply(Function::ExpM1Near, self)
    }
    /// Returns the logarithm, computed in f64: only the softmax loss takes one, and its kernel uses
    /// f64.
    fn ln(self) -> Self {
        Self(R::from_f64(elementary::ln(self.0.to_f64())))
    }
    fn ln_1p(self) -> Self {
        apply(Function::Ln1p, self)
    }
    fn fma(self, factor: Self, addend: Self) -> Self {
        Self(self.0.mul_add(factor.0, addend.0))
    }
}
