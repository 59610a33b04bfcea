//! Backprop's passes, as one worker walks through them.
//!
//! Every hidden layer is cut into panels of units; a worker owns panels, and with them the
//! weights into those units. Superstep by superstep (H hidden layers, l from 1; a step of the
//! optimizer takes 2H supersteps, one where H ≤ 1):
//!
//! | superstep | computes, of own units | reads of others |
//! |---|---|---|
//! | l − 1 | a_l = σ(W_l a_{l−1} + b_l) | a_{l−1} |
//! | H − 1, too | own units' share of the outputs' z | |
//! | H | δ of the outputs (everyone, alike), δ_H; updates the last layer | z shares |
//! | 2H − l, l < H | δ_l; ∂W_{l+1}; updates W_{l+2} | δ_{l+1}, W_{l+1}, a_l |
//! | 2H − 1, too | updates W_1 | |
//! | next 0 | updates W_2 | |
//!
//! Derivatives of σ and of the loss are known, or difference quotients stand in for them; the passes
//! are the same.
//!
//! So a buffer is written in supersteps of one parity and read in the other, and the first
//! layer's weights, most of all, never leave their core.

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

/// What all workers are told.
pub(super) struct StepTask<'a, R> {
    pub samples: &'a Samples<R>,
    /// Row numbers, mini-batch after mini-batch.
    pub order: &'a [u32],
    pub batch_size: usize,
    pub rule: Rule<R>,
    pub isa: Isa,
    /// Layer sizes.
    pub sizes: &'a [usize],
    pub bias: bool,
    pub head: OutputLoss,
    /// Distance between panels of the buffers' values, in rows.
    pub panel_rows: usize,
    /// h of the quotients that stand in for the derivatives of σ and of the loss; `None`: these are
    /// known.
    pub increment: Option<R>,
}

/// A layer that is owned by its units, as one worker holds it.
pub(super) struct OwnedLayer<'b, R> {
    pub panels: Range<usize>,
    pub weights: PhasedSlice<'b, R>,
    pub velocity: Option<PhasedSlice<'b, R>>,
    pub biases: PhasedSlice<'b, R>,
    pub bias_velocity: Option<PhasedSlice<'b, R>>,
    pub activations: PhasedSlice<'b, R>,
    pub slopes: PhasedSlice<'b, R>,
    pub errors: PhasedSlice<'b, R>,
    /// ∂W until nobody reads W any more; empty for the first layer.
    pub sums: PhasedSlice<'b, R>,
}

/// The last layer, as one worker holds it.
pub(super) struct LastLayer<'b, R> {
    pub weights: PhasedSlice<'b, R>,
    pub velocity: Option<PhasedSlice<'b, R>>,
    pub transposed: PhasedSlice<'b, R>,
    pub transposed_velocity: Option<PhasedSlice<'b, R>>,
    pub bias: PhasedSlice<'b, R>,
    pub bias_velocity: Option<PhasedSlice<'b, R>>,
}

/// One worker's memory of its own.
pub(super) struct BackpropScratch<R> {
    pub inputs: Aligned<R>,
    pub outputs: Aligned<R>,
    pub transposed: Aligned<R>,
    pub tile: Aligned<R>,
    pub labels: Vec<u16>,
    pub losses: Vec<R>,
    /// Differences of the losses, where quotients are taken: as `outputs`.
    pub changes: Aligned<R>,
    pub sparse: Workspace<R>,
    pub loss: f64,
}

/// One worker's seat.
pub(super) struct BackpropWorker<'b, R> {
    pub layers: Vec<OwnedLayer<'b, R>>,
    pub last: LastLayer<'b, R>,
    /// Shares of the outputs' pre-activations, written in even and in odd supersteps.
    pub shares: [PhasedSlice<'b, R>; 2],
    pub scratch: &'b mut BackpropScratch<R>,
}

