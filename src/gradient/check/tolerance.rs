//! How far each partial derivative may be from the exact one: what truncation and round-off come
//! to, derived for this network, these rows, this method.
//!
//! u = unit round-off, h = increment, d = h (forward) or 2h (central), δ = ∂L/∂z, all of one sample;
//! bounds are averaged over the rows as absolute values, because round-off need not be independent
//! from row to row (where θ + h·a rounds to θ it is lost in every row).
//!
//! ```text
//! |ĝ − g| ≤ truncation + noise + own
//!
//! truncation   forward μ₂·h/2, central μ₃·h²/6, with μ bounded over the whole step (curvature.rs)
//! noise        plain: 2·ε/d. ε = what the perturbed pass rounds anew:
//!              u·|δ_j|·ρ_j of the perturbed unit, u·|δ_k|·ρ_k and 4u·|a_k·∂L/∂a_k| of all above it,
//!              and the loss's own terms. What lies beside or below the unit has the same bits in
//!              both passes, and cancels exactly.
//!              cancellation-free: κ·u·D·|a|, relative to the sum D of all paths' absolute values,
//!              and 2⁻¹⁴⁹/d (f32) where a change is subnormal
//! own          that z and a are those of this precision: backprop has this term alone
//! ```
//!
//! ρ = |z| + Λ·√Σ s² over the partial sums s of a chain: the first rounding at its worst, the others
//! as independent (Higham and Mary, "A new approach to probabilistic rounding error analysis", 2019:
//! √n in place of n, wrong with a probability of 2·exp(−3Λ²/2) for roundings uniform in ±u). Sums
//! over units take the smaller of Σ and Λ·√Σ². With Λ = 4 a false alarm has 1e-10 a row and needs
//! all rows at once. What is wrong by more than these bounds is not round-off.

use super::curvature::{Magnitudes, of_units};
use super::trace::Trace;
use crate::data::Samples;
use crate::gradient::difference::{Arithmetic, DifferenceConfig, Reuse, Scheme, Summation};
use crate::model::{Network, Parameters};
use crate::numeric::Precision;
use crate::numeric::head::Head;
use crate::numeric::panels::{count, width};
use crate::parallel::Team;

/// Standard deviations of √3·u·√Σ s² that a chain may be off.
const CHAIN: f64 = 4.0;
/// Roundings of one sigmoid, exponential or loss term, in u.
const ELEMENTARY: f64 = 4.0;

/// u, and what else a precision can lose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Format {
    /// The unit round-off.
    roundoff: f64,
    /// Half the smallest number.
    tiny: f64,
    /// Below this the product of two numbers of a gradient may be subnormal.
    least: f64,
    /// Sigmoids are evaluated at ±this where |z| is larger.
    clamp: f64,
    /// 1 − a and a − 1 may be subtractions, and sums in any order: another program's backprop.
    foreign: bool,
}

impl Format {
    pub(super) fn of(precision: Precision) -> Self {
        use crate::numeric::Real;
        match precision {
            Precision::F32 => Self {
                roundoff: f32::UNIT_ROUNDOFF,
                tiny: 2f64.powi(-149),
                least: f64::from(f32::MIN_POSITIVE),
                clamp: f32::SIGMOID_CLAMP,
                foreign: false,
            },
            Precision::F64 => Self {
                roundoff: f64::UNIT_ROUNDOFF,
                tiny: f64::from_bits(1),
                least: f64::MIN_POSITIVE,
                clamp: f64::SIGMOID_CLAMP,
                foreign: false,
            },
        }
    }

    pub(super) fn foreign(self) -> Self {
        Self {
            foreign: true,
            ..self
        }
    }
}

/// The step of one parameter as it is taken: θ + h and θ − h are rounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stride {
    /// The distance of the two points.
    pub distance: f64,
    /// By how much the upper point is farther away than the lower one.
    pub skew: f64,
}

/// The bounds at one θ, for one mini-batch.
pub(super) struct Tolerance<'a> {
    network: &'a Network,
    theta: Parameters<f64>,
    magnitudes: Magnitudes,
    gains: Vec<Vec<f64>>,
    traces: Vec<Trace>,
    loss: f64,
}

