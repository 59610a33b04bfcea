//! Dual numbers: generic formulas evaluated over them also give a derivative.

use std::ops::{Add, Div, Mul, Neg, Sub};

use nplus1::textbook::counting::Number;

/// A value and its derivative along one direction (forward mode).
#[derive(Clone, Copy, Debug)]
pub struct Dual {
    /// The value.
    pub value: f64,
    /// Its derivative.
    pub slope: f64,
}

/// Returns ∂f/∂θ by forward mode, one pass for each of the N parameters.
pub fn gradient_by_duals(theta: &[f64], f: impl Fn(&[Dual]) -> Dual) -> Vec<f64> {
    let mut duals: Vec<Dual> = theta.iter().map(|&value| Dual::of(value)).collect();
    let mut gradient = Vec::with_capacity(theta.len());
    for index in 0..duals.len() {
        duals[index].slope = 1.0;
        gradient.push(f(&duals).slope);
        duals[index].slope = 0.0;
    }
    gradient
}

impl Add for Dual {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            value: self.value + other.value,
            slope: self.slope + other.slope,
        }
    }
}

impl Sub for Dual {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Dual {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self {
            value: self.value * other.value,
            slope: self.slope * other.value + self.value * other.slope,
        }
    }
}

impl Div for Dual {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        Self {
            value,
            slope: (self.slope - value * other.slope) / other.value,
        }
    }
}

impl Neg for Dual {
    type Output = Self;
    fn neg(self) -> Self {
        Self {
            value: -self.value,
            slope: -self.slope,
        }
    }
}

impl Dual {
    /// Returns f(self) by the chain rule, with f(self) = `value` and f′(self) = `derivative`.
    fn chain_rule(self, value: f64, derivative: f64) -> Self {
        Self {
            value,
            slope: derivative * self.slope,
        }
    }
}

impl Number for Dual {
    fn of(value: f64) -> Self {
        Self { value, slope: 0.0 }
    }
    fn value(self) -> f64 {
        self.value
    }
    fn exp(self) -> Self {
        self.chain_rule(self.value.exp(), self.value.exp())
    }
    fn exp_m1(self) -> Self {
        self.chain_rule(self.value.exp_m1(), self.value.exp())
    }
    fn ln(self) -> Self {
        self.chain_rule(self.value.ln(), 1.0 / self.value)
    }
    fn ln_1p(self) -> Self {
        self.chain_rule(self.value.ln_1p(), 1.0 / (1.0 + self.value))
    }
}
