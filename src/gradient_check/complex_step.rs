//! The complex-step derivative: the imaginary part of the loss at θ + i·h·eᵢ, divided by h.
//!
//! ```text
//! L(θ + i·h·eᵢ) = L(θ) + i·h·∂L/∂θᵢ − h²/2·∂²L/∂θᵢ² − …
//! ```
//!
//! Nothing is subtracted, so h can be so small that the truncation vanishes below the round-off:
//! the result is the derivative of the forward pass in double precision (Squire and Trapp, "Using
//! complex variables to estimate derivatives of real functions", SIAM Review 40, 1998). This module
//! shares no code with the backward passes, so it is an independent reference for backprop. It is
//! scalar code, and slow.
//!
//! Cost: N passes in complex numbers, each from the perturbed unit upward. Below and beside that
//! unit, imaginary parts are 0 and real parts equal those of the unperturbed pass.

use std::ops::{Add, Mul, Neg, Sub};

use super::sample_pass::{SamplePass, is_hot};
use crate::gradient::{Control, Stopped};
use crate::model::{Network, Parameters};
use crate::numeric::output_loss::OutputLoss;
use crate::parallel::Workers;

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
    let units: Vec<(usize, usize)> = (0..layout.layers())
        .flat_map(|layer| (0..layout.sizes()[layer + 1]).map(move |unit| (layer, unit)))
        .collect();
    let parts = workers.map(units.len(), |at| {
        let (layer, unit) = units[at];
        (!control.is_stopped()).then(|| {
            let derivatives = unit_derivatives(network, theta, passes, layer, unit);
            control.count(derivatives.len() as u64);
            derivatives
        })
    });
    let mut gradient = Parameters::zeros(std::sync::Arc::clone(layout));
    let flat = gradient.flat_mut();
    for (part, (layer, unit)) in parts.into_iter().zip(units) {
        let part = part.ok_or(Stopped::Interrupted)?;
        let fan_in = layout.sizes()[layer];
        let start = layout.weights(layer).start + unit * fan_in;
        flat[start..start + fan_in].copy_from_slice(&part[..fan_in]);
        if layout.has_bias() {
            flat[layout.biases(layer).start + unit] = part[fan_in];
        }
    }
    Ok(gradient)
}

/// Computes the derivatives with respect to a unit's weights and, if it has one, its bias.
fn unit_derivatives(
    network: &Network,
    theta: &Parameters<f64>,
    passes: &[SamplePass],
    layer: usize,
    unit: usize,
) -> Vec<f64> {
    let fan_in = network.layout.sizes()[layer];
    let mut sums = vec![0.0; fan_in + usize::from(network.layout.has_bias())];
    for pass in passes {
        for (input, sum) in sums.iter_mut().enumerate() {
            let a = pass.a[layer].get(input).copied().unwrap_or(1.0);
            // A perturbation of an input of 0 has no effect.
            if a != 0.0 {
                *sum += loss(network, theta, pass, layer, unit, INCREMENT * a).im / INCREMENT;
            }
        }
    }
    let rows = passes.len() as f64;
    for (input, sum) in sums.iter_mut().enumerate() {
        *sum /= rows;
        if input < fan_in {
            let w = Complex {
                re: theta.weights(layer)[[unit, input]],
                im: INCREMENT,
            };
            *sum += (Complex::from(0.5 * network.l2) * w * w).im / INCREMENT;
        }
    }
    sums
}

/// Computes one sample's loss with i·`step` added to the z of unit `unit` of `layer`.
fn loss(
    network: &Network,
    theta: &Parameters<f64>,
    pass: &SamplePass,
    layer: usize,
    unit: usize,
    step: f64,
) -> Complex {
    let last = pass.z.len() - 1;
    let reals = |values: &[f64]| values.iter().map(|&x| x.into()).collect::<Vec<Complex>>();
    let mut z = reals(&pass.z[layer]);
    z[unit].im = step;
    let mut changed = unit..unit + 1;
    for above in layer + 1..=last {
        let mut a = reals(&pass.a[above]);
        for k in changed {
            a[k] = pair(z[k]).0;
        }
        let biases = theta.biases(above);
        let weights = theta.weights(above);
        z = (weights.outer_iter().enumerate())
            .map(|(k, row)| {
                let bias = biases.get(k).copied().unwrap_or(0.0).into();
                let terms = row.iter().zip(&a);
                terms.fold(bias, |sum: Complex, (&w, &a)| Complex {
                    re: w.mul_add(a.re, sum.re),
                    im: w.mul_add(a.im, sum.im),
                })
            })
            .collect();
        changed = 0..z.len();
    }
    output_loss_value(network.output_loss(), pass, &z) * pass.weight.into()
}

/// Computes the loss, its factor left out, from the outputs' z, without subtracting nearly equal numbers.
fn output_loss_value(output_loss: OutputLoss, pass: &SamplePass, z: &[Complex]) -> Complex {
    let label = pass.label;
    if output_loss == OutputLoss::SoftmaxCrossEntropy {
        // ln Σ e^z_k − z_t = (z_m − z_t) + ln(1 + Σ_{k ≠ m} e^(z_k − z_m)), where z_m is the
        // largest (m = t among equals).
        let ahead = |m: usize, k: usize| if z[k].re > z[m].re { k } else { m };
        let top = (0..z.len()).fold(label, ahead);
        let others = (0..z.len()).filter(|&k| k != top);
        let sum = others
            .map(|k| (z[k] - z[top]).exp())
            .fold(Complex::from(0.0), Complex::add);
        return (z[top] - z[label]) + sum.ln_1p();
    }
    let terms = z.iter().enumerate().map(|(unit, &z)| {
        let hot = is_hot(output_loss, label, unit);
        let squared = |residual: Complex| Complex::from(0.5) * residual * residual;
        match output_loss {
            OutputLoss::SigmoidQuadratic => {
                let (y, one_minus_y) = pair(z);
                squared(if hot { -one_minus_y } else { y })
            }
            OutputLoss::LinearQuadratic => squared(z - pass.targets[unit].into()),
            _ => {
                let z = if hot { -z } else { z };
                if z.re > 0.0 {
                    z + (-z).exp().ln_1p()
                } else {
                    z.exp().ln_1p()
                }
            }
        }
    });
    terms.fold(Complex::from(0.0), Complex::add)
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
    fn exp(self) -> Self {
        let size = self.re.exp();
        Self {
            re: size * self.im.cos(),
            im: size * self.im.sin(),
        }
    }

    /// Computes ln(1 + x) = ½·ln |1 + x|² + i·arg(1 + x).
    fn ln_1p(self) -> Self {
        Self {
            re: 0.5 * self.re.mul_add(self.re + 2.0, self.im * self.im).ln_1p(),
            im: self.im.atan2(1.0 + self.re),
        }
    }

    fn reciprocal(self) -> Self {
        let square = self.re * self.re + self.im * self.im;
        Self {
            re: self.re / square,
            im: -self.im / square,
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
        for z in [x, -x] {
            let (y, one_minus_y) = pair(z);
            close(y + one_minus_y, 1.0, 0.0);
        }
    }

    #[test]
    fn the_step_s_square_is_below_every_double_relative_to_one() {
        assert_eq!(INCREMENT, 2f64.powi(-300));
        assert_eq!(1.0 - INCREMENT * INCREMENT, 1.0);
    }
}