impl<'a> Tolerance<'a> {
    pub(super) fn new(
        network: &'a Network,
        theta: &Parameters<f64>,
        samples: &Samples<f64>,
        rows: &[u32],
        team: &Team,
    ) -> Self {
        let traces = team.map(rows.len(), |at| {
            let features = samples.features();
            let mut inputs = vec![0.0; count::<f64>(features) * width::<f64>()];
            // One row in panels of one row is one row after the other.
            samples.gather(&rows[at..=at], &mut inputs, width::<f64>());
            let label = samples.label(rows[at]);
            Trace::new(network, theta, &inputs[..features], label)
        });
        let loss = traces.iter().map(|trace| trace.loss).sum::<f64>() / rows.len() as f64;
        Self {
            network,
            theta: theta.clone(),
            magnitudes: Magnitudes::new(theta),
            gains: gains(theta),
            traces,
            loss,
        }
    }

    /// Bounds of a backprop's errors, its own number format's.
    pub(super) fn backprop(&self, format: Format) -> Vec<f64> {
        let mut bounds = vec![0.0; self.network.layout.len()];
        for trace in &self.traces {
            self.add_own(trace, format, &mut bounds);
        }
        self.finish(&mut bounds, format);
        bounds
    }

    /// Bounds of a finite difference's errors. `increments` has h of every unit, `strides` the step
    /// of every parameter.
    pub(super) fn difference(
        &self,
        config: &DifferenceConfig,
        format: Format,
        increments: &[Vec<f64>],
        strides: &[Stride],
        team: &Team,
    ) -> Vec<f64> {
        let layout = &self.network.layout;
        let parts = team.map(self.traces.len(), |at| {
            let trace = &self.traces[at];
            let mut bounds = vec![0.0; layout.len()];
            self.add_own(trace, format, &mut bounds);
            for (layer, increments) in increments.iter().enumerate() {
                self.add_difference(
                    trace,
                    layer,
                    config,
                    format,
                    increments,
                    strides,
                    &mut bounds,
                );
            }
            bounds
        });
        let mut bounds = vec![0.0; layout.len()];
        for part in parts {
            for (bound, part) in bounds.iter_mut().zip(part) {
                *bound += part;
            }
        }
        self.finish(&mut bounds, format);
        self.add_sums(config, format, strides, &mut bounds);
        bounds
    }

    /// From the rows' sum to their mean, with l2's own roundings and what is below every number.
    fn finish(&self, bounds: &mut [f64], format: Format) {
        let share = 1.0 / self.traces.len() as f64;
        for bound in bounds.iter_mut() {
            *bound = *bound * share + 4.0 * format.least;
        }
        let l2 = 4.0 * format.roundoff * self.network.l2;
        for layer in 0..self.network.layout.layers() {
            for index in self.network.layout.weights(layer) {
                bounds[index] += l2 * self.theta.flat()[index].abs();
            }
        }
    }

    /// What concerns the sum over the rows, and the l2 term's own difference.
    fn add_sums(
        &self,
        config: &DifferenceConfig,
        format: Format,
        strides: &[Stride],
        bounds: &mut [f64],
    ) {
        let (u, l2) = (format.roundoff, self.network.l2);
        let layout = &self.network.layout;
        let plain = config.arithmetic == Arithmetic::Plain;
        let weights = (0..layout.layers()).flat_map(|layer| layout.weights(layer));
        let penalty: f64 = weights
            .map(|index| 0.5 * l2 * self.theta.flat()[index].powi(2))
            .sum();
        let whole = match config.summation {
            Summation::Differences => 0.0,
            // Two sums of B losses and of N squares, each rounded on its way.
            Summation::Losses => {
                let of = |items: usize, sum: f64| CHAIN * (items as f64).sqrt() * sum;
                2.0 * u * (of(self.traces.len(), self.loss) + of(layout.len(), penalty))
                    + ELEMENTARY * u * (self.loss + penalty)
            }
        };
        for layer in 0..layout.layers() {
            for index in layout.weights(layer).chain(layout.biases(layer)) {
                let Stride { distance, skew } = strides[index];
                // The mean of subnormal changes is rounded once more.
                bounds[index] += (whole + 2.0 * format.tiny) / distance;
                if l2 == 0.0 || !layout.weights(layer).contains(&index) {
                    continue;
                }
                let weight = self.theta.flat()[index].abs() + distance;
                let truncated = match config.scheme {
                    Scheme::Forward => 0.5 * l2 * distance,
                    Scheme::Central => 0.5 * l2 * skew.abs(),
                };
                let noise = if plain && config.summation == Summation::Differences {
                    ELEMENTARY * u * l2 * weight * weight / distance
                } else {
                    ELEMENTARY * u * l2 * weight
                };
                bounds[index] += truncated * (1.0 + 16.0 * u) + noise;
            }
        }
    }

