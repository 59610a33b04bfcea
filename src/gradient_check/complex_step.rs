//! The complex-step derivative: the imaginary part of the loss at θ + i·h·eᵢ, divided by h.
//!
//! ```text
//! L(θ + i·h·eᵢ) = L(θ) + i·h·∂L/∂θᵢ − h²/2·∂²L/∂θᵢ² − …
//! ```
//!
//! Nothing is subtracted, so h can be so small that the truncation vanishes below the round-off:
//! the result is the derivative of the forward pass in double precision (Squire and Trapp, "Using
//! complex variables to estimate derivatives of real functions", SIAM Review 40, 1998). The pass is
//! the textbook's, which shares no code with the backward passes, over complex numbers; so this is
//! an independent reference for backprop. It is scalar code, and slow.
//!
//! Cost: N incremental evaluations in complex numbers, each from the perturbed unit upward. Below
//! and beside that unit, imaginary parts are 0 and real parts equal those of the unperturbed pass.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::sample_pass::SamplePass;
use crate::gradient::{Control, Stopped};
use crate::model::{Network, Parameters};
use crate::parallel::Workers;
use crate::textbook::counting::Number;
use crate::textbook::{BasePass, Target, TextbookNetwork};

/// The increment h = 2⁻³⁰⁰: 1 − h² rounds to 1, and small derivatives times h keep 700 powers of
/// two above underflow.
pub(super) const INCREMENT: f64 = f64::from_bits((1023 - 300) << 52);

/// Computes the gradient of the objective, l2 included, by complex steps, `(N,)`.
///
/// # Errors
/// Returns [`Stopped::Interrupted`] if `control` requested a stop.
pub(super) fn gradient(
    network: &Network,
    theta: &Parameters<f64>,
    passes: &[SamplePass],
    workers: &Workers,
    control: &Control,
) -> Result<Parameters<f64>, Stopped> {
    let layout = &network.layout;
    let point = ComplexPoint::new(network, theta, passes);
    let units: Vec<(usize, usize)> = (1..=layout.layers())
        .flat_map(|l| (0..layout.sizes()[l]).map(move |unit| (l, unit)))
        .collect();
    let parts = workers.map(units.len(), |at| {
        (!control.is_stopped()).then(|| {
            let derivatives = point.unit_derivatives(units[at]);
            control.count(derivatives.len() as u64);
            derivatives
        })
    });
    let mut gradient = Parameters::zeros(std::sync::Arc::clone(layout));
    let flat = gradient.flat_mut();
    for (part, (l, unit)) in parts.into_iter().zip(units) {
        let part = part.ok_or(Stopped::Interrupted)?;
        let fan_in = layout.sizes()[l - 1];
        let start = layout.weights(l - 1).start + unit * fan_in;
        flat[start..start + fan_in].copy_from_slice(&part[..fan_in]);
        if layout.has_bias() {
            flat[layout.biases(l - 1).start + unit] = part[fan_in];
        }
    }
    Ok(gradient)
}

/// The network, θ and each sample's pass at θ, in complex numbers.
struct ComplexPoint<'a> {
    network: TextbookNetwork,
    theta: Vec<Complex>,
    passes: Vec<BasePass<Complex, PassTarget<'a>>>,
}

/// The target of a sample, by output or by class.
#[derive(Clone, Copy)]
struct PassTarget<'a>(&'a SamplePass);

impl Target for PassTarget<'_> {
    fn at(self, j: usize) -> f64 {
        self.0.targets[j]
    }

    fn class(self) -> Option<u16> {
        u16::try_from(self.0.label).ok()
    }
}

impl<'a> ComplexPoint<'a> {
    fn new(network: &Network, theta: &Parameters<f64>, passes: &'a [SamplePass]) -> Self {
        let network = TextbookNetwork::from(network);
        let theta: Vec<Complex> = theta.flat().iter().map(|&x| x.into()).collect();
        let base =
            |pass: &'a SamplePass| network.base(&theta, &(pass.a[0].clone(), PassTarget(pass)));
        Self {
            passes: passes.iter().map(base).collect(),
            network,
            theta,
        }
    }

    /// Computes the derivatives with respect to the weights of unit `unit` of layer `l`, from 1, and
    /// to its bias, if it has one.
    fn unit_derivatives(&self, (l, unit): (usize, usize)) -> Vec<f64> {
        let (network, fan_in) = (&self.network, self.network.sizes[l - 1]);
        let mut sums = vec![0.0; fan_in + usize::from(network.bias)];
        for pass in &self.passes {
            for (input, sum) in sums.iter_mut().enumerate() {
                let a = pass.a[l - 1].get(input).map_or(1.0, |a| a.re);
                // A perturbation of an input of 0 has no effect.
                if a != 0.0 {
                    let dz = Complex {
                        re: 0.0,
                        im: INCREMENT * a,
                    };
                    *sum += network.change(&self.theta, pass, (l, unit), dz).im / INCREMENT;
                }
            }
        }
        let scale = network.loss_factor() / self.passes.len() as f64;
        let weights = network.weights(l).start + unit * fan_in;
        for (input, sum) in sums.iter_mut().enumerate() {
            *sum *= scale;
            if input < fan_in {
                let w = Complex {
                    im: INCREMENT,
                    ..self.theta[weights + input]
                };
                *sum += (Complex::from(0.5 * network.l2) * w * w).im / INCREMENT;
            }
        }
        sums
    }
}

