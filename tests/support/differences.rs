//! What the kernels of finite differences perform, as scalar code: the twin of
//! `gradient/difference/` and of the kernels that it runs, one worker, operation by operation.
//!
//! Left out, here as in `gradient/operation_counts/finite_difference.rs`: padding and its masks, signs and
//! comparisons, the choice of increments, the optimizer's update, the loss at θ where only the
//! report of a run needs it. Changes without cancellation are taken in their forms for |Δz| ≤ 1/64,
//! or for |Δz| ≤ √u/2 ([`Reach`]).
//! Every sum runs in the kernels' order, so over [`super::exact::Exact`] the bits are theirs.

// As in the kernels: loops over units and rows index several arrays at once.
#![allow(clippy::needless_range_loop)]

use nplus1::gradient::finite_difference::{DifferenceConfig, Reuse, Scheme, Summation};
use nplus1::numeric::Real;
use nplus1::numeric::output_loss::OutputLoss;

use super::kernels::{Batch, Form, chain, sigmoid_pair, softplus};
use nplus1::textbook::TextbookNetwork;
use nplus1::textbook::counting::Number;

/// Which form changes are computed in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reach {
    /// Perturbed values, subtracted at the end.
    Plain,
    /// Series of two terms.
    Tiny,
    /// e^Δz − 1.
    Close,
    /// Rates of change, per 1: forward mode.
    Rate,
}

/// h of each unit, `[l][j]`, l from 1.
pub fn increments<R: Real>(
    net: &TextbookNetwork,
    theta: &[f64],
    config: &DifferenceConfig,
) -> Vec<Vec<f64>> {
    let h = |l: usize, j: usize| {
        let row = net.weights(l).start + j * net.sizes[l - 1];
        let weights = theta[row..row + net.sizes[l - 1]].iter();
        let biases = theta[net.biases(l)].get(j);
        let largest = weights
            .chain(biases)
            .fold(0.0, |most: f64, w| most.max(R::from_f64(*w).to_f64().abs()));
        let h: R = (config.increment).for_unit(config.scheme, config.arithmetic, largest, f64::NAN);
        h.to_f64()
    };
    (0..=net.layers())
        .map(|l| match l {
            0 => Vec::new(),
            l => (0..net.sizes[l]).map(|j| h(l, j)).collect(),
        })
        .collect()
}

/// A gradient `(N,)`, l2 included, by the twin of the engine that `config` asks for; `width` is P,
/// the columns of a panel.
pub fn gradient<N: Number>(
    net: &TextbookNetwork,
    theta: &[N],
    increments: &[Vec<f64>],
    config: &DifferenceConfig,
    reach: Reach,
    batch: &Batch<'_>,
    width: usize,
) -> Vec<N> {
    let twin = Twin::new(net, theta, increments, config, reach, batch, width);
    match config.reuse {
        Reuse::Full | Reuse::Prefix => twin.whole(),
        Reuse::Incremental => twin.incremental(),
    }
}

/// The incremental gradient once more, with a change of its own for every input of every unit, zeros
/// included.
pub fn gradient_input_by_input<N: Number>(
    net: &TextbookNetwork,
    theta: &[N],
    increments: &[Vec<f64>],
    config: &DifferenceConfig,
    reach: Reach,
    batch: &Batch<'_>,
    width: usize,
) -> Vec<N> {
    let mut twin = Twin::new(net, theta, increments, config, reach, batch, width);
    twin.merges = false;
    twin.incremental()
}

/// The gradient by node perturbation: a change for each unit of each row, times the unit's inputs.
/// `config` is the difference that a bias would have.
pub fn gradient_by_units<N: Number>(
    net: &TextbookNetwork,
    theta: &[N],
    increments: &[Vec<f64>],
    config: &DifferenceConfig,
    reach: Reach,
    batch: &Batch<'_>,
    width: usize,
) -> Vec<N> {
    let mut twin = Twin::new(net, theta, increments, config, reach, batch, width);
    twin.of_units = true;
    twin.incremental()
}