    /// Own errors of one sample's δ and a, at the end of a backward pass in `format`.
    fn add_own(&self, trace: &Trace, format: Format, bounds: &mut [f64]) {
        let layout = &self.network.layout;
        let layers = layout.layers();
        let u = format.roundoff;
        // Errors of z and a.
        let (mut ez, mut ea): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
        ea.push(trace.a[0].iter().map(|a| u * a.abs()).collect());
        for layer in 0..layers {
            let weights = self.theta.weights(layer);
            let mut errors = Vec::new();
            for (unit, weights) in weights.outer_iter().enumerate() {
                let of_inputs: f64 = weights
                    .iter()
                    .zip(&ea[layer])
                    .map(|(w, e)| (w * e).powi(2))
                    .sum();
                let walk = if format.foreign {
                    // Another order has other partial sums: none beyond the sum of magnitudes.
                    let terms = weights.iter().zip(&trace.a[layer]);
                    let sum: f64 = terms.map(|(w, a)| (w * a).abs()).sum();
                    let biases = self.theta.biases(layer);
                    let n = weights.len() as f64;
                    n.min(CHAIN * n.sqrt()) / CHAIN
                        * (sum + biases.get(unit).map_or(0.0, |bias| bias.abs()))
                } else {
                    trace.walk[layer][unit]
                };
                errors.push(
                    u * (trace.z[layer][unit].abs() + CHAIN * walk) + CHAIN * of_inputs.sqrt(),
                );
            }
            let values = errors.iter().enumerate().map(|(unit, error)| {
                let growth = error.min(1.0).exp();
                let slope = trace.slope(layer, unit) * growth;
                (slope * error).min(1.0)
                    + ELEMENTARY * u * trace.y[layer][unit]
                    + clamped(trace.z[layer][unit], format)
            });
            ea.push(values.collect());
            ez.push(errors);
        }
        // Errors of δ, downward.
        let mut errors = self.output_errors(trace, format, &ez[layers - 1]);
        for layer in (0..layers).rev() {
            self.add_products(trace, layer, format, &errors, &ea[layer], bounds);
            if layer == 0 {
                break;
            }
            let below = layer - 1;
            let weights = self.theta.weights(layer);
            let mut next = Vec::new();
            for unit in 0..trace.z[below].len() {
                let (mut sum, mut squares, mut walk) = (0.0, 0.0, 0.0);
                for (above, error) in errors.iter().enumerate() {
                    let w = weights[[above, unit]].abs();
                    sum += w * error;
                    squares += (w * error).powi(2);
                    walk += (w * trace.delta[layer][above]).powi(2);
                }
                let n = errors.len() as f64;
                let through = smaller(sum, squares) + u * n.min(CHAIN * n.sqrt()) * f64::sqrt(walk);
                let slope = trace.slope(below, unit);
                let pull = trace.pull[below][unit].abs();
                let lost = clamped(trace.z[below][unit], format)
                    + if format.foreign { 2.0 * u } else { 0.0 };
                let relative = ez[below][unit].min(700.0).exp_m1() + ELEMENTARY * u;
                next.push(
                    (slope * (1.0 + relative) + lost) * through + pull * (slope * relative + lost),
                );
            }
            errors = next;
        }
    }

    /// Errors of δ in the last layer, from those of z.
    fn output_errors(&self, trace: &Trace, format: Format, ez: &[f64]) -> Vec<f64> {
        let last = trace.z.len() - 1;
        let u = format.roundoff;
        let largest = ez.iter().copied().fold(0.0, f64::max);
        let z = || trace.z[last].iter().copied();
        let highest = z().fold(0.0, |most: f64, z| most.max(z.abs()));
        // Softmax clamps the distance from the largest.
        let spread = z().fold(f64::NEG_INFINITY, f64::max) - z().fold(f64::INFINITY, f64::min);
        (0..ez.len())
            .map(|unit| {
                let (y, complement) = (trace.y[last][unit], trace.complement[last][unit]);
                let delta = trace.delta[last][unit].abs();
                let relative = ez[unit].min(700.0).exp_m1() + ELEMENTARY * u;
                let absolute = clamped(trace.z[last][unit], format)
                    + if format.foreign { 2.0 * u } else { 0.0 };
                match self.network.head() {
                    // Two slopes and a residual, each relative to itself.
                    Head::SigmoidQuadratic => delta * 3.0 * relative + 2.0 * absolute,
                    Head::LinearQuadratic => ez[unit] + ELEMENTARY * u * (delta + 1.0),
                    Head::SoftmaxCrossEntropy => {
                        let n = ez.len() as f64;
                        let relative = (2.0 * largest).min(700.0).exp_m1()
                            + u * (2.0 * ELEMENTARY + n + highest * 2.0);
                        let lost = n * clamped(spread, format);
                        y.min(complement).max(delta.min(1.0)) * relative + absolute + lost
                    }
                    _ => delta * relative + absolute,
                }
            })
            .collect()
    }