/// Computes σ(z) and 1 − σ(z), both from e^−|z|.
fn pair(z: Complex) -> (Complex, Complex) {
    let positive = z.re >= 0.0;
    let t = if positive { -z } else { z }.exp();
    let large = (Complex::from(1.0) + t).reciprocal();
    let small = t * large;
    if positive {
        (large, small)
    } else {
        (small, large)
    }
}

/// A complex number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Complex {
    re: f64,
    im: f64,
}

impl Complex {
    fn reciprocal(self) -> Self {
        let square = self.re * self.re + self.im * self.im;
        Self {
            re: self.re / square,
            im: -self.im / square,
        }
    }
}

impl Number for Complex {
    fn of(re: f64) -> Self {
        re.into()
    }

    fn value(self) -> f64 {
        self.re
    }

    fn exp(self) -> Self {
        let size = self.re.exp();
        Self {
            re: size * self.im.cos(),
            im: size * self.im.sin(),
        }
    }

    /// Computes e^x − 1 = (e^re − 1)·cos im − 2·sin²(im/2) + i·e^re·sin im.
    fn exp_m1(self) -> Self {
        let half = (0.5 * self.im).sin();
        Self {
            re: self.re.exp_m1() * self.im.cos() - 2.0 * half * half,
            im: self.re.exp() * self.im.sin(),
        }
    }

    /// Computes ln x = ½·ln |x|² + i·arg x.
    fn ln(self) -> Self {
        Self {
            re: self.re.hypot(self.im).ln(),
            im: self.im.atan2(self.re),
        }
    }

    /// Computes ln(1 + x) = ½·ln |1 + x|² + i·arg(1 + x).
    fn ln_1p(self) -> Self {
        Self {
            re: 0.5 * self.re.mul_add(self.re + 2.0, self.im * self.im).ln_1p(),
            im: self.im.atan2(1.0 + self.re),
        }
    }

    fn sigmoid(self) -> Self {
        pair(self).0
    }

    fn sigmoid_residual(self, target: f64) -> Self {
        let (y, one_minus_y) = pair(self);
        if target == 1.0 {
            -one_minus_y
        } else {
            y - Complex::from(target)
        }
    }
}

impl From<f64> for Complex {
    fn from(re: f64) -> Self {
        Self { re, im: 0.0 }
    }
}

impl Add for Complex {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            re: self.re + other.re,
            im: self.im + other.im,
        }
    }
}

impl Sub for Complex {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Neg for Complex {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            re: -self.re,
            im: -self.im,
        }
    }
}

impl Mul for Complex {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        Self {
            re: self.re * other.re - self.im * other.im,
            im: self.re * other.im + self.im * other.re,
        }
    }
}

impl Div for Complex {
    type Output = Self;

    // Multiplication by the reciprocal.
    #[allow(clippy::suspicious_arithmetic_impl)]
    fn div(self, other: Self) -> Self {
        self * other.reciprocal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_are_those_of_complex_analysis() {
        let x = Complex { re: 0.3, im: 1.1 };
        let close = |found: Complex, re: f64, im: f64| {
            assert!(
                (found.re - re).abs() < 1e-15 && (found.im - im).abs() < 1e-15,
                "{found:?}"
            );
        };
        // e^x·e^−x = 1, x·(1/x) = 1, e^ln(1 + x) = 1 + x, σ(x) + (1 − σ(x)) = 1.
        let product = x.exp() * (-x).exp();
        close(product, 1.0, 0.0);
        let product = x * x.reciprocal();
        close(product, 1.0, 0.0);
        close(x.ln_1p().exp(), 1.3, 1.1);
        close(x.ln().exp(), 0.3, 1.1);
        close(x.exp_m1() - x.exp(), -1.0, 0.0);
        close(x / x, 1.0, 0.0);
        for z in [x, -x] {
            let (y, one_minus_y) = pair(z);
            close(y + one_minus_y, 1.0, 0.0);
            close(z.sigmoid_residual(1.0) - (y - Complex::from(1.0)), 0.0, 0.0);
        }
    }

    #[test]
    fn the_step_s_square_is_below_every_double_relative_to_one() {
        assert_eq!(INCREMENT, 2f64.powi(-300));
        assert_eq!(1.0 - INCREMENT * INCREMENT, 1.0);
    }
}
