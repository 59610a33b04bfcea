//! The complex step: a partial derivative as the imaginary part of the loss at θ + i·h·eᵢ, over h.
//!
//! ```text
//! L(θ + i·h·eᵢ) = L(θ) + i·h·∂L/∂θᵢ − h²/2·∂²L/∂θᵢ² − …
//! ```
//!
//! Nothing is subtracted, so h may be so small that what is left out is below every number: the
//! derivative of the forward pass as it is written, in double precision (Squire and Trapp, "Using
//! complex variables to estimate derivatives of real functions", SIAM Review 40, 1998). It shares no
//! line with a backward pass, so it is an oracle for backprop; it is scalar code, and slow.
//!
//! Cost: N passes in complex numbers, each from the perturbed unit up: below and beside it the
//! imaginary parts are 0 and the real ones those of the unperturbed pass.

use std::ops::{Add, Mul, Neg, Sub};

use super::sample_pass::{SamplePass, is_hot};
use crate::gradient::{Control, Stopped};
use crate::model::{Network, Parameters};
use crate::numeric::output_loss::OutputLoss;
use crate::parallel::Workers;

/// h: a power of two whose square is below every double relative to 1, and that leaves 700 powers of
/// two for derivatives to be small.
pub(super) const STEP: f64 = f64::from_bits((1023 - 300) << 52);

/// The gradient of the objective, l2 included, as the complex steps find it, `(N,)`.
///
/// # Errors
/// [`Stopped::Interrupted`] if `control` asked for it.
pub(super) fn gradient(
    network: &Network,
    theta: &Parameters<f64>,
    traces: &[SamplePass],
    team: &Workers,
    control: &Control,
) -> Result<Parameters<f64>, Stopped> {
    let layout = &network.layout;
    let units: Vec<(usize, usize)> = (0..layout.layers())
        .flat_map(|layer| (0..layout.sizes()[layer + 1]).map(move |unit| (layer, unit)))
        .collect();
    let parts = team.map(units.len(), |at| {
        let (layer, unit) = units[at];
        (!control.is_stopped()).then(|| {
            let found = of_unit(network, theta, traces, layer, unit);
            control.count(found.len() as u64);
            found
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

/// The derivatives along a unit's weights, and along its bias if there is one.
fn of_unit(
    network: &Network,
    theta: &Parameters<f64>,
    traces: &[SamplePass],
    layer: usize,
    unit: usize,
) -> Vec<f64> {
    let fan_in = network.layout.sizes()[layer];
    let mut sums = vec![0.0; fan_in + usize::from(network.layout.has_bias())];
    for trace in traces {
        for (input, sum) in sums.iter_mut().enumerate() {
            let a = trace.a[layer].get(input).copied().unwrap_or(1.0);
            // An input of 0 moves nothing.
            if a != 0.0 {
                *sum += loss(network, theta, trace, layer, unit, STEP * a).im / STEP;
            }
        }
    }
    let rows = traces.len() as f64;
    for (input, sum) in sums.iter_mut().enumerate() {
        *sum /= rows;
        if input < fan_in {
            let w = Complex {
                re: theta.weights(layer)[[unit, input]],
                im: STEP,
            };
            *sum += (Complex::from(0.5 * network.l2) * w * w).im / STEP;
        }
    }
    sums
}

/// One sample's loss if the z of unit `unit` of `layer` is moved by i·`step`.
fn loss(
    network: &Network,
    theta: &Parameters<f64>,
    trace: &SamplePass,
    layer: usize,
    unit: usize,
    step: f64,
) -> Complex {
    let last = trace.z.len() - 1;
    let reals = |values: &[f64]| values.iter().map(|&x| x.into()).collect::<Vec<Complex>>();
    let mut z = reals(&trace.z[layer]);
    z[unit].im = step;
    let mut moved = unit..unit + 1;
    for above in layer + 1..=last {
        let mut a = reals(&trace.a[above]);
        for k in moved {
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
        moved = 0..z.len();
    }
    of_outputs(network.head(), trace.label, &z)
}

/// The loss, from the outputs' z; every form without a subtraction of what is nearly equal.
fn of_outputs(head: OutputLoss, label: usize, z: &[Complex]) -> Complex {
    let one = Complex::from(1.0);
    if head == OutputLoss::SoftmaxCrossEntropy {
        // ln Σ e^z_k − z_t = (z_m − z_t) + ln(1 + Σ_{k ≠ m} e^(z_k − z_m)), m the largest, t if it is.
        let ahead = |m: usize, k: usize| if z[k].re > z[m].re { k } else { m };
        let top = (0..z.len()).fold(label, ahead);
        let others = (0..z.len()).filter(|&k| k != top);
        let sum = others
            .map(|k| (z[k] - z[top]).exp())
            .fold(Complex::from(0.0), Complex::add);
        return (z[top] - z[label]) + sum.ln_1p();
    }
    let terms = z.iter().enumerate().map(|(unit, &z)| {
        let hot = is_hot(head, label, unit);
        let squared = |residual: Complex| Complex::from(0.5) * residual * residual;
        match head {
            OutputLoss::SigmoidQuadratic => {
                let (y, complement) = pair(z);
                squared(if hot { -complement } else { y })
            }
            OutputLoss::LinearQuadratic => squared(if hot { z - one } else { z }),
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

/// σ(z) and 1 − σ(z), both from e^−|z|.
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

    /// ln(1 + x): ½·ln |1 + x|², and its angle.
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
            let (y, complement) = pair(z);
            close(y + complement, 1.0, 0.0);
        }
    }

    #[test]
    fn the_step_s_square_is_below_every_double_relative_to_one() {
        assert_eq!(STEP, 2f64.powi(-300));
        assert_eq!(1.0 - STEP * STEP, 1.0);
    }
}