    /// Adds errors of δ·a: `errors` of δ, `ea` of a, and the sum's own.
    fn add_products(
        &self,
        trace: &Trace,
        layer: usize,
        format: Format,
        errors: &[f64],
        ea: &[f64],
        bounds: &mut [f64],
    ) {
        let layout = &self.network.layout;
        let rows = self.traces.len() as f64;
        let sums = format.roundoff * (ELEMENTARY + rows.min(CHAIN * rows.sqrt()));
        let fan_in = layout.sizes()[layer];
        let weights = &mut bounds[layout.weights(layer)];
        for (unit, row) in weights.chunks_exact_mut(fan_in).enumerate() {
            let delta = trace.delta[layer][unit].abs();
            let per_input = errors[unit] + sums * delta;
            for ((bound, a), e) in row.iter_mut().zip(&trace.a[layer]).zip(ea) {
                *bound += per_input * (a.abs() + e) + delta * e;
            }
        }
        for (unit, bound) in bounds[layout.biases(layer)].iter_mut().enumerate() {
            *bound += errors[unit] + sums * trace.delta[layer][unit].abs();
        }
    }

    /// Adds truncation and noise of the parameters of one layer, of one sample.
    #[allow(clippy::too_many_arguments)]
    fn add_difference(
        &self,
        trace: &Trace,
        layer: usize,
        config: &DifferenceConfig,
        format: Format,
        increments: &[f64],
        strides: &[Stride],
        bounds: &mut [f64],
    ) {
        let layout = &self.network.layout;
        let largest = trace.largest_input(layer);
        let reach: Vec<f64> = increments.iter().map(|h| 2.0 * h * largest).collect();
        let curvatures = of_units(self.network, &self.magnitudes, trace, layer, &reach);
        let noise: Vec<[f64; 2]> = (0..reach.len())
            .map(|unit| self.noise(trace, layer, unit, config, format, reach[unit]))
            .collect();
        let fan_in = layout.sizes()[layer];
        let weights = layout.weights(layer);
        let roundings = 1.0 + format.roundoff * (64.0 + self.traces.len() as f64);
        for (unit, &[second, third]) in curvatures.iter().enumerate() {
            let [fixed, relative] = noise[unit];
            let error = |input: f64, Stride { distance, skew }: Stride| {
                let a = input.abs();
                let truncated = match config.scheme {
                    Scheme::Forward => second * a * a * distance / 2.0,
                    Scheme::Central => {
                        third * a.powi(3) * distance * distance / 24.0
                            + second * a * a * skew.abs() / 2.0
                    }
                };
                // Where truncation is all there is, its own rounding is seen as well.
                truncated * roundings + fixed / distance + relative * a
            };
            for (input, a) in trace.a[layer].iter().enumerate() {
                let index = weights.start + unit * fan_in + input;
                // An input of 0 is left out. An activation of 0 is none: σ is clamped, not 0.
                if layer > 0 || *a != 0.0 {
                    bounds[index] += error(*a, strides[index]);
                }
            }
            if layout.has_bias() {
                let index = weights.end + unit;
                bounds[index] += error(1.0, strides[index]);
            }
        }
    }

    /// The noise of a perturbation of one unit: what is divided by the distance, and what is
    /// relative to the input.
    fn noise(
        &self,
        trace: &Trace,
        layer: usize,
        unit: usize,
        config: &DifferenceConfig,
        format: Format,
        reach: f64,
    ) -> [f64; 2] {
        let u = format.roundoff;
        if config.arithmetic == Arithmetic::Plain {
            let incremental = config.reuse == Reuse::Incremental;
            return [
                2.0 * u * self.rounded_anew(trace, layer, Some(unit), incremental),
                0.0,
            ];
        }
        let depth = self.network.layout.layers() - layer;
        let widths = &self.network.layout.sizes()[layer + 1..];
        let chains: f64 = widths
            .iter()
            .map(|&n| (n as f64).min(CHAIN * (n as f64).sqrt()))
            .sum();
        let kappa = 8.0 * ELEMENTARY * depth as f64 + chains;
        let paths = trace.paths[layer][unit];
        let all: f64 = trace.paths[layer..].iter().flatten().sum();
        // Subnormal changes: each product on its way may lose half the smallest number.
        let mut fixed = format.tiny * (8.0 * depth as f64 + chains) * (1.0 + all);
        let farthest = reach * self.gains[layer][unit];
        let highest = trace.z[layer..].iter().flatten();
        let highest = highest.fold(0.0, |most: f64, z| most.max(z.abs()));
        if farthest > 1.0 && highest + farthest > format.clamp {
            // e^Δz would make up for a σ that the clamp has changed: nothing is promised.
            return [f64::INFINITY, 0.0];
        }
        if farthest > 0.125 {
            // A change that is not small is a difference of losses after all.
            fixed += 2.0 * u * self.rounded_anew(trace, layer, Some(unit), true);
        }
        [fixed, kappa * u * paths]
    }