/// The loss of one row at the outputs' pre-activations `z`, and its forward difference by each of
/// them, in plain arithmetic.
pub fn output_differences<N: Number>(head: OutputLoss, z: &[N], label: u16, h: f64) -> (N, Vec<N>) {
    let units = Units {
        z: z.to_vec(),
        y: z.to_vec(),
        one_minus_y: z.to_vec(),
    };
    let outputs = Outputs {
        head,
        reach: Reach::Plain,
        units: &units,
        label,
    };
    let base = outputs.base();
    let change = |k: usize| {
        let side = |h: N| {
            let dz = h * N::of(1.0);
            outputs.share(outputs.add_term(N::of(0.0), k, base[k] + dz))
        };
        side(N::of(h)) - side(N::of(0.0))
    };
    (outputs.total(|k| z[k]), (0..z.len()).map(change).collect())
}

pub(super) struct Twin<'a, N> {
    net: &'a TextbookNetwork,
    theta: &'a [N],
    increments: Vec<Vec<N>>,
    config: &'a DifferenceConfig,
    reach: Reach,
    batch: &'a Batch<'a>,
    width: usize,
    /// 1/B.
    share: N,
    /// Whether equal inputs of a unit share their change, and zeros have none.
    merges: bool,
    /// Whether units are perturbed, and not their parameters.
    of_units: bool,
}

/// The units of one layer in one row: z, y = σ(z), ȳ = 1 − y (of a softmax p, 1 − p).
#[derive(Clone)]
pub(super) struct Units<N> {
    pub z: Vec<N>,
    pub y: Vec<N>,
    one_minus_y: Vec<N>,
}

/// What the changes of a row start from.
struct Start<N> {
    layers: Vec<Units<N>>,
    /// The loss at θ, in a forward difference.
    loss: N,
    /// What a′ of the units below the outputs is compared with, in plain arithmetic.
    still: Vec<N>,
    /// Where perturbed outputs move from, in plain arithmetic.
    base: Vec<N>,
}

/// What a unit's inputs are worth.
struct Values<N> {
    /// For each input the place of its value; `None`: it is 0.
    slots: Vec<Option<usize>>,
    values: Vec<N>,
}

impl<'a, N: Number> Twin<'a, N> {
    pub(super) fn new(
        net: &'a TextbookNetwork,
        theta: &'a [N],
        increments: &[Vec<f64>],
        config: &'a DifferenceConfig,
        reach: Reach,
        batch: &'a Batch<'a>,
        width: usize,
    ) -> Self {
        let increments = (increments.iter())
            .map(|layer| layer.iter().map(|&h| N::of(h)).collect())
            .collect();
        Self {
            net,
            theta,
            increments,
            config,
            reach,
            batch,
            width,
            share: N::of(1.0) / N::of(batch.inputs.len() as f64),
            merges: true,
            of_units: false,
        }
    }

    fn is_plain(&self) -> bool {
        self.reach == Reach::Plain
    }

    pub(super) fn rows(&self) -> usize {
        self.batch.inputs.len()
    }

    // ---- Passes --------------------------------------------------------------------------------

    /// The inputs of row `s`, as they are read.
    pub(super) fn read(&self, s: usize) -> Vec<N> {
        let read = |&x: &f64| match self.batch.form {
            Form::Bytes { divisor } => (N::of(x) - N::of(0.0)) / N::of(divisor),
            Form::Sparse | Form::Numbers => N::of(x),
        };
        self.batch.inputs[s].iter().map(read).collect()
    }

    /// z of layer l, from the activations below.
    pub(super) fn products(&self, theta: &[N], l: usize, below: &[N]) -> Vec<N> {
        let fan_in = self.net.sizes[l - 1];
        let sparse = l == 1 && self.batch.form == Form::Sparse;
        let z = |j: usize| {
            let start = match self.net.bias {
                true => theta[self.net.biases(l).start + j],
                false => N::of(0.0),
            };
            let row = &theta[self.net.weights(l).start + j * fan_in..][..fan_in];
            let pairs = below.iter().copied().zip(row.iter().copied());
            chain(start, pairs.filter(|(x, _)| !sparse || x.value() != 0.0))
        };
        (0..self.net.sizes[l]).map(z).collect()
    }

