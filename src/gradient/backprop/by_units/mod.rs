//! Backprop split by units: what a worker computes, superstep by superstep.
//!
//! Every hidden layer is partitioned into panels of units; a worker owns panels, and with them the
//! weights into those units. For H hidden layers, l counted from 1, a step of the optimizer takes
//! these supersteps:
//!
//! | superstep | computes, for its own units | reads from others |
//! |---|---|---|
//! | l − 1 | a_l = σ(W_l a_{l−1} + b_l) | a_{l−1} |
//! | H − 1, too | its units' partial sums of the outputs' z | |
//! | H | δ of all outputs (same in each worker), δ_H; updates last layer | partial sums of z |
//! | 2H − l, l < H | δ_l; ∂W_{l+1}; updates W_{l+2} | δ_{l+1}, W_{l+1}, a_l |
//! | 2H − 1, too | updates W_1 | |
//! | 2H, if H ≥ 2 | updates W_2 | |
//!
//! The last superstep of a step is also superstep 0 of the next step, so a step takes 2H
//! supersteps, or 1 if H ≤ 1.
//!
//! Each shared buffer is written in supersteps of one parity and read in those of the other. The
//! weights of the first layer, the largest in most networks, are never read by another worker.

mod buffers;

pub(super) use self::buffers::UnitBuffers;

use std::ops::Range;

use super::layers::{BackpropScratch, GradientTile, StepTask, UnitPanels, Values};
use super::packed::Strides;
use super::parameter_part::ParameterPart;
use crate::data::Inputs;
use crate::kernels::panels::width;
use crate::numeric::Real;
use crate::parallel::{PhasedSlice, Superstep};

/// One worker's panels of a layer that is partitioned by its own units.
struct OwnedLayer<'b, R> {
    panels: Range<usize>,
    weights: ParameterPart<'b, R>,
    biases: ParameterPart<'b, R>,
    activations: PhasedSlice<'b, R>,
    slopes: PhasedSlice<'b, R>,
    errors: PhasedSlice<'b, R>,
    /// ∂W, kept until no worker reads W anymore; empty for the first layer.
    weight_gradients: PhasedSlice<'b, R>,
}

/// One worker's panels of the last layer.
struct LastLayer<'b, R> {
    weights: ParameterPart<'b, R>,
    transposed: ParameterPart<'b, R>,
    bias: ParameterPart<'b, R>,
}

/// One worker: its parts of the shared buffers, and its scratch memory.
pub(super) struct UnitWorker<'b, R> {
    layers: Vec<OwnedLayer<'b, R>>,
    last: LastLayer<'b, R>,
    /// Partial sums of the outputs' pre-activations, written in even and in odd supersteps.
    partial_outputs: [PhasedSlice<'b, R>; 2],
    scratch: &'b mut BackpropScratch<R>,
}

