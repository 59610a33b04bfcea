//! What a perturbed pass rounds anew, at its typical size: the noise of a difference of two losses.
//!
//! `tolerance.rs` bounds round-off; here its square is expected. A rounding to numbers q apart errs by
//! q²/12 in the mean square if its argument may lie anywhere between them. Two passes that differ
//! by one perturbation share every rounding whose argument the perturbation does not reach; a
//! rounding x that it moves by Δ errs twice, independently where Δ is large:
//!
//! ```text
//! E (fl(x + Δ) − fl(x) − Δ)² = Δ·(q − Δ) for Δ < q, q²/6 beyond;  taken as min(q·Δ, q²/6)
//! ```
//!
//! A sum z + Δz of a z that is a number already (a rank-1 update) is rounded once: q²/12 a side, and
//! wholly lost where |Δz| < q/2. Each error reaches the loss with the weight ∂L/∂x; roundings are
//! independent of each other, so squares add up, over the roundings and over the rows.
//!
//! With t = d·|a_i|, the distance by which z_j moves, a row's noise is min(slope·t, level) with both
//! sums gathered once for each unit, and for each weight the roundings of its own chain from input i
//! on.
//!
//! Cost: of each row the tail of layers above each unit, and one pass.

use crate::gradient::finite_difference::{DifferenceConfig, Reuse, Scheme};
use crate::gradient_check::number_format::NumberFormat;
use crate::gradient_check::sample_pass::{SamplePass, is_hot};
use crate::model::{Network, Parameters};
use crate::numeric::output_loss::OutputLoss;

/// What e^x adds to the square of its last rounding by those before it.
const EXPONENTIAL: f64 = 1.25;

/// The expected square of the error of one row's difference of losses, as a function of t.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct NoiseVariance {
    /// Of arguments that lie anywhere: min(slope·t, level).
    slope: f64,
    level: f64,
    /// Of updates of numbers: min(bend·t², step).
    bend: f64,
    step: f64,
    /// Whatever t is.
    fixed: f64,
    /// One side's |Δz| below which a unit's own update is lost, and with it everything.
    lost: f64,
}

/// A row's noise by the unit perturbed, and by the input its perturbation is worth.
pub(super) struct RowNoise {
    /// Layer by layer, unit by unit.
    units: Vec<Vec<NoiseVariance>>,
    /// Slope and level of a unit's own chain from an input on, `(units, fan_in)` a layer.
    chains: Vec<Vec<[f64; 2]>>,
    /// ∂L/∂z.
    delta: Vec<Vec<f64>>,
    inputs: Vec<usize>,
    incremental: bool,
}

impl RowNoise {
    pub(super) fn new(
        network: &Network,
        theta: &Parameters<f64>,
        trace: &SamplePass,
        config: &DifferenceConfig,
        format: NumberFormat,
    ) -> Self {
        let incremental = config.reuse == Reuse::Incremental;
        let chains = chains(theta, trace, format);
        let pass = NoisePass {
            head: network.head(),
            theta,
            trace,
            chains: &chains,
            format,
            incremental,
            sides: match config.scheme {
                Scheme::Forward => 1.0,
                Scheme::Central => 2.0,
            },
        };
        let layers = trace.z.len();
        Self {
            units: (0..layers)
                .map(|layer| {
                    let units = 0..trace.z[layer].len();
                    units.map(|unit| pass.of_unit(layer, unit)).collect()
                })
                .collect(),
            chains,
            delta: trace.delta.clone(),
            inputs: trace.a.iter().map(Vec::len).collect(),
            incremental,
        }
    }

    /// The expected square of the error if unit `unit` of `layer` is perturbed by ±`increment`
    /// through input `input` (a bias: `None`), by `distance` in all; and whether the change itself is
    /// lost.
    pub(super) fn square(
        &self,
        layer: usize,
        unit: usize,
        input: Option<usize>,
        increment: f64,
        distance: f64,
    ) -> (f64, bool) {
        let noise = &self.units[layer][unit];
        if increment < noise.lost {
            return (noise.fixed, true);
        }
        let [mut slope, mut level] = [noise.slope, noise.level];
        if !self.incremental {
            let at = unit * self.inputs[layer] + input.unwrap_or(0);
            let weight = self.delta[layer][unit].powi(2);
            slope += weight * self.chains[layer][at][0];
            level += weight * self.chains[layer][at][1];
        }
        let update = (noise.bend * distance * distance).min(noise.step);
        let square = (slope * distance).min(level) + update + noise.fixed;
        (square, false)
    }
}