    /// Layers `first` to L of one row; the losses are left to who wants them.
    pub(super) fn pass(&self, theta: &[N], first: usize, below: &[N]) -> Vec<Units<N>> {
        let nothing = Units {
            z: Vec::new(),
            y: Vec::new(),
            one_minus_y: Vec::new(),
        };
        let mut layers: Vec<Units<N>> = vec![nothing; first];
        for l in first..=self.net.layers() {
            let below = if l == first { below } else { &layers[l - 1].y };
            let z = self.products(theta, l, below);
            let (y, one_minus_y) = match l < self.net.layers() {
                true => z.iter().map(|&z| sigmoid_pair(z)).unzip(),
                false => (Vec::new(), Vec::new()),
            };
            layers.push(Units { z, y, one_minus_y });
        }
        layers
    }

    /// `RowLosses`.
    pub(super) fn loss(&self, s: usize, z: &[N]) -> N {
        let outputs = Outputs {
            head: self.net.output_loss,
            reach: Reach::Plain,
            units: &Units {
                z: z.to_vec(),
                y: z.to_vec(),
                one_minus_y: z.to_vec(),
            },
            label: self.batch.labels[s],
        };
        outputs.total(|k| z[k])
    }

    // ---- Whole passes --------------------------------------------------------------------------

    fn whole(&self) -> Vec<N> {
        let net = self.net;
        let inputs: Vec<Vec<N>> = (0..self.rows()).map(|s| self.read(s)).collect();
        let forward = self.config.scheme == Scheme::Forward;
        // Activations below each layer, and the losses at θ.
        let (mut below, mut losses) = (Vec::new(), Vec::new());
        for s in 0..self.rows() {
            let mut kept = vec![Vec::new(), inputs[s].clone()];
            if forward {
                let layers = self.pass(self.theta, 1, &inputs[s]);
                losses.push(self.loss(s, &layers[net.layers()].z));
                kept.extend(layers[1..].iter().map(|units| units.y.clone()));
            } else if self.config.reuse == Reuse::Prefix {
                for l in 1..net.layers() {
                    let z = self.products(self.theta, l, &kept[l]);
                    kept.push(z.iter().map(|&z| sigmoid_pair(z).0).collect());
                }
            }
            below.push(kept);
        }
        let evaluate = |theta: &[N], l: usize| -> Vec<N> {
            let first = if self.config.reuse == Reuse::Full {
                1
            } else {
                l
            };
            (0..self.rows())
                .map(|s| {
                    let layers = self.pass(theta, first, &below[s][first]);
                    self.loss(s, &layers[net.layers()].z)
                })
                .collect()
        };
        let mut theta = self.theta.to_vec();
        let mut gradient = self.theta.to_vec();
        for l in 1..=net.layers() {
            for index in net.weights(l).chain(net.biases(l)) {
                let is_weight = net.weights(l).contains(&index);
                let unit = match is_weight {
                    true => (index - net.weights(l).start) / net.sizes[l - 1],
                    false => index - net.biases(l).start,
                };
                let (at, h) = (self.theta[index], self.increments[l][unit]);
                let above = at + h;
                let below = if forward { at } else { at - h };
                let change = match self.config.summation {
                    Summation::Differences => {
                        theta[index] = above;
                        let upper = evaluate(&theta, l);
                        theta[index] = below;
                        let lower = if forward {
                            losses.clone()
                        } else {
                            evaluate(&theta, l)
                        };
                        let pairs = upper.iter().zip(&lower);
                        let sum = pairs.fold(N::of(0.0), |sum, (&a, &b)| sum + (a - b));
                        let penalty = match net.l2 != 0.0 && is_weight {
                            true => {
                                let half = N::of(0.5 * net.l2);
                                half * (above * above) - half * (below * below)
                            }
                            false => N::of(0.0),
                        };
                        sum * self.share() + penalty
                    }
                    Summation::Losses => {
                        theta[index] = above;
                        let upper = self.objective(&evaluate(&theta, l), &theta);
                        theta[index] = below;
                        let lower = if forward {
                            self.objective(&losses, &theta)
                        } else {
                            self.objective(&evaluate(&theta, l), &theta)
                        };
                        upper - lower
                    }
                };
                theta[index] = at;
                gradient[index] = change / (above - below);
            }
        }
        gradient
    }

