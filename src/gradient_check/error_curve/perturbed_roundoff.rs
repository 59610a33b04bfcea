//! The typical round-off of a perturbed pass: the expected noise of a difference of two losses.
//!
//! `bounds/` bounds the round-off; this module computes its expected square. A rounding to numbers
//! a distance q apart has the mean square error q²/12 if its argument is uniformly distributed
//! between them. Two passes that differ by one perturbation share every rounding whose argument the
//! perturbation does not change. If it changes an argument x by Δ, the two roundings of x
//! contribute two errors, independent where Δ is large:
//!
//! ```text
//! E (fl(x + Δ) − fl(x) − Δ)² = Δ·(q − Δ) for Δ < q, q²/6 beyond;  taken as min(q·Δ, q²/6)
//! ```
//!
//! A rank-1 update z + Δz of a z that is already rounded is rounded once: q²/12 per side, and Δz is
//! lost entirely where |Δz| < q/2. Each error reaches the loss with the weight ∂L/∂x. The roundings
//! are taken as independent, so their squares add up, over the roundings and over the rows.
//!
//! With t = d·|a_i|, the distance by which z_j moves, a row's noise is min(slope·t, level). Both
//! sums are computed once per unit; each weight adds the roundings of the partial sums of z_j from
//! input i on.
//!
//! Cost: per row, one pass and, for each unit, a pass through the layers above it.

use crate::gradient::finite_difference::{DifferenceConfig, Reuse, Scheme};
use crate::gradient_check::number_format::NumberFormat;
use crate::gradient_check::sample_pass::{SamplePass, is_hot};
use crate::model::{Network, Parameters};
use crate::numeric::output_loss::OutputLoss;

/// Squared error of e^x relative to that of its last rounding alone.
const EXPONENTIAL: f64 = 1.25;

/// The expected squared error of one row's difference of losses, as a function of the distance t.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct NoiseVariance {
    /// Roundings of arguments at any position between two numbers contribute min(slope·t, level).
    slope: f64,
    level: f64,
    /// Rank-1 updates of rounded numbers contribute min(bend·t², step).
    bend: f64,
    step: f64,
    /// Contribution that does not depend on t.
    fixed: f64,
    /// |Δz| of one side below which the perturbed unit's update, and so the whole change, is lost.
    lost: f64,
}

/// One row's noise, by perturbed unit and input.
pub(super) struct RowNoise {
    /// The noise of each unit, layer by layer.
    units: Vec<Vec<NoiseVariance>>,
    /// Slope and level of a unit's partial sums from an input on, `(units, fan_in)` per layer.
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
        pass: &SamplePass,
        config: &DifferenceConfig,
        format: NumberFormat,
    ) -> Self {
        let incremental = config.reuse == Reuse::Incremental;
        let chains = chains(theta, pass, format);
        let row = NoisePass {
            output_loss: network.output_loss(),
            theta,
            pass,
            chains: &chains,
            format,
            incremental,
            sides: match config.scheme {
                Scheme::Forward => 1.0,
                Scheme::Central => 2.0,
            },
        };
        let layers = pass.z.len();
        Self {
            units: (0..layers)
                .map(|layer| {
                    let units = 0..pass.z[layer].len();
                    units.map(|unit| row.unit_noise(layer, unit)).collect()
                })
                .collect(),
            chains,
            delta: pass.delta.clone(),
            inputs: pass.a.iter().map(Vec::len).collect(),
            incremental,
        }
    }

    /// Returns the expected squared error if the z of unit `unit` of `layer` is perturbed by
    /// ±`increment` through input `input` (`None`: the bias), with `distance` between the two
    /// evaluation points, and whether the change itself is lost.
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

