//! The forward and backward pass of one backprop worker, superstep by superstep.
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
//!
//! The derivatives of σ and of the loss are analytic, or replaced by difference quotients; the
//! passes are the same.

use std::ops::Range;

use super::packed::Strides;
use crate::data::{Inputs, Samples};
use crate::gradient::finite_difference::quotient::{DivideSums, Scheme};
use crate::kernels::Isa;
use crate::kernels::divided_difference::base_values::RowLosses;
use crate::kernels::divided_difference::formulas::{
    LossForm, OutputRow as RowOutputs, Propagation, Units,
};
use crate::kernels::divided_difference::one_layer::PerturbOutputs;
use crate::kernels::matmul::{LeftOperand, Product};
use crate::kernels::output_loss::OutputErrors;
use crate::kernels::panels::{Aligned, transpose, width};
use crate::kernels::sparse::{SparseForward, SparseUpdate, Workspace};
use crate::kernels::update::{Activate, ActivateByQuotient, ColumnSums, Multiply, Rule, Update};
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;
use crate::parallel::{PhasedSlice, Superstep};

/// Task of all workers: the mini-batches, the update rule and the network.
pub(super) struct StepTask<'a, R> {
    pub samples: &'a Samples<R>,
    /// Indices of the rows, mini-batch after mini-batch.
    pub order: &'a [u32],
    pub batch_size: usize,
    pub rule: Rule<R>,
    pub isa: Isa,
    /// Layer sizes n_0 … n_L.
    pub sizes: &'a [usize],
    pub bias: bool,
    pub output_loss: OutputLoss,
    /// Distance between two panels of values, in rows.
    pub panel_rows: usize,
    /// Increment h of the quotients that replace the derivatives of σ and of the loss; `None`:
    /// analytic derivatives.
    pub increment: Option<R>,
}

/// One worker's panels of a layer that is partitioned by its own units.
pub(super) struct OwnedLayer<'b, R> {
    pub panels: Range<usize>,
    pub weights: PhasedSlice<'b, R>,
    pub velocity: Option<PhasedSlice<'b, R>>,
    pub biases: PhasedSlice<'b, R>,
    pub bias_velocity: Option<PhasedSlice<'b, R>>,
    pub activations: PhasedSlice<'b, R>,
    pub slopes: PhasedSlice<'b, R>,
    pub errors: PhasedSlice<'b, R>,
    /// ∂W, kept until no worker reads W anymore; empty for the first layer.
    pub weight_gradients: PhasedSlice<'b, R>,
}

/// One worker's panels of the last layer.
pub(super) struct LastLayer<'b, R> {
    pub weights: PhasedSlice<'b, R>,
    pub velocity: Option<PhasedSlice<'b, R>>,
    pub transposed: PhasedSlice<'b, R>,
    pub transposed_velocity: Option<PhasedSlice<'b, R>>,
    pub bias: PhasedSlice<'b, R>,
    pub bias_velocity: Option<PhasedSlice<'b, R>>,
}

/// One worker's scratch memory.
pub(super) struct BackpropScratch<R> {
    pub inputs: Aligned<R>,
    pub outputs: Aligned<R>,
    pub transposed: Aligned<R>,
    pub tile: Aligned<R>,
    pub labels: Vec<u16>,
    pub losses: Vec<R>,
    /// Changes of the losses, for difference quotients; of the shape of `outputs`.
    pub changes: Aligned<R>,
    pub sparse: Workspace<R>,
    pub loss: f64,
}

/// One worker: its parts of the shared buffers, and its scratch memory.
pub(super) struct BackpropWorker<'b, R> {
    pub layers: Vec<OwnedLayer<'b, R>>,
    pub last: LastLayer<'b, R>,
    /// Partial sums of the outputs' pre-activations, written in even and in odd supersteps.
    pub partial_outputs: [PhasedSlice<'b, R>; 2],
    pub scratch: &'b mut BackpropScratch<R>,
}