    /// 1/B: one division a gradient.
    pub(super) fn share(&self) -> N {
        self.share
    }

    /// The mean of the losses, with ½λ′ Σ w².
    fn objective(&self, losses: &[N], theta: &[N]) -> N {
        let zero = N::of(0.0);
        let sum = losses.iter().fold(zero, |sum, &loss| sum + loss);
        let mean = sum * self.share();
        if self.net.l2 == 0.0 {
            return mean;
        }
        let mut squares = zero;
        for l in 1..=self.net.layers() {
            let rows: Vec<&[N]> = theta[self.net.weights(l)]
                .chunks(self.net.sizes[l - 1])
                .collect();
            for panel in rows.chunks(self.width) {
                let units = panel
                    .iter()
                    .map(|row| row.iter().fold(zero, |sum, &w| w.fma(w, sum)));
                squares = squares + units.fold(zero, |sum, unit| sum + unit);
            }
        }
        N::of(0.5 * self.net.l2).fma(squares, mean)
    }

    // ---- Incremental ---------------------------------------------------------------------------

    fn incremental(&self) -> Vec<N> {
        let (net, zero) = (self.net, N::of(0.0));
        let mut sums = vec![zero; self.theta.len()];
        for s in 0..self.rows() {
            // Every panel of the first layer reads the inputs, and so does the search for equals.
            let panels = net.sizes[1].div_ceil(self.width);
            let inputs = (0..=panels).map(|_| self.read(s)).last().expect("a read");
            let mut layers = self.pass(self.theta, 1, &inputs);
            self.activate_outputs(layers.last_mut().expect("outputs"));
            let loss = match self.config.scheme {
                Scheme::Forward => self.loss(s, &layers[net.layers()].z),
                Scheme::Central => zero,
            };
            layers[0].y = inputs;
            let still: Vec<N> = match self.is_plain() && net.layers() > 1 {
                true => (layers[net.layers() - 1].z.iter())
                    .map(|z| z.sigmoid())
                    .collect(),
                false => Vec::new(),
            };
            let base = match self.is_plain() {
                true => self.outputs(s, &layers).base(),
                false => Vec::new(),
            };
            let start = Start {
                layers,
                loss,
                still,
                base,
            };
            let layers = &start.layers;
            for l in 1..=net.layers() {
                if self.of_units {
                    for j in 0..net.sizes[l] {
                        let change = self.change(s, l, j, N::of(1.0), &start);
                        let row = net.weights(l).start + j * net.sizes[l - 1];
                        let sparse = l == 1 && self.batch.form == Form::Sparse;
                        for (i, input) in layers[l - 1].y.iter().enumerate() {
                            if !sparse || input.value() != 0.0 {
                                sums[row + i] = input.fma(change, sums[row + i]);
                            }
                        }
                        if net.bias {
                            let index = net.biases(l).start + j;
                            sums[index] = sums[index] + change;
                        }
                    }
                    continue;
                }
                let Values { slots, values } = self.values(l, &layers[l - 1].y);
                for j in 0..net.sizes[l] {
                    let change = |value: N| self.change(s, l, j, value, &start);
                    let changes: Vec<N> = values.iter().map(|&value| change(value)).collect();
                    for (i, slot) in slots.iter().enumerate() {
                        if let Some(slot) = *slot {
                            let index = net.weights(l).start + j * net.sizes[l - 1] + i;
                            sums[index] = sums[index] + changes[slot];
                        }
                    }
                    if net.bias {
                        let index = net.biases(l).start + j;
                        sums[index] = sums[index] + change(N::of(1.0));
                    }
                }
            }
        }
        for l in 1..=net.layers() {
            for j in 0..net.sizes[l] {
                let h = self.increments[l][j];
                let factor = self.share() / self.distance(h);
                let row = net.weights(l).start + j * net.sizes[l - 1];
                for index in row..row + net.sizes[l - 1] {
                    sums[index] = sums[index] * factor;
                    if net.l2 != 0.0 {
                        sums[index] = sums[index] + self.penalty(self.theta[index], h);
                    }
                }
                if net.bias {
                    let index = net.biases(l).start + j;
                    sums[index] = sums[index] * factor;
                }
            }
        }
        sums
    }

