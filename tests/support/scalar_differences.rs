//! The scalar twins of finite differences, node perturbation and incremental forward mode
//! (`gradient/finite_difference/` and its kernels): they perform the operations of one worker, one
//! by one.
//!
//! As in `gradient/operation_counts/finite_difference.rs`, these are not counted: padding and its
//! masks, signs and comparisons, the choice of increments, the optimizer's update, and the loss at
//! θ where only the report of a run needs it. Cancellation-free changes are computed by the
//! formulas for |Δz| ≤ 1/64 or for |Δz| ≤ √u/2 ([`ChangeForm`]). Every sum runs in the kernels'
//! order, so over [`super::kernel_number::KernelNumber`] the results have the kernels' bits.

// As in the kernels, loops over units and rows index several arrays at once.
#![allow(clippy::needless_range_loop)]

use nplus1::gradient::finite_difference::{DifferenceConfig, Reuse, Scheme, Summation};
use nplus1::numeric::Real;
use nplus1::numeric::output_loss::OutputLoss;

use super::scalar_backprop::{Batch, InputForm, chain, sigmoid_pair, softplus};
use nplus1::textbook::TextbookNetwork;
use nplus1::textbook::counting::Number;

/// The formulas by which changes are computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ChangeForm {
    /// Plain arithmetic: perturbed values, subtracted at the end.
    Plain,
    /// Cancellation-free, for |Δz| ≤ √u/2: series of two terms.
    Tiny,
    /// Cancellation-free, for |Δz| ≤ 1/64: by e^Δz − 1.
    Close,
    /// Derivatives (changes per unit of increment), for forward mode.
    Rate,
}

/// Returns the increment h of unit j of layer l at `[l][j]`, for l from 1.
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

/// Returns the gradient `(N,)`, with the l2 term, by the twin of the engine for `config`; `width`
/// is P, the number of columns of a panel.
pub fn gradient<N: Number>(
    net: &TextbookNetwork,
    theta: &[N],
    increments: &[Vec<f64>],
    config: &DifferenceConfig,
    form: ChangeForm,
    batch: &Batch<'_>,
    width: usize,
) -> Vec<N> {
    let twin = Twin::new(net, theta, increments, config, form, batch, width);
    match config.reuse {
        Reuse::Full | Reuse::Prefix => twin.whole(),
        Reuse::Incremental => twin.incremental(),
    }
}

/// Returns the incremental gradient, with a separate change for every input of every unit: equal
/// inputs are not shared and zeros not skipped.
pub fn gradient_input_by_input<N: Number>(
    net: &TextbookNetwork,
    theta: &[N],
    increments: &[Vec<f64>],
    config: &DifferenceConfig,
    form: ChangeForm,
    batch: &Batch<'_>,
    width: usize,
) -> Vec<N> {
    let mut twin = Twin::new(net, theta, increments, config, form, batch, width);
    twin.shares_equal_inputs = false;
    twin.incremental()
}

/// Returns the gradient by node perturbation: one change for each unit of each row, times the
/// unit's inputs. `config` is the difference by which a bias would be perturbed.
pub fn gradient_by_units<N: Number>(
    net: &TextbookNetwork,
    theta: &[N],
    increments: &[Vec<f64>],
    config: &DifferenceConfig,
    form: ChangeForm,
    batch: &Batch<'_>,
    width: usize,
) -> Vec<N> {
    let mut twin = Twin::new(net, theta, increments, config, form, batch, width);
    twin.perturbs_units = true;
    twin.incremental()
}

/// Returns the loss of one row at the outputs' pre-activations `z`, and its forward difference in
/// each of them, in plain arithmetic.
pub fn output_differences<N: Number>(
    output_loss: OutputLoss,
    z: &[N],
    label: u16,
    h: f64,
) -> (N, Vec<N>) {
    let units = Units {
        z: z.to_vec(),
        y: z.to_vec(),
        one_minus_y: z.to_vec(),
    };
    let outputs = Outputs {
        output_loss,
        form: ChangeForm::Plain,
        units: &units,
        label,
    };
    let base = outputs.base();
    let change = |k: usize| {
        let side = |h: N| {
            let dz = h * N::of(1.0);
            outputs.scaled(outputs.add_term(N::of(0.0), k, base[k] + dz))
        };
        side(N::of(h)) - side(N::of(0.0))
    };
    (outputs.total(|k| z[k]), (0..z.len()).map(change).collect())
}