/// Σ q and Σ q²/6 over the partial sums of each z from an input on, `(units, fan_in)` a layer.
pub(super) fn chains(
    theta: &Parameters<f64>,
    trace: &SamplePass,
    format: NumberFormat,
) -> Vec<Vec<[f64; 2]>> {
    let of_layer = |layer: usize| {
        let inputs = &trace.a[layer];
        let biases = theta.biases(layer);
        let mut chains = vec![[0.0; 2]; trace.z[layer].len() * inputs.len()];
        for ((unit, weights), chain) in theta
            .weights(layer)
            .outer_iter()
            .enumerate()
            .zip(chains.chunks_exact_mut(inputs.len()))
        {
            let mut sum = biases.get(unit).copied().unwrap_or(0.0);
            for ((w, a), place) in weights.iter().zip(inputs).zip(&mut *chain) {
                // A zero input adds exactly nothing.
                if *a != 0.0 {
                    sum = w.mul_add(*a, sum);
                    let q = format.spacing(sum);
                    *place = [q, q * q / 6.0];
                }
            }
            let mut after = [0.0; 2];
            for place in chain.iter_mut().rev() {
                after = [after[0] + place[0], after[1] + place[1]];
                *place = after;
            }
        }
        chains
    };
    (0..trace.z.len()).map(of_layer).collect()
}

/// One row's passes, as the noise of a perturbed one sees them.
struct NoisePass<'a> {
    head: OutputLoss,
    theta: &'a Parameters<f64>,
    trace: &'a SamplePass,
    chains: &'a [Vec<[f64; 2]>],
    format: NumberFormat,
    incremental: bool,
    sides: f64,
}