    /// What a pass rounds anew if unit `unit` of `layer` is perturbed (`None`: every unit from
    /// `layer` on), in u.
    fn rounded_anew(
        &self,
        trace: &Trace,
        layer: usize,
        unit: Option<usize>,
        incremental: bool,
    ) -> f64 {
        let last = trace.z.len() - 1;
        // An update of rank 1 rounds once, a product once a term.
        let chain = |m: usize, k: usize| {
            let updated = incremental && m <= layer + 1;
            trace.z[m][k].abs()
                + if updated {
                    0.0
                } else {
                    CHAIN * trace.walk[m][k]
                }
        };
        let (mut sum, mut squares) = (0.0, 0.0);
        let mut add = |term: f64| {
            sum += term;
            squares += term * term;
        };
        for m in layer..=last {
            for k in 0..trace.z[m].len() {
                if m == layer && unit.is_some_and(|unit| unit != k) {
                    continue;
                }
                // z + Δz, and Δz itself.
                add(2.0 * trace.delta[m][k].abs() * chain(m, k));
                if m < last {
                    add(ELEMENTARY * trace.pull[m][k].abs() * trace.y[m][k]);
                }
            }
        }
        let outputs = trace.z[last].len() as f64;
        let mut losses = (ELEMENTARY + outputs.min(CHAIN * outputs.sqrt())) * trace.loss;
        if self.network.head() == Head::SoftmaxCrossEntropy {
            // The margin is formed from logarithms of sums, each rounded.
            let largest = trace.z[last]
                .iter()
                .fold(1.0, |most: f64, z| most.max(z.abs()));
            losses += trace.complement[last][trace.label]
                * largest
                * (ELEMENTARY + outputs.min(CHAIN * outputs.sqrt()));
        }
        if self.network.head() == Head::LinearQuadratic {
            losses += trace.delta[last]
                .iter()
                .map(|delta| delta.abs())
                .sum::<f64>();
        }
        smaller(sum, squares) + losses
    }

    /// ε of a pass with every parameter perturbed: the mean over the rows, in u.
    pub(super) fn noise_of_a_pass(&self) -> f64 {
        let rows = self.traces.iter();
        rows.map(|trace| self.rounded_anew(trace, 0, None, false))
            .sum::<f64>()
            / self.traces.len() as f64
    }

    /// Bounds of the mean of |L″| and |L‴| over the rows along θ + t·`direction`, at θ, and the
    /// largest |dz/dt|.
    pub(super) fn along(&self, direction: &Parameters<f64>) -> Along {
        super::along::of(self.network, &self.theta, &self.traces, direction)
    }
}

pub(super) use super::along::Along;

/// How much farther than a unit an output can move, for every unit of every layer: the product of
/// the largest sums of weights above it, each with a slope of 1/4.
fn gains(theta: &Parameters<f64>) -> Vec<Vec<f64>> {
    let layers = theta.layout().layers();
    let mut beyond = 1.0;
    let mut gains = vec![vec![1.0; theta.layout().sizes()[layers]]];
    for above in (1..layers).rev() {
        let weights = theta.weights(above);
        let columns = weights.columns().into_iter().map(|column| {
            let largest = column.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
            (0.25 * largest * beyond).max(1.0)
        });
        gains.push(columns.collect());
        let sums = weights
            .outer_iter()
            .map(|row| row.iter().map(|w| w.abs()).sum());
        beyond *= 0.25 * sums.fold(0.0, f64::max);
    }
    gains.reverse();
    gains
}

/// What σ(z), 1 − σ(z) and σ′(z) may be off where z lies beyond the clamp.
fn clamped(z: f64, format: Format) -> f64 {
    if z.abs() > format.clamp {
        2.0 * (-format.clamp).exp()
    } else {
        0.0
    }
}

/// Σ, or Λ·√Σ² where the terms are many.
fn smaller(sum: f64, squares: f64) -> f64 {
    sum.min(CHAIN * squares.sqrt())
}