impl<R: Real> BackpropWorker<'_, R> {
    /// All mini-batches of the task.
    pub(super) async fn train(mut self, task: &StepTask<'_, R>, mut step: Superstep<'_>) {
        let hidden = task.sizes.len() - 2;
        let mut batches = task.order.chunks(task.batch_size);
        while let Some(rows) = batches.next() {
            self.forward_first(task, rows, &step);
            for h in 1..hidden {
                step = step.next().await;
                self.forward(h, task, rows.len(), &step);
            }
            self.share_outputs(task, rows.len(), &step);
            step = step.next().await;
            self.output_errors(task, rows, &step);
            if hidden > 0 {
                self.backward_last(task, rows.len(), &step);
            }
            for h in (0..hidden.saturating_sub(1)).rev() {
                step = step.next().await;
                self.backward(h, task, rows.len(), &step);
                self.weight_sums(h + 1, task, rows.len(), &step);
                if h + 2 < hidden {
                    self.apply(h + 2, task, &step);
                }
            }
            if let Inputs::Sparse(records) = task.samples.inputs() {
                // While the update computes, the next records come.
                let mut ahead = batches.clone();
                let mut next = || ahead.next().unwrap_or_default();
                records.prefetch(next(), next());
            }
            self.update_first(task, rows, &step);
            if hidden >= 2 {
                step = step.next().await;
                self.apply(1, task, &step);
            }
        }
    }

    /// a_1 of own units, from the inputs.
    fn forward_first(&mut self, task: &StepTask<'_, R>, rows: &[u32], step: &Superstep<'_>) {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let activate = task.sizes.len() > 2;
        let layer = &mut self.layers[0];
        let panels = layer.panels.len();
        if panels == 0 && step.workers() > 1 && !activate {
            return;
        }
        let out = if activate {
            layer.activations.own(step)
        } else {
            self.shares[step.phase()].own(step)
        };
        // σ and σ′ of sparse inputs come with their z.
        let sparse = matches!(task.samples.inputs(), Inputs::Sparse(_));
        let fused = activate && sparse && task.increment.is_none();
        match task.samples.inputs() {
            Inputs::Sparse(records) => task.isa.run(SparseForward {
                records,
                rows,
                weights: layer.weights.mine(step),
                biases: layer.biases.mine(step),
                activations: out,
                slopes: fused.then(|| layer.slopes.own(step)),
                stride,
                transposed: self.scratch.sparse.transposed(rows.len()),
            }),
            _ => {
                task.samples.gather(rows, &mut self.scratch.inputs, stride);
                task.isa.run(Product {
                    left: LeftOperand::rows_of(&self.scratch.inputs, stride),
                    rows: rows.len(),
                    depth: task.sizes[0],
                    right: layer.weights.mine(step),
                    right_stride: task.sizes[0] * p,
                    start: Some(layer.biases.mine(step)),
                    out,
                    out_stride: stride,
                    panels,
                });
            }
        }
        if activate {
            if !fused {
                activate_panels(task, rows.len(), panels, out, layer.slopes.own(step));
            }
            layer.clear_padding(task, 0, rows.len(), step);
        }
    }

    /// a_{h+1} of own units, from a_h.
    fn forward(&mut self, h: usize, task: &StepTask<'_, R>, rows: usize, step: &Superstep<'_>) {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let (below, layer) = neighbors(&mut self.layers, h);
        let panels = layer.panels.len();
        let out = layer.activations.own(step);
        task.isa.run(Product {
            left: LeftOperand::rows_of(below.activations.all(step), stride),
            rows,
            depth: task.sizes[h],
            right: layer.weights.mine(step),
            right_stride: task.sizes[h] * p,
            start: Some(layer.biases.mine(step)),
            out,
            out_stride: stride,
            panels,
        });
        activate_panels(task, rows, panels, out, layer.slopes.own(step));
        layer.clear_padding(task, h, rows, step);
    }

    /// Each own hidden panel's share of the outputs' pre-activations.
    fn share_outputs(&mut self, task: &StepTask<'_, R>, rows: usize, step: &Superstep<'_>) {
        let hidden = task.sizes.len() - 2;
        if hidden == 0 {
            return;
        }
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let (units, outputs) = (task.sizes[hidden], task.sizes[hidden + 1]);
        let output_panels = outputs.div_ceil(p);
        let strides = Strides::new::<R>(outputs);
        let layer = &self.layers[hidden - 1];
        let activations = layer.activations.mine(step);
        let weights = self.last.weights.mine(step);
        let shares = self.shares[step.phase()].own(step);
        for (k, panel) in layer.panels.clone().enumerate() {
            task.isa.run(Product {
                left: LeftOperand::rows_of(&activations[k * stride..], stride),
                rows,
                depth: p.min(units - panel * p),
                right: &weights[k * strides.blocks..],
                right_stride: p * p,
                start: None,
                out: &mut shares[k * output_panels * stride..],
                out_stride: stride,
                panels: output_panels,
            });
        }
    }

    /// δ of the outputs, by every worker alike.
    fn output_errors(&mut self, task: &StepTask<'_, R>, rows: &[u32], step: &Superstep<'_>) {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let hidden = task.sizes.len() - 2;
        let outputs = task.sizes[hidden + 1];
        let output_panels = outputs.div_ceil(p);
        let shares = self.shares[1 - step.phase()].all(step);
        let z = &mut self.scratch.outputs;
        if hidden == 0 {
            for panel in 0..output_panels {
                let range = panel * stride..panel * stride + rows.len() * p;
                z[range.clone()].copy_from_slice(&shares[range]);
            }
        } else {
            task.isa.run(crate::kernels::update::SumShares {
                bias: self.last.bias.mine(step),
                shares,
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
        let share = R::from_f64(1.0 / rows.len() as f64);
        self.scratch.loss += match task.increment {
            None => task.isa.run(OutputErrors {
                head: task.head,
                columns: outputs,
                labels,
                scale: share,
                values: z,
                stride,
            }),
            Some(h) => self.output_quotients(task, h, share),
        };
    }

    /// The outputs' z become (L(z + h) − L(z))/h, output by output, times `share`; the sum of the
    /// rows' losses.
    fn output_quotients(&mut self, task: &StepTask<'_, R>, h: R, share: R) -> f64 {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let count = task.sizes[task.sizes.len() - 1];
        let BackpropScratch {
            outputs: z,
            changes,
            labels,
            losses,
            ..
        } = &mut *self.scratch;
        let held: &[R] = z;
        let units = Units {
            z: held,
            y: held,
            complement: held,
            count,
            row_stride: p,
            panel_stride: stride,
        };
        losses.resize(labels.len(), R::ZERO);
        task.isa.run(RowLosses {
            head: task.head,
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
                        carried: Propagation::Values,
                        central: false,
                    },
                    panel,
                    increments,
                    values: &[R::ONE],
                    slots: &[0],
                    bound: h.to_f64(),
                    outputs: RowOutputs {
                        head: task.head,
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
                share,
                increments,
                changes,
            });
        }
        std::mem::swap(z, changes);
        losses.iter().map(|loss| loss.to_f64()).sum()
    }

    /// δ_H of own units, then the update of the last layer.
    fn backward_last(&mut self, task: &StepTask<'_, R>, rows: usize, step: &Superstep<'_>) {
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
        let errors = layer.errors.own(step);
        task.isa.run(Product {
            left: LeftOperand::rows_of(top, stride),
            rows,
            depth: outputs,
            right: last.transposed.mine(step),
            right_stride: strides.transposed,
            start: None,
            out: errors,
            out_stride: stride,
            panels,
        });
        for k in 0..panels {
            let range = k * stride..k * stride + rows * p;
            let slopes = &layer.slopes.mine(step)[range.clone()];
            task.isa.run(Multiply {
                values: &mut errors[range],
                factors: slopes,
            });
        }
        let activations = layer.activations.mine(step);
        for k in 0..panels {
            // ∂W[j][i] = Σ_s δ[s][j]·a[s][i], along i for the backward copy, along j for the other.
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
                step,
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
                    step,
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
                    step,
                );
            }
            let layer = &mut self.layers[hidden - 1];
            layer.update_biases(task, rows, step);
        }
    }

    /// δ_{h+1} of own units, from δ_{h+2}.
    fn backward(&mut self, h: usize, task: &StepTask<'_, R>, rows: usize, step: &Superstep<'_>) {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let (layer, above) = neighbors(&mut self.layers, h + 1);
        let (units, depth) = (task.sizes[h + 1], task.sizes[h + 2]);
        let transposed = &mut self.scratch.transposed;
        let weights = above.weights.all(step);
        let errors = layer.errors.own(step);
        let slopes = layer.slopes.mine(step);
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
                left: LeftOperand::rows_of(above.errors.all(step), stride),
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
            layer.update_biases(task, rows, step);
        }
    }

    /// ∂W_{h+1} of own units, kept until nobody reads the weights.
    fn weight_sums(&mut self, h: usize, task: &StepTask<'_, R>, rows: usize, step: &Superstep<'_>) {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let (below, layer) = neighbors(&mut self.layers, h);
        let fan_in = task.sizes[h];
        let activations = below.activations.all(step);
        let errors = layer.errors.mine(step);
        let sums = layer.sums.own(step);
        for (q, from) in (0..fan_in).step_by(p).enumerate() {
            task.isa.run(Product {
                left: LeftOperand::columns_of(&activations[q * stride..]),
                rows: p.min(fan_in - from),
                depth: rows,
                right: errors,
                right_stride: stride,
                start: None,
                out: &mut sums[if layer.panels.is_empty() { 0 } else { from * p }..],
                out_stride: fan_in * p,
                panels: layer.panels.len(),
            });
        }
    }

    /// Applies the rule to layer h's weights with the sums kept.
    fn apply(&mut self, h: usize, task: &StepTask<'_, R>, step: &Superstep<'_>) {
        let layer = &mut self.layers[h];
        let sums = layer.sums.mine(step);
        update(
            task,
            sums,
            &mut layer.weights,
            &mut layer.velocity,
            0..sums.len(),
            step,
        );
    }

    /// The update of the first layer, fused with its gradient.
    fn update_first(&mut self, task: &StepTask<'_, R>, rows: &[u32], step: &Superstep<'_>) {
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
            layer.errors.mine(step)
        };
        if single && task.bias {
            for k in 0..panels.len() {
                bias_update(
                    task,
                    &errors[k * stride..][..rows.len() * p],
                    &mut layer.biases,
                    &mut layer.bias_velocity,
                    k,
                    step,
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
                weights: layer.weights.own(step),
                velocity: layer.velocity.as_mut().map(|velocity| velocity.own(step)),
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
                        step,
                    );
                }
            }
        }
    }
}