/// The scalar twin of one gradient.
pub(super) struct Twin<'a, N> {
    net: &'a TextbookNetwork,
    theta: &'a [N],
    increments: Vec<Vec<N>>,
    config: &'a DifferenceConfig,
    form: ChangeForm,
    batch: &'a Batch<'a>,
    width: usize,
    /// 1/B.
    inverse_rows: N,
    /// Whether equal inputs of a unit share one change and zeros are skipped.
    shares_equal_inputs: bool,
    /// Whether pre-activations are perturbed instead of parameters.
    perturbs_units: bool,
}

/// The units of one layer in one row: z, y = σ(z) and 1 − y; for a softmax, z, p and 1 − p.
#[derive(Clone)]
pub(super) struct Units<N> {
    pub z: Vec<N>,
    pub y: Vec<N>,
    one_minus_y: Vec<N>,
}

/// The unperturbed values of a row.
struct BaseValues<N> {
    layers: Vec<Units<N>>,
    /// The loss at θ, in a forward difference.
    loss: N,
    /// The activations of the last hidden layer by the one-sided sigmoid, in plain arithmetic.
    last_hidden: Vec<N>,
    /// The outputs' values ([`Outputs::base`]), in plain arithmetic.
    outputs: Vec<N>,
}

/// The distinct values of a layer's inputs.
struct SlotValues<N> {
    /// The index in `values` of each input's value; `None` if the input is 0.
    slots: Vec<Option<usize>>,
    values: Vec<N>,
}