/// Computes Σ q and Σ q²/6 over the partial sums of each z from an input on, `(units, fan_in)` per
/// layer.
pub(super) fn chains(
    theta: &Parameters<f64>,
    pass: &SamplePass,
    format: NumberFormat,
) -> Vec<Vec<[f64; 2]>> {
    let layer_chains = |layer: usize| {
        let inputs = &pass.a[layer];
        let biases = theta.biases(layer);
        let mut chains = vec![[0.0; 2]; pass.z[layer].len() * inputs.len()];
        for ((unit, weights), chain) in theta
            .weights(layer)
            .outer_iter()
            .enumerate()
            .zip(chains.chunks_exact_mut(inputs.len()))
        {
            let mut sum = biases.get(unit).copied().unwrap_or(0.0);
            for ((w, a), sums) in weights.iter().zip(inputs).zip(&mut *chain) {
                // A zero input adds exactly nothing.
                if *a != 0.0 {
                    sum = w.mul_add(*a, sum);
                    let q = format.spacing(sum);
                    *sums = [q, q * q / 6.0];
                }
            }
            let mut suffix = [0.0; 2];
            for sums in chain.iter_mut().rev() {
                suffix = [suffix[0] + sums[0], suffix[1] + sums[1]];
                *sums = suffix;
            }
        }
        chains
    };
    (0..pass.z.len()).map(layer_chains).collect()
}

/// The data from which one row's noise is computed.
struct NoisePass<'a> {
    output_loss: OutputLoss,
    theta: &'a Parameters<f64>,
    pass: &'a SamplePass,
    chains: &'a [Vec<[f64; 2]>],
    format: NumberFormat,
    incremental: bool,
    sides: f64,
}