impl NoisePass<'_> {
    fn of_unit(&self, layer: usize, unit: usize) -> NoiseVariance {
        let (trace, last) = (self.trace, self.trace.z.len() - 1);
        let mut noise = NoiseVariance::default();
        let delta = trace.delta[layer][unit];
        let z = if self.incremental && layer == last {
            self.base(unit)
        } else {
            trace.z[layer][unit]
        };
        if self.incremental {
            let q = self.format.spacing(z);
            noise.lost = q / 2.0;
            noise.step += self.sides * (delta * q).powi(2) / 12.0;
        }
        if layer == last {
            let mut speeds = vec![0.0; trace.z[last].len()];
            speeds[unit] = 1.0;
            self.loss(&speeds, self.incremental, |q, weight, speed| {
                noise.add(q, weight, speed, false);
            });
            return noise;
        }
        let own = |q: f64, weight: f64, speed: f64| {
            noise.add(q, trace.pull[layer][unit] * weight, speed, false);
        };
        if self.incremental && layer + 1 == last {
            sigmoid(self.format, z, own);
        } else {
            pair(self.format, z, z >= 0.0, own);
        }
        // dz of the layer above by dz of the unit.
        let slope = trace.slope(layer, unit);
        let mut speeds: Vec<f64> = (self.theta.weights(layer + 1).column(unit).iter())
            .map(|w| w * slope)
            .collect();
        for above in layer + 1..=last {
            // A forward difference's tail adds biases last, the pass it is held against first.
            let biased = self.theta.layout().has_bias();
            let fixed = biased && self.incremental && self.sides == 1.0 && above > layer + 1;
            let from = if above == layer + 1 { unit } else { 0 };
            for (k, &speed) in speeds.iter().enumerate() {
                let (delta, z) = (trace.delta[above][k], trace.z[above][k]);
                if self.incremental && above == layer + 1 {
                    let q = self.format.spacing(z);
                    noise.bend += (delta * speed).powi(2);
                    noise.step += self.sides * (delta * q).powi(2) / 12.0;
                } else {
                    let [slope, level] = self.chains[above][k * trace.a[above].len() + from];
                    noise.add_sums(slope, level, delta, speed, fixed);
                }
                if above < last {
                    pair(self.format, z, z >= 0.0, |q, weight, rate| {
                        noise.add(q, trace.pull[above][k] * weight, rate * speed, fixed);
                    });
                }
            }
            if above == last {
                self.loss(&speeds, false, |q, weight, speed| {
                    noise.add(q, weight, speed, fixed);
                });
                break;
            }
            let activations: Vec<f64> = (speeds.iter().enumerate())
                .map(|(k, speed)| trace.slope(above, k) * speed)
                .collect();
            let next = self.theta.weights(above + 1);
            speeds = (next.outer_iter())
                .map(|row| row.iter().zip(&activations).map(|(w, s)| w * s).sum())
                .collect();
        }
        noise
    }

    /// Where output `unit` moves from if it alone is perturbed: of a softmax its margin over the others.
    fn base(&self, unit: usize) -> f64 {
        let (trace, last) = (self.trace, self.trace.z.len() - 1);
        match self.head {
            OutputLoss::SoftmaxCrossEntropy => {
                (trace.y[last][unit] / trace.complement[last][unit]).ln()
            }
            _ => trace.z[last][unit],
        }
    }

    /// The roundings of the loss's own terms and sums, if the outputs move with `speeds`: `each` is
    /// told a spacing, a weight ∂L/∂x and a speed. `alone`: the one moving term, outside its sum.
    fn loss(&self, speeds: &[f64], alone: bool, mut each: impl FnMut(f64, f64, f64)) {
        let (trace, format) = (self.trace, self.format);
        let last = trace.z.len() - 1;
        if self.head == OutputLoss::SoftmaxCrossEntropy && !alone {
            return self.softmax(speeds, each);
        }
        let (mut sum, mut speed) = (0.0, 0.0);
        for (k, &own) in speeds.iter().enumerate() {
            let z = if alone {
                self.base(k)
            } else {
                trace.z[last][k]
            };
            let hot = is_hot(self.head, trace.label, k);
            let (y, complement) = (trace.y[last][k], trace.complement[last][k]);
            let term = match self.head {
                OutputLoss::SigmoidQuadratic => {
                    let residual = if hot { complement } else { y };
                    if own != 0.0 {
                        let toward = if hot { -z } else { z };
                        sigmoid(format, toward, |q, weight, rate| {
                            each(q, residual * weight, rate * own);
                        });
                    }
                    0.5 * residual * residual
                }
                OutputLoss::LinearQuadratic => {
                    let residual = trace.delta[last][k];
                    if hot {
                        each(format.spacing(residual), residual, own);
                    }
                    0.5 * residual * residual
                }
                _ => {
                    let z = if hot { -z } else { z };
                    if own != 0.0 {
                        softplus(format, z, |q, weight, rate| each(q, weight, rate * own));
                    }
                    z.max(0.0) + (-z.abs()).exp().ln_1p()
                }
            };
            if alone {
                // A sum of one term is rounded where the term is: a product, or a sum already.
                let product = matches!(
                    self.head,
                    OutputLoss::SigmoidQuadratic | OutputLoss::LinearQuadratic
                );
                if product && own != 0.0 {
                    each(format.spacing(term), 1.0, trace.delta[last][k] * own);
                }
                continue;
            }
            sum += term;
            speed += trace.delta[last][k] * own;
            each(format.spacing(sum), 1.0, speed);
        }
    }

    /// ln(1 + Σ e^(z_k − z_t)), by a running ln(e^a + e^b).
    fn softmax(&self, speeds: &[f64], mut each: impl FnMut(f64, f64, f64)) {
        let (trace, format) = (self.trace, self.format);
        let last = trace.z.len() - 1;
        let z = &trace.z[last];
        let target = trace.label;
        let miss = trace.complement[last][target];
        let others = || (0..z.len()).filter(|&k| k != target);
        let log_sum = |a: f64, b: f64| a.max(b) + (-(a - b).abs()).exp().ln_1p();
        let all = others().map(|k| z[k]).reduce(log_sum);
        let Some(all) = all else { return };
        let mut running: Option<(f64, f64)> = None;
        for k in others() {
            let Some((sum, speed)) = running else {
                running = Some((z[k], speeds[k]));
                continue;
            };
            let next = log_sum(sum, z[k]);
            let (gap, share) = (sum - z[k], (z[k] - next).exp());
            // Of this partial sum in all of them.
            let weight = miss * (next - all).exp();
            let moved = (1.0 - share) * speed + share * speeds[k];
            let rate = speed - speeds[k];
            each(format.spacing(gap), weight * share.min(1.0 - share), rate);
            logarithm(format, gap.abs(), |q, own, of_gap| {
                each(q, weight * own, of_gap * rate);
            });
            each(format.spacing(next), weight, moved);
            running = Some((next, moved));
        }
        let (all, moved) = running.expect("softmax has two outputs at least");
        let margin = all - z[target];
        let rate = moved - speeds[target];
        each(format.spacing(margin), miss, rate);
        softplus(format, margin, |q, weight, of_margin| {
            each(q, weight, of_margin * rate);
        });
    }
}