    fn distance(&self, h: N) -> N {
        match self.config.scheme {
            Scheme::Forward => h,
            Scheme::Central => h + h,
        }
    }

    /// The difference quotient of ½λ′·w².
    fn penalty(&self, w: N, h: N) -> N {
        if self.reach == Reach::Rate || self.of_units {
            return N::of(self.net.l2) * w;
        }
        let half = N::of(0.5 * self.net.l2);
        let square = |w: N| half * (w * w);
        let change = match (self.config.scheme, self.is_plain()) {
            (Scheme::Forward, true) => square(w + h) - square(w),
            (Scheme::Central, true) => square(w + h) - square(w - h),
            (Scheme::Forward, false) => half * (h * (w + w + h)),
            (Scheme::Central, false) => half * ((h + h) * (w + w)),
        };
        change / self.distance(h)
    }

    /// `Pairs` or `Probabilities` of the outputs.
    fn activate_outputs(&self, outputs: &mut Units<N>) {
        let zero = N::of(0.0);
        match self.net.output_loss {
            OutputLoss::LinearQuadratic => {
                (outputs.y, outputs.one_minus_y) = (outputs.z.clone(), outputs.z.clone());
            }
            OutputLoss::SoftmaxCrossEntropy => {
                let z = &outputs.z;
                let largest = z.iter().copied().reduce(N::max).expect("an output");
                let powers: Vec<N> = z.iter().map(|&z| (z - largest).exp()).collect();
                let mut before = vec![zero];
                for &power in &powers {
                    before.push(before[before.len() - 1] + power);
                }
                let mut after = zero;
                (outputs.y, outputs.one_minus_y) = (powers.clone(), powers.clone());
                for k in (0..powers.len()).rev() {
                    let others = before[k] + after;
                    after = after + powers[k];
                    let sum = others + powers[k];
                    outputs.one_minus_y[k] = others / sum;
                    outputs.y[k] = powers[k] / sum;
                }
            }
            _ => {
                let pairs = outputs.z.iter().map(|&z| sigmoid_pair(z));
                (outputs.y, outputs.one_minus_y) = pairs.unzip();
            }
        }
    }

    /// What the inputs of layer l change: equal inputs of the first layer alike, zeros nothing.
    fn values(&self, l: usize, inputs: &[N]) -> Values<N> {
        if l > 1 || !self.merges {
            return Values {
                slots: (0..inputs.len()).map(Some).collect(),
                values: inputs.to_vec(),
            };
        }
        let mut values: Vec<N> = Vec::new();
        let slots = inputs.iter().map(|&input| {
            let equal = |value: &N| value.value() == input.value();
            (input.value() != 0.0).then(|| {
                values.iter().position(equal).unwrap_or_else(|| {
                    values.push(input);
                    values.len() - 1
                })
            })
        });
        Values {
            slots: slots.collect(),
            values,
        }
    }

    /// The change of row `s`'s loss when unit j of layer l has one input worth `value` moved.
    fn change(&self, s: usize, l: usize, j: usize, value: N, start: &Start<N>) -> N {
        let layers = &start.layers;
        let outputs = self.outputs(s, layers);
        let zero = N::of(0.0);
        let side = |h: N| {
            let dz = h * value;
            match self.net.layers() - l {
                0 => {
                    let point = match self.is_plain() {
                        true => start.base[j] + dz,
                        false => dz,
                    };
                    outputs.share(outputs.add_term(zero, j, point))
                }
                1 => {
                    let change = match self.is_plain() {
                        true => (layers[l].z[j] + dz).sigmoid() - start.still[j],
                        false => self.unit(&layers[l], j, dz),
                    };
                    outputs.total(|k| self.rank_one(l + 1, k, j, change, outputs.units.z[k]))
                }
                _ => {
                    let change = self.unit(&layers[l], j, dz);
                    let z = self.follow(l, j, change, layers);
                    outputs.total(|k| z[k])
                }
            }
        };
        let h = self.increments[l][j];
        match self.config.scheme {
            Scheme::Central => side(h) - side(-h),
            Scheme::Forward if !self.is_plain() => side(h),
            // The share that changes has no base among the rows' losses.
            Scheme::Forward if l == self.net.layers() => side(h) - side(zero),
            Scheme::Forward => side(h) - start.loss,
        }
    }