impl<'a, N: Number> Twin<'a, N> {
    pub(super) fn new(
        net: &'a TextbookNetwork,
        theta: &'a [N],
        increments: &[Vec<f64>],
        config: &'a DifferenceConfig,
        form: ChangeForm,
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
            form,
            batch,
            width,
            inverse_rows: N::of(1.0) / N::of(batch.inputs.len() as f64),
            shares_equal_inputs: true,
            perturbs_units: false,
        }
    }

    fn is_plain(&self) -> bool {
        self.form == ChangeForm::Plain
    }

    pub(super) fn rows(&self) -> usize {
        self.batch.inputs.len()
    }

    // ---- Passes --------------------------------------------------------------------------------

    /// Returns the inputs of row `s` as the kernels read them.
    pub(super) fn read(&self, s: usize) -> Vec<N> {
        let read = |&x: &f64| match self.batch.form {
            InputForm::Bytes { divisor } => (N::of(x) - N::of(0.0)) / N::of(divisor),
            InputForm::Sparse | InputForm::Numbers => N::of(x),
        };
        self.batch.inputs[s].iter().map(read).collect()
    }

    /// Returns z of layer l from the activations below it.
    pub(super) fn products(&self, theta: &[N], l: usize, below: &[N]) -> Vec<N> {
        let fan_in = self.net.sizes[l - 1];
        let sparse = l == 1 && self.batch.form == InputForm::Sparse;
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

    /// Computes layers `first` to L of one row, but not its loss.
    pub(super) fn pass(&self, theta: &[N], first: usize, below: &[N]) -> Vec<Units<N>> {
        let empty = Units {
            z: Vec::new(),
            y: Vec::new(),
            one_minus_y: Vec::new(),
        };
        let mut layers: Vec<Units<N>> = vec![empty; first];
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

    /// Returns the loss of row `s`, as the kernel `RowLosses` computes it.
    pub(super) fn loss(&self, s: usize, z: &[N]) -> N {
        self.weighted(s, self.unweighted_loss(s, z))
    }

    /// Returns `value` times the factor of row `s`.
    fn weighted(&self, s: usize, value: N) -> N {
        match self.net.class_weight(self.batch.labels[s]) {
            None => value,
            Some(weight) => value * N::of(weight),
        }
    }

    /// Returns the loss of row `s` without its factor.
    fn unweighted_loss(&self, s: usize, z: &[N]) -> N {
        let outputs = Outputs {
            output_loss: self.net.output_loss,
            form: ChangeForm::Plain,
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

    /// Returns the gradient by whole passes (from the first layer, or from the perturbed one).
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
                        sum * self.inverse_rows() + penalty
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

    /// Returns 1/B, which takes one division per gradient.
    pub(super) fn inverse_rows(&self) -> N {
        self.inverse_rows
    }

    /// Returns the mean of the losses plus ½λ′ Σ w².
    fn objective(&self, losses: &[N], theta: &[N]) -> N {
        let zero = N::of(0.0);
        let sum = losses.iter().fold(zero, |sum, &loss| sum + loss);
        let mean = sum * self.inverse_rows();
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

    /// Returns the gradient by incremental evaluations.
    fn incremental(&self) -> Vec<N> {
        let (net, zero) = (self.net, N::of(0.0));
        let mut sums = vec![zero; self.theta.len()];
        for s in 0..self.rows() {
            // The inputs are read by every panel of the first layer, and by the search for equal
            // values.
            let panels = net.sizes[1].div_ceil(self.width);
            let inputs = (0..=panels).map(|_| self.read(s)).last().expect("a read");
            let mut layers = self.pass(self.theta, 1, &inputs);
            self.activate_outputs(layers.last_mut().expect("outputs"));
            let loss = match self.config.scheme {
                Scheme::Forward => {
                    let loss = self.unweighted_loss(s, &layers[net.layers()].z);
                    // For the mean; changes are weighted after the subtraction.
                    let _ = self.weighted(s, loss);
                    loss
                }
                Scheme::Central => zero,
            };
            layers[0].y = inputs;
            let last_hidden: Vec<N> = match self.is_plain() && net.layers() > 1 {
                true => (layers[net.layers() - 1].z.iter())
                    .map(|z| z.sigmoid())
                    .collect(),
                false => Vec::new(),
            };
            let outputs = match self.is_plain() {
                true => self.outputs(s, &layers).base(),
                false => Vec::new(),
            };
            let base = BaseValues {
                layers,
                loss,
                last_hidden,
                outputs,
            };
            let layers = &base.layers;
            for l in 1..=net.layers() {
                if self.perturbs_units {
                    for j in 0..net.sizes[l] {
                        let change = self.change(s, l, j, N::of(1.0), &base);
                        let row = net.weights(l).start + j * net.sizes[l - 1];
                        let sparse = l == 1 && self.batch.form == InputForm::Sparse;
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
                let SlotValues { slots, values } = self.values(l, &layers[l - 1].y);
                for j in 0..net.sizes[l] {
                    let change = |value: N| self.change(s, l, j, value, &base);
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
                let factor = self.inverse_rows() / self.distance(h);
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

    /// Returns the distance between the two points of a difference.
    fn distance(&self, h: N) -> N {
        match self.config.scheme {
            Scheme::Forward => h,
            Scheme::Central => h + h,
        }
    }

    /// Returns the difference quotient of ½λ′·w².
    fn penalty(&self, w: N, h: N) -> N {
        if self.form == ChangeForm::Rate || self.perturbs_units {
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

    /// Computes y and 1 − y of the outputs, as the kernels `Pairs` and `Probabilities` do.
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

    /// Returns the values of the inputs of layer l. In the first layer equal inputs share a value,
    /// and zeros have none.
    fn values(&self, l: usize, inputs: &[N]) -> SlotValues<N> {
        if l > 1 || !self.shares_equal_inputs {
            return SlotValues {
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
        SlotValues {
            slots: slots.collect(),
            values,
        }
    }

    /// Returns the change of row `s`'s loss when a weight of unit j of layer l, whose input is
    /// `value`, is perturbed.
    fn change(&self, s: usize, l: usize, j: usize, value: N, base: &BaseValues<N>) -> N {
        let layers = &base.layers;
        let outputs = self.outputs(s, layers);
        let zero = N::of(0.0);
        let side = |h: N| {
            let dz = h * value;
            match self.net.layers() - l {
                0 => {
                    let point = match self.is_plain() {
                        true => base.outputs[j] + dz,
                        false => dz,
                    };
                    outputs.scaled(outputs.add_term(zero, j, point))
                }
                1 => {
                    let change = match self.is_plain() {
                        true => (layers[l].z[j] + dz).sigmoid() - base.last_hidden[j],
                        false => self.activation_change(&layers[l], j, dz),
                    };
                    outputs.total(|k| self.rank_one(l + 1, k, j, change, outputs.units.z[k]))
                }
                _ => {
                    let change = self.activation_change(&layers[l], j, dz);
                    let z = self.propagate(l, j, change, layers);
                    outputs.total(|k| z[k])
                }
            }
        };
        let h = self.increments[l][j];
        let weighted = |change: N| self.weighted(s, change);
        match self.config.scheme {
            // Units further below are perturbed in a pass for each side.
            Scheme::Central if l + 1 < self.net.layers() => weighted(side(h)) - weighted(side(-h)),
            Scheme::Central => weighted(side(h) - side(-h)),
            Scheme::Forward if !self.is_plain() => weighted(side(h)),
            // Only one output's term changes, and its unperturbed value is not among the rows'
            // losses.
            Scheme::Forward if l == self.net.layers() => weighted(side(h) - side(zero)),
            Scheme::Forward => weighted(side(h) - base.loss),
        }
    }

    fn outputs<'u>(&self, s: usize, layers: &'u [Units<N>]) -> Outputs<'u, N> {
        Outputs {
            output_loss: self.net.output_loss,
            form: self.form,
            units: &layers[self.net.layers()],
            label: self.batch.labels[s],
        }
    }

    /// Returns z + Δz in plain arithmetic, else Δz.
    fn perturbed(&self, z: N, dz: N) -> N {
        if self.is_plain() { z + dz } else { dz }
    }

    /// Returns Δa of unit j of a layer.
    fn activation_change(&self, units: &Units<N>, j: usize, dz: N) -> N {
        let activated = self.activated(units, j, self.perturbed(units.z[j], dz));
        if self.is_plain() {
            activated - units.y[j]
        } else {
            activated
        }
    }

    /// Returns σ(z′) in plain arithmetic, else the change of σ.
    fn activated(&self, units: &Units<N>, j: usize, point: N) -> N {
        if self.is_plain() {
            sigmoid_pair(point).0
        } else {
            sigmoid_change(self.form, units.y[j], units.one_minus_y[j], point)
        }
    }

    /// Returns z′ (in plain arithmetic) or Δz of unit k of layer l, whose input j changes by
    /// `change`.
    fn rank_one(&self, l: usize, k: usize, j: usize, change: N, z: N) -> N {
        let weight = self.theta[self.net.weights(l).start + k * self.net.sizes[l - 1] + j];
        if self.is_plain() {
            weight.fma(change, z)
        } else {
            weight * change
        }
    }

    /// Propagates Δa of unit j of layer l to z′ (or Δz) of the outputs, at least two layers above.
    fn propagate(&self, l: usize, j: usize, change: N, layers: &[Units<N>]) -> Vec<N> {
        let net = self.net;
        let next = &layers[l + 1];
        let activated = (0..net.sizes[l + 1])
            .map(|k| self.activated(next, k, self.rank_one(l + 1, k, j, change, next.z[k])));
        let mut below: Vec<N> = activated.collect();
        for m in l + 2..=net.layers() {
            // The bias is one more input: its value is 1, its change 0.
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

/// Returns σ(z + Δz) − σ(z), where y = σ(z), or its derivative times Δz.
fn sigmoid_change<N: Number>(form: ChangeForm, y: N, one_minus_y: N, dz: N) -> N {
    let slope = y * one_minus_y;
    if form == ChangeForm::Rate {
        return slope * dz;
    }
    if form == ChangeForm::Tiny {
        let bend = N::of(0.5) - y;
        return slope * dz * dz.fma(bend, N::of(1.0));
    }
    let e = dz.exp_m1_near();
    slope * e / y.fma(e, N::of(1.0))
}

/// Returns softplus(z + x) − softplus(z), where y = σ(z), or its derivative times x.
fn entropy_change<N: Number>(form: ChangeForm, y: N, one_minus_y: N, x: N) -> N {
    if form == ChangeForm::Rate {
        return y * x;
    }
    if form == ChangeForm::Tiny {
        return y * x * x.fma(N::of(0.5) * one_minus_y, N::of(1.0));
    }
    (y * x.exp_m1_near()).ln_1p()
}

/// Returns ln(e^a + e^b).
fn log_sum<N: Number>(a: N, b: N) -> N {
    a.max(b) + (-(a - b).abs()).exp().ln_1p()
}

/// The outputs of one row, and their loss.
struct Outputs<'a, N> {
    output_loss: OutputLoss,
    form: ChangeForm,
    units: &'a Units<N>,
    label: u16,
}

impl<N: Number> Outputs<'_, N> {
    /// Returns `sum` plus the term of output k. In plain arithmetic this is its part of the loss at
    /// z′ = `point` (twice that for sigmoid outputs with the quadratic loss), else the change of
    /// that part when z changes by `point`.
    fn add_term(&self, sum: N, k: usize, point: N) -> N {
        let plain = self.form == ChangeForm::Plain;
        let hot = match self.output_loss {
            OutputLoss::Logistic => self.label == 1,
            _ => usize::from(self.label) == k,
        };
        let half = N::of(0.5);
        let (y, one_minus_y) = (self.units.y[k], self.units.one_minus_y[k]);
        match (self.output_loss, plain) {
            (OutputLoss::SigmoidQuadratic, true) => {
                let residual = if hot { -point } else { point }.sigmoid();
                residual.fma(residual, sum)
            }
            (OutputLoss::SigmoidQuadratic, false) => {
                let change = sigmoid_change(self.form, y, one_minus_y, point);
                let residual = if hot { -one_minus_y } else { y };
                if self.form == ChangeForm::Rate {
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
                if self.form == ChangeForm::Rate {
                    return point.fma(residual, sum);
                }
                point.fma(half.fma(point, residual), sum)
            }
            // For a softmax this is the one perturbed output, as a sigmoid of the margin.
            (_, true) => sum + softplus(if hot { -point } else { point }),
            (_, false) if hot => sum + entropy_change(self.form, one_minus_y, y, -point),
            (_, false) => sum + entropy_change(self.form, y, one_minus_y, point),
        }
    }

    /// Returns the unperturbed value of each output if it alone is perturbed, in plain arithmetic:
    /// z, or for a softmax the margin z_k − ln Σ_{j≠k} e^z_j.
    fn base(&self) -> Vec<N> {
        let z = &self.units.z;
        if self.output_loss != OutputLoss::SoftmaxCrossEntropy {
            return z.clone();
        }
        let margin = |k: usize| {
            let others = (0..z.len()).filter(|&j| j != k).map(|j| z[j]);
            z[k] - others.reduce(log_sum).expect("two classes")
        };
        (0..z.len()).map(margin).collect()
    }

    /// Returns the loss from a sum of terms: half of it for sigmoid outputs with the quadratic
    /// loss.
    fn scaled(&self, sum: N) -> N {
        match (self.output_loss, self.form) {
            (OutputLoss::SigmoidQuadratic, ChangeForm::Plain) => N::of(0.5) * sum,
            _ => sum,
        }
    }

    /// Returns the row's loss at z′_k = `point(k)`, or its change when z_k changes by `point(k)`.
    fn total(&self, point: impl Fn(usize) -> N) -> N {
        let zero = N::of(0.0);
        let count = self.units.z.len();
        if self.output_loss != OutputLoss::SoftmaxCrossEntropy {
            let sum = (0..count).fold(zero, |sum, k| self.add_term(sum, k, point(k)));
            return self.scaled(sum);
        }
        let target = usize::from(self.label);
        let at_target = point(target);
        let others = (0..count).filter(|&k| k != target);
        if self.form == ChangeForm::Plain {
            let margin = others.map(|k| zero + point(k)).reduce(log_sum);
            return softplus(margin.expect("two classes") - (zero + at_target));
        }
        let sum = others.fold(zero, |sum, k| {
            let x = point(k) - at_target;
            let growth = match self.form {
                ChangeForm::Rate => x,
                _ => x.exp_m1_near(),
            };
            self.units.y[k].fma(growth, sum)
        });
        match self.form {
            ChangeForm::Rate => sum,
            _ => sum.ln_1p(),
        }
    }
}