impl<R: Real> UnitWorker<'_, R> {
    /// Steps over all mini-batches of the task.
    pub(super) fn train(mut self, task: &StepTask<'_, R>, mut superstep: Superstep<'_>) {
        let hidden = task.hidden();
        let mut batches = task.order.chunks(task.batch_size);
        while let Some(rows) = batches.next() {
            self.forward_first(task, rows, &superstep);
            for h in 1..hidden {
                superstep = superstep.next();
                self.forward(h, task, rows.len(), &superstep);
            }
            self.partial_outputs(task, rows.len(), &superstep);
            superstep = superstep.next();
            self.output_errors(task, rows, &superstep);
            if hidden > 0 {
                self.backward_last(task, rows.len(), &superstep);
            }
            for h in (0..hidden.saturating_sub(1)).rev() {
                superstep = superstep.next();
                self.backward(h, task, rows.len(), &superstep);
                self.weight_gradients(h + 1, task, rows.len(), &superstep);
                if h + 2 < hidden {
                    self.apply(h + 2, task, &superstep);
                }
            }
            if let Inputs::Sparse(records) = task.samples.inputs() {
                // The next records are fetched while the update computes.
                let mut ahead = batches.clone();
                let mut next = || ahead.next().unwrap_or_default();
                records.prefetch(next(), next());
            }
            self.update_first(task, rows, &superstep);
            if hidden >= 2 {
                superstep = superstep.next();
                self.apply(1, task, &superstep);
            }
        }
    }

    /// Computes a_1 of this worker's units, from the inputs; z without hidden layers.
    fn forward_first(&mut self, task: &StepTask<'_, R>, rows: &[u32], superstep: &Superstep<'_>) {
        let activates = task.hidden() > 0;
        let layer = &mut self.layers[0];
        if layer.panels.is_empty() && superstep.workers() > 1 && !activates {
            return;
        }
        let activations = if activates {
            layer.activations.write_own(superstep)
        } else {
            self.partial_outputs[superstep.phase()].write_own(superstep)
        };
        let units = UnitPanels {
            panels: layer.panels.clone(),
            weights: layer.weights.values.read_own(superstep),
            biases: layer.biases.values.read_own(superstep),
            activations,
            slopes: layer.slopes.write_own(superstep),
        };
        let BackpropScratch { inputs, sparse, .. } = &mut *self.scratch;
        task.forward_first(rows, inputs, sparse.transposed(rows.len()), units);
    }

    /// Computes a_{h+1} of this worker's units, from a_h.
    fn forward(
        &mut self,
        h: usize,
        task: &StepTask<'_, R>,
        rows: usize,
        superstep: &Superstep<'_>,
    ) {
        let (below, layer) = neighbors(&mut self.layers, h);
        let units = UnitPanels {
            panels: layer.panels.clone(),
            weights: layer.weights.values.read_own(superstep),
            biases: layer.biases.values.read_own(superstep),
            activations: layer.activations.write_own(superstep),
            slopes: layer.slopes.write_own(superstep),
        };
        task.forward(h, rows, below.activations.read_all(superstep), units);
    }

    /// Computes the partial sums of the outputs' pre-activations, for each of this worker's hidden
    /// panels.
    fn partial_outputs(&mut self, task: &StepTask<'_, R>, rows: usize, superstep: &Superstep<'_>) {
        let hidden = task.hidden();
        if hidden == 0 {
            return;
        }
        let layer = &self.layers[hidden - 1];
        task.partial_outputs(
            rows,
            layer.panels.clone(),
            layer.activations.read_own(superstep),
            self.last.weights.values.read_own(superstep),
            self.partial_outputs[superstep.phase()].write_own(superstep),
        );
    }

    /// Computes δ of all outputs, the same in every worker.
    fn output_errors(&mut self, task: &StepTask<'_, R>, rows: &[u32], superstep: &Superstep<'_>) {
        let (p, stride) = (width::<R>(), task.stride);
        let partial_sums = self.partial_outputs[1 - superstep.phase()].read_all(superstep);
        let z = &mut self.scratch.outputs;
        if task.hidden() == 0 {
            for panel in 0..task.outputs().div_ceil(p) {
                let range = panel * stride..panel * stride + rows.len() * p;
                z[range.clone()].copy_from_slice(&partial_sums[range]);
            }
        } else {
            let bias = self.last.bias.values.read_own(superstep);
            task.sum_outputs(rows.len(), bias, partial_sums, z);
        }
        let scale = R::from_f64(1.0 / rows.len() as f64);
        let output = &mut self.scratch.output;
        self.scratch.loss += task.output_errors(rows, scale, z, output, None);
    }

    /// Computes δ_H of this worker's units, then updates the last layer.
    fn backward_last(&mut self, task: &StepTask<'_, R>, rows: usize, superstep: &Superstep<'_>) {
        let layer = &mut self.layers[task.hidden() - 1];
        task.backward_last(
            rows,
            layer.panels.len(),
            &self.scratch.outputs,
            self.last.transposed.values.read_own(superstep),
            layer.slopes.read_own(superstep),
            layer.errors.write_own(superstep),
        );
        for k in 0..layer.panels.len() {
            self.update_last(k, task, rows, superstep);
        }
        if task.bias {
            for panel in 0..task.outputs().div_ceil(width::<R>()) {
                let errors = panel_of(&self.scratch.outputs, panel, task);
                update_biases(task, rows, errors, &mut self.last.bias, panel, superstep);
            }
            self.update_biases(task.hidden() - 1, task, rows, superstep);
        }
    }

    /// Updates both copies of the last layer's weights from this worker's hidden panel `k`:
    /// ∂W\[j]\[i] = Σ_s δ\[s]\[j]·a\[s]\[i], in vectors of j for the forward copy, of i for the
    /// backward copy.
    fn update_last(
        &mut self,
        k: usize,
        task: &StepTask<'_, R>,
        rows: usize,
        superstep: &Superstep<'_>,
    ) {
        let p = width::<R>();
        let outputs = task.outputs();
        let output_panels = outputs.div_ceil(p);
        let strides = Strides::new::<R>(outputs);
        let BackpropScratch {
            outputs: top, tile, ..
        } = &mut *self.scratch;
        let hidden = &self.layers[task.hidden() - 1].activations;
        let hidden = panel_of(hidden.read_own(superstep), k, task);
        task.weight_gradient(
            &[rows],
            GradientTile {
                activations: hidden,
                lines: p,
                errors: panel_of(top, 0, task),
                panels: output_panels,
                out: tile,
                out_stride: p * p,
            },
        );
        let size = output_panels * p * p;
        let (rule, last) = ((task.isa, task.rule), &mut self.last);
        let blocks = k * strides.blocks..k * strides.blocks + size;
        (last.weights).update(rule, &tile[..size], 0, blocks, superstep);
        for panel in 0..output_panels {
            let columns = p.min(outputs - panel * p);
            task.weight_gradient(
                &[rows],
                GradientTile {
                    activations: panel_of(top, panel, task),
                    lines: columns,
                    errors: hidden,
                    panels: 1,
                    out: tile,
                    out_stride: p * p,
                },
            );
            let from = k * strides.transposed + panel * p * p;
            let range = from..from + columns * p;
            (last.transposed).update(rule, &tile[..columns * p], 0, range, superstep);
        }
    }

    /// Computes δ_{h+1} of this worker's units, from δ_{h+2}.
    fn backward(
        &mut self,
        h: usize,
        task: &StepTask<'_, R>,
        rows: usize,
        superstep: &Superstep<'_>,
    ) {
        let (layer, above) = neighbors(&mut self.layers, h + 1);
        let weights = above.weights.values.read_all(superstep);
        task.backward(
            h,
            rows,
            layer.panels.clone(),
            (weights, above.errors.read_all(superstep)),
            layer.slopes.read_own(superstep),
            (
                layer.errors.write_own(superstep),
                &mut self.scratch.transposed,
            ),
        );
        if task.bias {
            self.update_biases(h, task, rows, superstep);
        }
    }

    /// Updates the biases of this worker's units of layer h + 1.
    fn update_biases(
        &mut self,
        h: usize,
        task: &StepTask<'_, R>,
        rows: usize,
        superstep: &Superstep<'_>,
    ) {
        let layer = &mut self.layers[h];
        for k in 0..layer.panels.len() {
            let errors = panel_of(layer.errors.read_own(superstep), k, task);
            update_biases(task, rows, errors, &mut layer.biases, k, superstep);
        }
    }

    /// Computes ∂W_{h+1} of this worker's units; it is applied once no worker reads the weights.
    fn weight_gradients(
        &mut self,
        h: usize,
        task: &StepTask<'_, R>,
        rows: usize,
        superstep: &Superstep<'_>,
    ) {
        let p = width::<R>();
        let (below, layer) = neighbors(&mut self.layers, h);
        let fan_in = task.sizes[h];
        if layer.panels.is_empty() {
            return;
        }
        let activations = below.activations.read_all(superstep);
        let errors = layer.errors.read_own(superstep);
        let gradients = layer.weight_gradients.write_own(superstep);
        for (q, from) in (0..fan_in).step_by(p).enumerate() {
            task.weight_gradient(
                &[rows],
                GradientTile {
                    activations: panel_of(activations, q, task),
                    lines: p.min(fan_in - from),
                    errors: panel_of(errors, 0, task),
                    panels: layer.panels.len(),
                    out: &mut gradients[from * p..],
                    out_stride: fan_in * p,
                },
            );
        }
    }

    /// Applies the update rule to the weights of layer h + 1, with the gradient kept by
    /// `weight_gradients`.
    fn apply(&mut self, h: usize, task: &StepTask<'_, R>, superstep: &Superstep<'_>) {
        if task.is_stopped() {
            return;
        }
        let layer = &mut self.layers[h];
        let gradients = layer.weight_gradients.read_own(superstep);
        let (rule, range) = ((task.isa, task.rule), 0..gradients.len());
        (layer.weights).update(rule, gradients, 0, range, superstep);
    }

    /// Updates the first layer, fused with its gradient.
    fn update_first(&mut self, task: &StepTask<'_, R>, rows: &[u32], superstep: &Superstep<'_>) {
        let (p, stride) = (width::<R>(), task.stride);
        let BackpropScratch {
            inputs,
            outputs,
            tile,
            sparse,
            ..
        } = &mut *self.scratch;
        let layer = &mut self.layers[0];
        let panels = layer.panels.clone();
        if panels.is_empty() {
            return;
        }
        let single = task.hidden() == 0;
        let errors = if single {
            &outputs[panels.start * stride..]
        } else {
            layer.errors.read_own(superstep)
        };
        if single && task.bias {
            for k in 0..panels.len() {
                let errors = panel_of(errors, k, task);
                update_biases(task, rows.len(), errors, &mut layer.biases, k, superstep);
            }
        }
        if matches!(task.samples.inputs(), Inputs::Sparse(_)) {
            let parameters = layer.weights.write(0, superstep);
            task.update_sparse(rows, errors, parameters, sparse);
            return;
        }
        let fan_in = task.sizes[0];
        for first in (0..panels.len()).step_by(2) {
            let pair = 2.min(panels.len() - first);
            for (q, from) in (0..fan_in).step_by(p).enumerate() {
                if task.is_stopped() {
                    return;
                }
                let lines = p.min(fan_in - from);
                task.weight_gradient(
                    &[rows.len()],
                    GradientTile {
                        activations: panel_of(inputs, q, task),
                        lines,
                        errors: panel_of(errors, first, task),
                        panels: pair,
                        out: tile,
                        out_stride: p * p,
                    },
                );
                for k in 0..pair {
                    let start = ((first + k) * fan_in + from) * p;
                    let (rule, gradient) = ((task.isa, task.rule), &tile[k * p * p..][..lines * p]);
                    let range = start..start + lines * p;
                    (layer.weights).update(rule, gradient, 0, range, superstep);
                }
            }
        }
    }
}

/// Returns layers h − 1 and h of the slice.
fn neighbors<'s, 'b, R>(
    layers: &'s mut [OwnedLayer<'b, R>],
    h: usize,
) -> (&'s mut OwnedLayer<'b, R>, &'s mut OwnedLayer<'b, R>) {
    let (below, above) = layers.split_at_mut(h);
    (&mut below[h - 1], &mut above[0])
}

/// Returns the values of all rows from panel `panel` on; they are one region.
fn panel_of<'a, R: Real>(values: &'a [R], panel: usize, task: &StepTask<'_, R>) -> Values<'a, R> {
    Values {
        values,
        panels: 0,
        from: panel * task.stride,
    }
}

/// Applies the update rule to panel `k` of this worker's biases.
fn update_biases<R: Real>(
    task: &StepTask<'_, R>,
    rows: usize,
    errors: Values<'_, R>,
    biases: &mut ParameterPart<'_, R>,
    k: usize,
    superstep: &Superstep<'_>,
) {
    let p = width::<R>();
    let sums = task.column_sums(&[rows], errors);
    let rule = (task.isa, task.rule.for_biases());
    biases.update(rule, &sums[..p], 0, k * p..(k + 1) * p, superstep);
}