impl NoisePass<'_> {
    /// Computes the noise if unit `unit` of `layer` is perturbed.
    fn unit_noise(&self, layer: usize, unit: usize) -> NoiseVariance {
        let (pass, last) = (self.pass, self.pass.z.len() - 1);
        let mut noise = NoiseVariance::default();
        let delta = pass.delta[layer][unit];
        let z = if self.incremental && layer == last {
            self.base(unit)
        } else {
            pass.z[layer][unit]
        };
        if self.incremental {
            let q = self.format.spacing(z);
            noise.lost = q / 2.0;
            noise.step += self.sides * (delta * q).powi(2) / 12.0;
        }
        if layer == last {
            let mut speeds = vec![0.0; pass.z[last].len()];
            speeds[unit] = 1.0;
            self.loss(&speeds, self.incremental, |q, weight, speed| {
                noise.add(q, weight, speed, false);
            });
            return noise;
        }
        let add = |q: f64, weight: f64, speed: f64| {
            noise.add(
                q,
                pass.activation_gradient[layer][unit] * weight,
                speed,
                false,
            );
        };
        if self.incremental && layer + 1 == last {
            sigmoid(self.format, z, add);
        } else {
            pair(self.format, z, z >= 0.0, add);
        }
        // The derivatives of the next layer's z by the unit's z.
        let slope = pass.slope(layer, unit);
        let mut speeds: Vec<f64> = (self.theta.weights(layer + 1).column(unit).iter())
            .map(|w| w * slope)
            .collect();
        for above in layer + 1..=last {
            // The perturbed pass of a forward difference adds biases last, the base pass first.
            let biased = self.theta.layout().has_bias();
            let fixed = biased && self.incremental && self.sides == 1.0 && above > layer + 1;
            let from = if above == layer + 1 { unit } else { 0 };
            for (k, &speed) in speeds.iter().enumerate() {
                let (delta, z) = (pass.delta[above][k], pass.z[above][k]);
                if self.incremental && above == layer + 1 {
                    let q = self.format.spacing(z);
                    noise.bend += (delta * speed).powi(2);
                    noise.step += self.sides * (delta * q).powi(2) / 12.0;
                } else {
                    let [slope, level] = self.chains[above][k * pass.a[above].len() + from];
                    noise.add_sums(slope, level, delta, speed, fixed);
                }
                if above < last {
                    pair(self.format, z, z >= 0.0, |q, weight, rate| {
                        noise.add(
                            q,
                            pass.activation_gradient[above][k] * weight,
                            rate * speed,
                            fixed,
                        );
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
                .map(|(k, speed)| pass.slope(above, k) * speed)
                .collect();
            let next = self.theta.weights(above + 1);
            speeds = (next.outer_iter())
                .map(|row| row.iter().zip(&activations).map(|(w, s)| w * s).sum())
                .collect();
        }
        noise
    }

    /// Returns the base value from which output `unit` moves if it alone is perturbed: its z, or
    /// for softmax its margin over the other outputs.
    fn base(&self, unit: usize) -> f64 {
        let (pass, last) = (self.pass, self.pass.z.len() - 1);
        match self.output_loss {
            OutputLoss::SoftmaxCrossEntropy => {
                (pass.y[last][unit] / pass.one_minus_y[last][unit]).ln()
            }
            _ => pass.z[last][unit],
        }
    }

    /// Calls `visit` for each rounding of the loss's terms and sums, if the outputs move with
    /// `speeds`: with the spacing, the weight ∂L/∂x and the speed. With `alone`, only for the one
    /// term that moves, not for its sum.
    fn loss(&self, speeds: &[f64], alone: bool, mut visit: impl FnMut(f64, f64, f64)) {
        let factor = self.pass.weight;
        self.unweighted_loss(speeds, alone, |q, weight, speed| {
            visit(q, weight * factor, speed);
        });
    }

    /// Does the same for the loss without its factor.
    fn unweighted_loss(&self, speeds: &[f64], alone: bool, mut visit: impl FnMut(f64, f64, f64)) {
        let (pass, format) = (self.pass, self.format);
        let last = pass.z.len() - 1;
        if self.output_loss == OutputLoss::SoftmaxCrossEntropy && !alone {
            return self.softmax(speeds, visit);
        }
        let (mut sum, mut speed) = (0.0, 0.0);
        for (k, &output_speed) in speeds.iter().enumerate() {
            let z = if alone { self.base(k) } else { pass.z[last][k] };
            let hot = is_hot(self.output_loss, pass.label, k);
            let (y, one_minus_y) = (pass.y[last][k], pass.one_minus_y[last][k]);
            let term = match self.output_loss {
                OutputLoss::SigmoidQuadratic => {
                    let residual = if hot { one_minus_y } else { y };
                    if output_speed != 0.0 {
                        let toward = if hot { -z } else { z };
                        sigmoid(format, toward, |q, weight, rate| {
                            visit(q, residual * weight, rate * output_speed);
                        });
                    }
                    0.5 * residual * residual
                }
                OutputLoss::LinearQuadratic => {
                    let residual = pass.residual(k);
                    if pass.targets[k] != 0.0 {
                        visit(format.spacing(residual), residual, output_speed);
                    }
                    0.5 * residual * residual
                }
                _ => {
                    let z = if hot { -z } else { z };
                    if output_speed != 0.0 {
                        softplus(format, z, |q, weight, rate| {
                            visit(q, weight, rate * output_speed)
                        });
                    }
                    z.max(0.0) + (-z.abs()).exp().ln_1p()
                }
            };
            if alone {
                // A sum of one term has the rounding of that term: a product, or itself a sum.
                let product = matches!(
                    self.output_loss,
                    OutputLoss::SigmoidQuadratic | OutputLoss::LinearQuadratic
                );
                if product && output_speed != 0.0 {
                    visit(
                        format.spacing(term),
                        1.0,
                        pass.delta[last][k] / pass.weight * output_speed,
                    );
                }
                continue;
            }
            sum += term;
            speed += pass.delta[last][k] / pass.weight * output_speed;
            visit(format.spacing(sum), 1.0, speed);
        }
    }

    /// Visits the roundings of ln(1 + Σ e^(z_k − z_t)), computed by a running ln(e^a + e^b).
    fn softmax(&self, speeds: &[f64], mut visit: impl FnMut(f64, f64, f64)) {
        let (pass, format) = (self.pass, self.format);
        let last = pass.z.len() - 1;
        let z = &pass.z[last];
        let target = pass.label;
        let miss = pass.one_minus_y[last][target];
        let others = || (0..z.len()).filter(|&k| k != target);
        let log_sum = |a: f64, b: f64| a.max(b) + (-(a - b).abs()).exp().ln_1p();
        let total = others().map(|k| z[k]).reduce(log_sum);
        let Some(total) = total else { return };
        let mut running: Option<(f64, f64)> = None;
        for k in others() {
            let Some((sum, speed)) = running else {
                running = Some((z[k], speeds[k]));
                continue;
            };
            let next = log_sum(sum, z[k]);
            let (gap, share) = (sum - z[k], (z[k] - next).exp());
            // The derivative of the loss by this partial sum.
            let weight = miss * (next - total).exp();
            let next_speed = (1.0 - share) * speed + share * speeds[k];
            let rate = speed - speeds[k];
            visit(format.spacing(gap), weight * share.min(1.0 - share), rate);
            logarithm(format, gap.abs(), |q, weight_in_logarithm, gap_rate| {
                visit(q, weight * weight_in_logarithm, gap_rate * rate);
            });
            visit(format.spacing(next), weight, next_speed);
            running = Some((next, next_speed));
        }
        let (total, next_speed) = running.expect("softmax has two outputs at least");
        let margin = total - z[target];
        let rate = next_speed - speeds[target];
        visit(format.spacing(margin), miss, rate);
        softplus(format, margin, |q, weight, margin_rate| {
            visit(q, weight, margin_rate * rate);
        });
    }
}

impl NoiseVariance {
    /// Adds one rounding to numbers a distance `q` apart.
    fn add(&mut self, q: f64, weight: f64, speed: f64, fixed: bool) {
        self.add_sums(q, q * q / 6.0, weight, speed, fixed);
    }

    /// Adds several roundings: `slope` is Σ q, `level` is Σ q²/6.
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

/// Visits the roundings of σ(z) = r = 1/(1 + e), e = e^−z, with spacing, ∂r/∂x and |dx/dz|.
fn sigmoid(format: NumberFormat, z: f64, mut visit: impl FnMut(f64, f64, f64)) {
    let e = (-z).exp();
    let r = 1.0 / (1.0 + e);
    visit(format.spacing(e) * EXPONENTIAL.sqrt(), r * r, e);
    visit(format.spacing(1.0 + e), r * r, e);
    visit(format.spacing(r), 1.0, r * e * r);
}

/// Visits the roundings of the larger of σ(z) and 1 − σ(z), r = 1/(1 + t) with t = e^−|z|
/// (`upper`), or of the smaller, t·r, with spacing, ∂σ/∂x and |dx/dz|.
fn pair(format: NumberFormat, z: f64, upper: bool, mut visit: impl FnMut(f64, f64, f64)) {
    let t = (-z.abs()).exp();
    let r = 1.0 / (1.0 + t);
    let slope = r * t * r;
    let of_r = if upper { 1.0 } else { t };
    visit(format.spacing(t) * EXPONENTIAL.sqrt(), r * r, t);
    visit(format.spacing(1.0 + t), of_r * r * r, t);
    visit(format.spacing(r), of_r, slope);
    if !upper {
        visit(format.spacing(t * r), 1.0, slope);
    }
}

/// Visits the roundings of ln(1 + t), t = e^−x, x ≥ 0, computed as 2·atanh(s) with s = t/(2 + t),
/// with spacing, weight and speed.
fn logarithm(format: NumberFormat, x: f64, mut visit: impl FnMut(f64, f64, f64)) {
    let t = (-x).exp();
    let (value, s) = (t.ln_1p(), t / (2.0 + t));
    let of_s = 2.0 * t / (2.0 + t).powi(2);
    visit(format.spacing(t) * EXPONENTIAL.sqrt(), 1.0 / (1.0 + t), t);
    if s > 0.0 {
        visit(format.spacing(2.0 + t), value / (2.0 + t), t);
        visit(format.spacing(s), value / s, of_s);
        // The series 2 + ⅔·s² + … .
        visit(format.spacing(2.0), s, 4.0 / 3.0 * s * of_s);
        visit(format.spacing(value), 1.0, t / (1.0 + t));
    }
}

/// Visits the roundings of ln(1 + e^z) = max(z, 0) + ln(1 + e^−|z|).
fn softplus(format: NumberFormat, z: f64, mut visit: impl FnMut(f64, f64, f64)) {
    logarithm(format, z.abs(), &mut visit);
    if z > 0.0 {
        let t = (-z).exp();
        visit(format.spacing(z + t.ln_1p()), 1.0, 1.0 / (1.0 + t));
    }
}
