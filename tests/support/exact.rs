//! A number with the kernels' own arithmetic: their precision, their fused multiply-adds, their
//! exponential and logarithm. A twin over it has the kernels' bits.

use std::ops::{Add, Div, Mul, Neg, Sub};

use nplus1::kernels::{Isa, Kernel, Vector, elementary};
use nplus1::numeric::Real;

use nplus1::textbook::counting::Number;

/// A number of precision `R`.
#[derive(Clone, Copy, Debug)]
pub struct Exact<R>(pub R);

impl<R: Real> Add for Exact<R> {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl<R: Real> Sub for Exact<R> {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl<R: Real> Mul for Exact<R> {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }
}

impl<R: Real> Div for Exact<R> {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        Self(self.0 / other.0)
    }
}

impl<R: Real> Neg for Exact<R> {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

#[derive(Clone, Copy)]
enum Function {
    Exp,
    Sigmoid,
    ExpM1,
    ExpM1Near,
    Ln1p,
}

/// One lane of a kernel's function.
struct Lane<R>(Function, R);

impl<R: Real> Kernel<R> for Lane<R> {
    type Output = R;

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) -> R {
        let x = V::splat(self.1);
        let y = match self.0 {
            // As all kernels call it.
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

fn apply<R: Real>(function: Function, x: Exact<R>) -> Exact<R> {
    thread_local! {
        static ISA: Isa = Isa::detect();
    }
    Exact(ISA.with(|isa| isa.run(Lane(function, x.0))))
}

impl<R: Real> Number for Exact<R> {
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
    /// Of a softmax's loss alone, which its kernel takes in double precision.
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