    fn outputs<'u>(&self, s: usize, layers: &'u [Units<N>]) -> Outputs<'u, N> {
        Outputs {
            head: self.net.output_loss,
            reach: self.reach,
            units: &layers[self.net.layers()],
            label: self.batch.labels[s],
        }
    }

    /// z + Δz, or Δz.
    fn moved(&self, z: N, dz: N) -> N {
        if self.is_plain() { z + dz } else { dz }
    }

    /// Δa of unit j of a layer.
    fn unit(&self, units: &Units<N>, j: usize, dz: N) -> N {
        let next = self.activated(units, j, self.moved(units.z[j], dz));
        if self.is_plain() {
            next - units.y[j]
        } else {
            next
        }
    }

    /// σ(z′), or its change.
    fn activated(&self, units: &Units<N>, j: usize, point: N) -> N {
        if self.is_plain() {
            sigmoid_pair(point).0
        } else {
            sigmoid_change(self.reach, units.y[j], units.one_minus_y[j], point)
        }
    }

    /// Unit k of layer l, whose input j moves by `change`: z′, or Δz.
    fn rank_one(&self, l: usize, k: usize, j: usize, change: N, z: N) -> N {
        let weight = self.theta[self.net.weights(l).start + k * self.net.sizes[l - 1] + j];
        if self.is_plain() {
            weight.fma(change, z)
        } else {
            weight * change
        }
    }

    /// From Δa of unit j of layer l to z′ (or Δz) of the outputs, two layers above or more.
    fn follow(&self, l: usize, j: usize, change: N, layers: &[Units<N>]) -> Vec<N> {
        let net = self.net;
        let next = &layers[l + 1];
        let activated = (0..net.sizes[l + 1])
            .map(|k| self.activated(next, k, self.rank_one(l + 1, k, j, change, next.z[k])));
        let mut below: Vec<N> = activated.collect();
        for m in l + 2..=net.layers() {
            // The bias is one more input, of 1; its change is 0.
            below.push(N::of(f64::from(u8::from(self.is_plain()))));
            let z: Vec<N> = (0..net.sizes[m])
                .map(|k| {
                    let row = &self.theta[net.weights(m).start + k * net.sizes[m - 1]..];
                    let bias = match net.bias {
                        true => self.theta[net.biases(m).start + k],
                        false => N::of(0.0),
                    };
                    let row = row[..net.sizes[m - 1]].iter().copied().chain([bias]);
                    chain(N::of(0.0), row.zip(below.iter().copied()))
                })
                .collect();
            below = match m < net.layers() {
                true => (0..z.len())
                    .map(|k| self.activated(&layers[m], k, z[k]))
                    .collect(),
                false => z,
            };
        }
        below
    }
}

/// Δσ.
fn sigmoid_change<N: Number>(reach: Reach, y: N, one_minus_y: N, dz: N) -> N {
    let slope = y * one_minus_y;
    if reach == Reach::Rate {
        return slope * dz;
    }
    if reach == Reach::Tiny {
        let bend = N::of(0.5) - y;
        return slope * dz * dz.fma(bend, N::of(1.0));
    }
    let e = dz.exp_m1_near();
    slope * e / y.fma(e, N::of(1.0))
}

/// softplus(z + x) − softplus(z), where y = σ(z).
fn entropy_change<N: Number>(reach: Reach, y: N, one_minus_y: N, x: N) -> N {
    if reach == Reach::Rate {
        return y * x;
    }
    if reach == Reach::Tiny {
        return y * x * x.fma(N::of(0.5) * one_minus_y, N::of(1.0));
    }
    (y * x.exp_m1_near()).ln_1p()
}