impl NoiseVariance {
    /// One rounding to numbers `q` apart.
    fn add(&mut self, q: f64, weight: f64, speed: f64, fixed: bool) {
        self.add_sums(q, q * q / 6.0, weight, speed, fixed);
    }

    /// Several: Σ q and Σ q²/6.
    fn add_sums(&mut self, slope: f64, level: f64, weight: f64, speed: f64, fixed: bool) {
        let square = weight * weight;
        if fixed {
            self.fixed += square * level;
        } else if speed != 0.0 {
            self.slope += square * slope * speed.abs();
            self.level += square * level;
        }
    }
}

/// The roundings of σ(z) = r = 1/(1 + e), e = e^−z: spacing, ∂r/∂x, |dx/dz|.
fn sigmoid(format: NumberFormat, z: f64, mut each: impl FnMut(f64, f64, f64)) {
    let e = (-z).exp();
    let r = 1.0 / (1.0 + e);
    each(format.spacing(e) * EXPONENTIAL.sqrt(), r * r, e);
    each(format.spacing(1.0 + e), r * r, e);
    each(format.spacing(r), 1.0, r * e * r);
}

/// The roundings of the pair σ(z), 1 − σ(z) (`upper`: of the larger of the two, r = 1/(1 + t) with
/// t = e^−|z|; else of t·r): spacing, ∂σ/∂x, |dx/dz|.
fn pair(format: NumberFormat, z: f64, upper: bool, mut each: impl FnMut(f64, f64, f64)) {
    let t = (-z.abs()).exp();
    let r = 1.0 / (1.0 + t);
    let slope = r * t * r;
    let of_r = if upper { 1.0 } else { t };
    each(format.spacing(t) * EXPONENTIAL.sqrt(), r * r, t);
    each(format.spacing(1.0 + t), of_r * r * r, t);
    each(format.spacing(r), of_r, slope);
    if !upper {
        each(format.spacing(t * r), 1.0, slope);
    }
}

/// The roundings of ln(1 + e^−x), x ≥ 0, as 2·atanh(s), s = t/(2 + t): spacing, weight, |dx/dz|.
fn logarithm(format: NumberFormat, x: f64, mut each: impl FnMut(f64, f64, f64)) {
    let t = (-x).exp();
    let (value, s) = (t.ln_1p(), t / (2.0 + t));
    let of_s = 2.0 * t / (2.0 + t).powi(2);
    each(format.spacing(t) * EXPONENTIAL.sqrt(), 1.0 / (1.0 + t), t);
    if s > 0.0 {
        each(format.spacing(2.0 + t), value / (2.0 + t), t);
        each(format.spacing(s), value / s, of_s);
        // The series 2 + ⅔·s² + … .
        each(format.spacing(2.0), s, 4.0 / 3.0 * s * of_s);
        each(format.spacing(value), 1.0, t / (1.0 + t));
    }
}

/// The roundings of ln(1 + e^z) = max(z, 0) + ln(1 + e^−|z|).
fn softplus(format: NumberFormat, z: f64, mut each: impl FnMut(f64, f64, f64)) {
    logarithm(format, z.abs(), &mut each);
    if z > 0.0 {
        let t = (-z).exp();
        each(format.spacing(z + t.ln_1p()), 1.0, 1.0 / (1.0 + t));
    }
}