impl<R: Real> OwnedLayer<'_, R> {
    /// Activations and slopes of units that are only padding become 0, and so do their errors.
    fn clear_padding(
        &mut self,
        task: &StepTask<'_, R>,
        h: usize,
        rows: usize,
        step: &Superstep<'_>,
    ) {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        let units = task.sizes[h + 1];
        if units.is_multiple_of(p) || self.panels.end * p < units || self.panels.is_empty() {
            return;
        }
        let start = (self.panels.len() - 1) * stride;
        for values in [self.activations.own(step), self.slopes.own(step)] {
            for row in values[start..start + rows * p].chunks_exact_mut(p) {
                row[units % p..].fill(R::ZERO);
            }
        }
    }

    fn update_biases(&mut self, task: &StepTask<'_, R>, rows: usize, step: &Superstep<'_>) {
        let (p, stride) = (width::<R>(), task.panel_rows * width::<R>());
        for k in 0..self.panels.len() {
            let errors = &self.errors.mine(step)[k * stride..][..rows * p];
            bias_update(
                task,
                errors,
                &mut self.biases,
                &mut self.bias_velocity,
                k,
                step,
            );
        }
    }
}

/// Layers h − 1 and h.
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

/// The rule over `range` of own weights.
fn update<R: Real>(
    task: &StepTask<'_, R>,
    gradient: &[R],
    weights: &mut PhasedSlice<'_, R>,
    velocity: &mut Option<PhasedSlice<'_, R>>,
    range: Range<usize>,
    step: &Superstep<'_>,
) {
    task.isa.run(Update {
        rule: task.rule,
        gradient,
        weights: &mut weights.own(step)[range.clone()],
        velocity: velocity
            .as_mut()
            .map(|velocity| &mut velocity.own(step)[range]),
    });
}

/// The rule over own bias panel `k`.
fn bias_update<R: Real>(
    task: &StepTask<'_, R>,
    errors: &[R],
    biases: &mut PhasedSlice<'_, R>,
    velocity: &mut Option<PhasedSlice<'_, R>>,
    k: usize,
    step: &Superstep<'_>,
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
        weights: &mut biases.own(step)[k * p..(k + 1) * p],
        velocity: velocity
            .as_mut()
            .map(|velocity| &mut velocity.own(step)[k * p..(k + 1) * p]),
    });
}