impl<R: Real> BackpropWorker<'_, R> {
    /// Steps over all mini-batches of the task.
    pub(super) async fn train(mut self, task: &StepTask<'_, R>, mut superstep: Superstep<'_>) {
        let hidden = task.sizes.len() - 2;
        let mut batches = task.order.chunks(task.batch_size);
        while let Some(rows) = batches.next() {
            self.forward_first(task, rows, &superstep);
            for h in 1..hidden {
                superstep = superstep.next().await;
                self.forward(h, task, rows.len(), &superstep);
            }
            self.partial_outputs(task, rows.len(), &superstep);
            superstep = superstep.next().await;
            self.output_errors(task, rows, &superstep);
            if hidden > 0 {
                self.backward_last(task, rows.len(), &superstep);
            }
            for h in (0..hidden.saturating_sub(1)).rev() {
                superstep = superstep.next().await;
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
                superstep = superstep.next().await;
                self.apply(1, task, &superstep);
            }
        }
    }

    /// Computes a_1 of this worker's units, from the inputs.
    fn forward_first(&mut self, task: &StepTask<'_, R>, rows: &[u32], superstep: &Superstep<'_>) {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let activate = task.sizes.len() > 2;
        let layer = &mut self.layers[0];
        let panels = layer.panels.len();
        if panels == 0 && superstep.workers() > 1 && !activate {
            return;
        }
        let out = if activate {
            layer.activations.write_own(superstep)
        } else {
            self.partial_outputs[superstep.phase()].write_own(superstep)
        };
        // The kernel for sparse inputs computes σ and σ′ together with z.
        let sparse = matches!(task.samples.inputs(), Inputs::Sparse(_));
        let fused = activate && sparse && task.increment.is_none();
        match task.samples.inputs() {
            Inputs::Sparse(records) => task.isa.run(SparseForward {
                records,
                rows,
                weights: layer.weights.read_own(superstep),
                biases: layer.biases.read_own(superstep),
                activations: out,
                slopes: fused.then(|| layer.slopes.write_own(superstep)),
                stride,
                transposed: self.scratch.sparse.transposed(rows.len()),
            }),
            _ => {
                task.samples.gather(rows, &mut self.scratch.inputs, stride);
                task.isa.run(Product {
                    left: LeftOperand::rows_of(&self.scratch.inputs, stride),
                    rows: rows.len(),
                    depth: task.sizes[0],
                    right: layer.weights.read_own(superstep),
                    right_stride: task.sizes[0] * p,
                    start: Some(layer.biases.read_own(superstep)),
                    out,
                    out_stride: stride,
                    panels,
                });
            }
        }
        if activate {
            if !fused {
                activate_panels(
                    task,
                    rows.len(),
                    panels,
                    out,
                    layer.slopes.write_own(superstep),
                );
            }
            layer.clear_padding(task, 0, rows.len(), superstep);
        }
    }

    /// Computes a_{h+1} of this worker's units, from a_h.
    fn forward(
        &mut self,
        h: usize,
        task: &StepTask<'_, R>,
        rows: usize,
        superstep: &Superstep<'_>,
    ) {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let (below, layer) = neighbors(&mut self.layers, h);
        let panels = layer.panels.len();
        let out = layer.activations.write_own(superstep);
        task.isa.run(Product {
            left: LeftOperand::rows_of(below.activations.read_all(superstep), stride),
            rows,
            depth: task.sizes[h],
            right: layer.weights.read_own(superstep),
            right_stride: task.sizes[h] * p,
            start: Some(layer.biases.read_own(superstep)),
            out,
            out_stride: stride,
            panels,
        });
        activate_panels(task, rows, panels, out, layer.slopes.write_own(superstep));
        layer.clear_padding(task, h, rows, superstep);
    }

    /// Computes the partial sums of the outputs' pre-activations, for each of this worker's hidden
    /// panels.
    fn partial_outputs(&mut self, task: &StepTask<'_, R>, rows: usize, superstep: &Superstep<'_>) {
        let hidden = task.sizes.len() - 2;
        if hidden == 0 {
            return;
        }
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let (units, outputs) = (task.sizes[hidden], task.sizes[hidden + 1]);
        let output_panels = outputs.div_ceil(p);
        let strides = Strides::new::<R>(outputs);
        let layer = &self.layers[hidden - 1];
        let activations = layer.activations.read_own(superstep);
        let weights = self.last.weights.read_own(superstep);
        let partial_sums = self.partial_outputs[superstep.phase()].write_own(superstep);
        for (k, panel) in layer.panels.clone().enumerate() {
            task.isa.run(Product {
                left: LeftOperand::rows_of(&activations[k * stride..], stride),
                rows,
                depth: p.min(units - panel * p),
                right: &weights[k * strides.blocks..],
                right_stride: p * p,
                start: None,
                out: &mut partial_sums[k * output_panels * stride..],
                out_stride: stride,
                panels: output_panels,
            });
        }
    }

    /// Computes δ of all outputs, the same in every worker.
    fn output_errors(&mut self, task: &StepTask<'_, R>, rows: &[u32], superstep: &Superstep<'_>) {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let hidden = task.sizes.len() - 2;
        let outputs = task.sizes[hidden + 1];
        let output_panels = outputs.div_ceil(p);
        let partial_sums = self.partial_outputs[1 - superstep.phase()].read_all(superstep);
        let z = &mut self.scratch.outputs;
        if hidden == 0 {
            for panel in 0..output_panels {
                let range = panel * stride..panel * stride + rows.len() * p;
                z[range.clone()].copy_from_slice(&partial_sums[range]);
            }
        } else {
            task.isa.run(crate::kernels::update::SumPartials {
                bias: self.last.bias.read_own(superstep),
                partial_sums,
                count: task.sizes[hidden].div_ceil(p),
                out: z,
                panels: output_panels,
                rows: rows.len(),
                stride,
            });
        }
        let labels = &mut self.scratch.labels;
        labels.clear();
        labels.extend(rows.iter().map(|&row| task.samples.label(row)));
        let scale = R::from_f64(1.0 / rows.len() as f64);
        self.scratch.loss += match task.increment {
            None => task.isa.run(OutputErrors {
                output_loss: task.output_loss,
                columns: outputs,
                labels,
                scale,
                values: z,
                stride,
            }),
            Some(h) => self.output_quotients(task, h, scale),
        };
    }

    /// Replaces the outputs' z by (L(z + h) − L(z))/h, output by output, times `scale`. Returns the
    /// sum of the rows' losses.
    fn output_quotients(&mut self, task: &StepTask<'_, R>, h: R, scale: R) -> f64 {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let count = task.sizes[task.sizes.len() - 1];
        let BackpropScratch {
            outputs: z,
            changes,
            labels,
            losses,
            ..
        } = &mut *self.scratch;
        let values: &[R] = z;
        let units = Units {
            z: values,
            y: values,
            one_minus_y: values,
            count,
            row_stride: p,
            panel_stride: stride,
        };
        losses.resize(labels.len(), R::ZERO);
        task.isa.run(RowLosses {
            output_loss: task.output_loss,
            units,
            labels,
            losses,
        });
        let increments = &[h; 16][..p];
        for panel in 0..count.div_ceil(p) {
            let changes = &mut changes[panel * stride..][..labels.len() * p];
            for (row, changes) in changes.chunks_exact_mut(p).enumerate() {
                task.isa.run(PerturbOutputs {
                    form: LossForm {
                        propagation: Propagation::Values,
                        central: false,
                    },
                    panel,
                    increments,
                    values: &[R::ONE],
                    slots: &[0],
                    bound: h.to_f64(),
                    outputs: RowOutputs {
                        output_loss: task.output_loss,
                        units,
                        row,
                        label: labels[row],
                        loss: losses[row],
                    },
                    changes,
                });
            }
            task.isa.run(DivideSums {
                scheme: Scheme::Forward,
                inverse_rows: scale,
                increments,
                changes,
            });
        }
        std::mem::swap(z, changes);
        losses.iter().map(|loss| loss.to_f64()).sum()
    }

    /// Computes δ_H of this worker's units, then updates the last layer.
    fn backward_last(&mut self, task: &StepTask<'_, R>, rows: usize, superstep: &Superstep<'_>) {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let hidden = task.sizes.len() - 2;
        let outputs = task.sizes[hidden + 1];
        let output_panels = outputs.div_ceil(p);
        let strides = Strides::new::<R>(outputs);
        let layer = &mut self.layers[hidden - 1];
        let BackpropScratch {
            outputs: top, tile, ..
        } = &mut *self.scratch;
        let last = &mut self.last;
        let panels = layer.panels.len();
        let errors = layer.errors.write_own(superstep);
        task.isa.run(Product {
            left: LeftOperand::rows_of(top, stride),
            rows,
            depth: outputs,
            right: last.transposed.read_own(superstep),
            right_stride: strides.transposed,
            start: None,
            out: errors,
            out_stride: stride,
            panels,
        });
        for k in 0..panels {
            let range = k * stride..k * stride + rows * p;
            let slopes = &layer.slopes.read_own(superstep)[range.clone()];
            task.isa.run(Multiply {
                values: &mut errors[range],
                factors: slopes,
            });
        }
        let activations = layer.activations.read_own(superstep);
        for k in 0..panels {
            // ∂W[j][i] = Σ_s δ[s][j]·a[s][i]: vectors of j for the forward copy, of i for the
            // backward copy.
            let blocks = k * strides.blocks..k * strides.blocks + output_panels * p * p;
            task.isa.run(Product {
                left: LeftOperand::columns_of(&activations[k * stride..]),
                rows: p,
                depth: rows,
                right: top,
                right_stride: stride,
                start: None,
                out: tile,
                out_stride: p * p,
                panels: output_panels,
            });
            update(
                task,
                &tile[..output_panels * p * p],
                &mut last.weights,
                &mut last.velocity,
                blocks,
                superstep,
            );
            for panel in 0..output_panels {
                let columns = p.min(outputs - panel * p);
                let from = k * strides.transposed + panel * p * p;
                task.isa.run(Product {
                    left: LeftOperand::columns_of(&top[panel * stride..]),
                    rows: columns,
                    depth: rows,
                    right: &activations[k * stride..],
                    right_stride: stride,
                    start: None,
                    out: tile,
                    out_stride: p * p,
                    panels: 1,
                });
                update(
                    task,
                    &tile[..columns * p],
                    &mut last.transposed,
                    &mut last.transposed_velocity,
                    from..from + columns * p,
                    superstep,
                );
            }
        }
        if task.bias {
            for panel in 0..output_panels {
                bias_update(
                    task,
                    &top[panel * stride..][..rows * p],
                    &mut last.bias,
                    &mut last.bias_velocity,
                    panel,
                    superstep,
                );
            }
            let layer = &mut self.layers[hidden - 1];
            layer.update_biases(task, rows, superstep);
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
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let (layer, above) = neighbors(&mut self.layers, h + 1);
        let (units, depth) = (task.sizes[h + 1], task.sizes[h + 2]);
        let transposed = &mut self.scratch.transposed;
        let weights = above.weights.read_all(superstep);
        let errors = layer.errors.write_own(superstep);
        let slopes = layer.slopes.read_own(superstep);
        for (k, panel) in layer.panels.clone().enumerate() {
            let real = p.min(units - panel * p);
            if real < p {
                transposed.fill(R::ZERO);
            }
            for q in 0..depth.div_ceil(p) {
                let from = &weights[(q * units + panel * p) * p..];
                transpose(from, &mut transposed[q * p * p..], real);
            }
            let out = &mut errors[k * stride..][..rows * p];
            task.isa.run(Product {
                left: LeftOperand::rows_of(above.errors.read_all(superstep), stride),
                rows,
                depth,
                right: transposed,
                right_stride: 0,
                start: None,
                out,
                out_stride: 0,
                panels: 1,
            });
            task.isa.run(Multiply {
                values: out,
                factors: &slopes[k * stride..][..rows * p],
            });
        }
        if task.bias {
            layer.update_biases(task, rows, superstep);
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
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let (below, layer) = neighbors(&mut self.layers, h);
        let fan_in = task.sizes[h];
        let activations = below.activations.read_all(superstep);
        let errors = layer.errors.read_own(superstep);
        let gradients = layer.weight_gradients.write_own(superstep);
        for (q, from) in (0..fan_in).step_by(p).enumerate() {
            task.isa.run(Product {
                left: LeftOperand::columns_of(&activations[q * stride..]),
                rows: p.min(fan_in - from),
                depth: rows,
                right: errors,
                right_stride: stride,
                start: None,
                out: &mut gradients[if layer.panels.is_empty() { 0 } else { from * p }..],
                out_stride: fan_in * p,
                panels: layer.panels.len(),
            });
        }
    }

    /// Applies the update rule to the weights of layer h + 1, with the gradient kept by
    /// `weight_gradients`.
    fn apply(&mut self, h: usize, task: &StepTask<'_, R>, superstep: &Superstep<'_>) {
        let layer = &mut self.layers[h];
        let gradients = layer.weight_gradients.read_own(superstep);
        update(
            task,
            gradients,
            &mut layer.weights,
            &mut layer.velocity,
            0..gradients.len(),
            superstep,
        );
    }

    /// Updates the first layer, fused with its gradient.
    fn update_first(&mut self, task: &StepTask<'_, R>, rows: &[u32], superstep: &Superstep<'_>) {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
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
        let single = task.sizes.len() == 2;
        let errors = if single {
            &outputs[panels.start * stride..]
        } else {
            layer.errors.read_own(superstep)
        };
        if single && task.bias {
            for k in 0..panels.len() {
                bias_update(
                    task,
                    &errors[k * stride..][..rows.len() * p],
                    &mut layer.biases,
                    &mut layer.bias_velocity,
                    k,
                    superstep,
                );
            }
        }
        if let Inputs::Sparse(records) = task.samples.inputs() {
            task.isa.run(SparseUpdate {
                records,
                rows,
                errors,
                stride,
                rule: task.rule,
                weights: layer.weights.write_own(superstep),
                velocity: layer
                    .velocity
                    .as_mut()
                    .map(|velocity| velocity.write_own(superstep)),
                workspace: sparse,
            });
            return;
        }
        let fan_in = task.sizes[0];
        for first in (0..panels.len()).step_by(2) {
            let pair = 2.min(panels.len() - first);
            for (q, from) in (0..fan_in).step_by(p).enumerate() {
                let count = p.min(fan_in - from);
                task.isa.run(Product {
                    left: LeftOperand::columns_of(&inputs[q * stride..]),
                    rows: count,
                    depth: rows.len(),
                    right: &errors[first * stride..],
                    right_stride: stride,
                    start: None,
                    out: tile,
                    out_stride: p * p,
                    panels: pair,
                });
                for k in 0..pair {
                    let start = ((first + k) * fan_in + from) * p;
                    update(
                        task,
                        &tile[k * p * p..][..count * p],
                        &mut layer.weights,
                        &mut layer.velocity,
                        start..start + count * p,
                        superstep,
                    );
                }
            }
        }
    }
}

impl<R: Real> OwnedLayer<'_, R> {
    /// Sets activations and slopes of padding units to 0; their errors are then 0, too.
    fn clear_padding(
        &mut self,
        task: &StepTask<'_, R>,
        h: usize,
        rows: usize,
        superstep: &Superstep<'_>,
    ) {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let units = task.sizes[h + 1];
        if units.is_multiple_of(p) || self.panels.end * p < units || self.panels.is_empty() {
            return;
        }
        let start = (self.panels.len() - 1) * stride;
        for values in [
            self.activations.write_own(superstep),
            self.slopes.write_own(superstep),
        ] {
            for row in values[start..start + rows * p].chunks_exact_mut(p) {
                row[units % p..].fill(R::ZERO);
            }
        }
    }

    fn update_biases(&mut self, task: &StepTask<'_, R>, rows: usize, superstep: &Superstep<'_>) {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        for k in 0..self.panels.len() {
            let errors = &self.errors.read_own(superstep)[k * stride..][..rows * p];
            bias_update(
                task,
                errors,
                &mut self.biases,
                &mut self.bias_velocity,
                k,
                superstep,
            );
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

fn activate_panels<R: Real>(
    task: &StepTask<'_, R>,
    rows: usize,
    panels: usize,
    out: &mut [R],
    slopes: &mut [R],
) {
    let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
    for k in 0..panels {
        let range = k * stride..k * stride + rows * p;
        let (activations, slopes) = (&mut out[range.clone()], &mut slopes[range]);
        match task.increment {
            None => task.isa.run(Activate {
                activations,
                slopes,
            }),
            Some(increment) => task.isa.run(ActivateByQuotient {
                activations,
                slopes,
                increment,
            }),
        }
    }
}

/// Applies the update rule to `range` of this worker's weights.
fn update<R: Real>(
    task: &StepTask<'_, R>,
    gradient: &[R],
    weights: &mut PhasedSlice<'_, R>,
    velocity: &mut Option<PhasedSlice<'_, R>>,
    range: Range<usize>,
    superstep: &Superstep<'_>,
) {
    task.isa.run(Update {
        rule: task.rule,
        gradient,
        weights: &mut weights.write_own(superstep)[range.clone()],
        velocity: velocity
            .as_mut()
            .map(|velocity| &mut velocity.write_own(superstep)[range]),
    });
}

/// Applies the update rule to panel `k` of this worker's biases.
fn bias_update<R: Real>(
    task: &StepTask<'_, R>,
    errors: &[R],
    biases: &mut PhasedSlice<'_, R>,
    velocity: &mut Option<PhasedSlice<'_, R>>,
    k: usize,
    superstep: &Superstep<'_>,
) {
    let p = width::<R>();
    let mut sums = [R::ZERO; 16];
    task.isa.run(ColumnSums {
        values: errors,
        out: &mut sums[..p],
    });
    task.isa.run(Update {
        rule: task.rule.for_biases(),
        gradient: &sums[..p],
        weights: &mut biases.write_own(superstep)[k * p..(k + 1) * p],
        velocity: velocity
            .as_mut()
            .map(|velocity| &mut velocity.write_own(superstep)[k * p..(k + 1) * p]),
    });
}