/// ln(e^a + e^b).
fn log_sum<N: Number>(a: N, b: N) -> N {
    a.max(b) + (-(a - b).abs()).exp().ln_1p()
}

/// The outputs of one row.
struct Outputs<'a, N> {
    head: OutputLoss,
    reach: Reach,
    units: &'a Units<N>,
    label: u16,
}

impl<N: Number> Outputs<'_, N> {
    /// `sum`, plus output k's share of the loss at z′ = `point` (of a quadratic loss twice its share), or
    /// the change of its share when z changes by `point`.
    fn add_term(&self, sum: N, k: usize, point: N) -> N {
        let plain = self.reach == Reach::Plain;
        let hot = match self.head {
            OutputLoss::Logistic => self.label == 1,
            _ => usize::from(self.label) == k,
        };
        let half = N::of(0.5);
        let (y, one_minus_y) = (self.units.y[k], self.units.one_minus_y[k]);
        match (self.head, plain) {
            (OutputLoss::SigmoidQuadratic, true) => {
                let residual = if hot { -point } else { point }.sigmoid();
                residual.fma(residual, sum)
            }
            (OutputLoss::SigmoidQuadratic, false) => {
                let change = sigmoid_change(self.reach, y, one_minus_y, point);
                let residual = if hot { -one_minus_y } else { y };
                if self.reach == Reach::Rate {
                    return change.fma(residual, sum);
                }
                change.fma(half.fma(change, residual), sum)
            }
            (OutputLoss::LinearQuadratic, true) => {
                let residual = point - N::of(f64::from(hot));
                (half * residual).fma(residual, sum)
            }
            (OutputLoss::LinearQuadratic, false) => {
                let residual = self.units.z[k] - N::of(f64::from(hot));
                if self.reach == Reach::Rate {
                    return point.fma(residual, sum);
                }
                point.fma(half.fma(point, residual), sum)
            }
            // Of a softmax: of its one output that moves, as a sigmoid of the margin.
            (_, true) => sum + softplus(if hot { -point } else { point }),
            (_, false) if hot => sum + entropy_change(self.reach, one_minus_y, y, -point),
            (_, false) => sum + entropy_change(self.reach, y, one_minus_y, point),
        }
    }

    /// Where each output moves from if it is the one perturbed, in plain arithmetic: z, of a softmax
    /// the margin z_k − ln Σ_{j≠k} e^z_j.
    fn base(&self) -> Vec<N> {
        let z = &self.units.z;
        if self.head != OutputLoss::SoftmaxCrossEntropy {
            return z.clone();
        }
        let margin = |k: usize| {
            let others = (0..z.len()).filter(|&j| j != k).map(|j| z[j]);
            z[k] - others.reduce(log_sum).expect("two classes")
        };
        (0..z.len()).map(margin).collect()
    }

    /// The loss, or a share of it, from sums of terms.
    fn share(&self, sum: N) -> N {
        match (self.head, self.reach) {
            (OutputLoss::SigmoidQuadratic, Reach::Plain) => N::of(0.5) * sum,
            _ => sum,
        }
    }

    /// The row's loss at z′ = `point(k)`, or its change when z changes by `point(k)`.
    fn total(&self, point: impl Fn(usize) -> N) -> N {
        let zero = N::of(0.0);
        let count = self.units.z.len();
        if self.head != OutputLoss::SoftmaxCrossEntropy {
            let sum = (0..count).fold(zero, |sum, k| self.add_term(sum, k, point(k)));
            return self.share(sum);
        }
        let target = usize::from(self.label);
        let at_target = point(target);
        let others = (0..count).filter(|&k| k != target);
        if self.reach == Reach::Plain {
            let margin = others.map(|k| zero + point(k)).reduce(log_sum);
            return softplus(margin.expect("two classes") - (zero + at_target));
        }
        let sum = others.fold(zero, |sum, k| {
            let x = point(k) - at_target;
            let moved = match self.reach {
                Reach::Rate => x,
                _ => x.exp_m1_near(),
            };
            self.units.y[k].fma(moved, sum)
        });
        match self.reach {
            Reach::Rate => sum,
            _ => sum.ln_1p(),
        }
    }
}
