//! What backprop computes layer by layer, for a worker of either split: the calls of the kernels.
//!
//! A worker by units calls these functions for its own panels and all rows of the mini-batch, a
//! worker by rows for all panels and its own rows. Values are panels of `(rows, P)`.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use super::packed::Strides;
use crate::data::{GatheredTargets, Inputs, Samples};
use crate::gradient::finite_difference::quotient::{DivideSums, Scheme};
use crate::kernels::Isa;
use crate::kernels::divided_difference::base_values::RowLosses;
use crate::kernels::divided_difference::formulas::{
    LossForm, OutputRow as RowOutputs, Propagation, Units,
};
use crate::kernels::divided_difference::one_layer::PerturbOutputs;
use crate::kernels::matmul::{LeftOperand, Product, Start};
use crate::kernels::output_loss::{LossTerms, OutputErrors};
use crate::kernels::panels::{Aligned, transpose, width};
use crate::kernels::sparse::Workspace;
use crate::kernels::update::{
    Activate, ActivateByQuotient, ColumnSums, Multiply, Rule, SumPartials,
};
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;

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
    /// Factor of the loss of a row of each class; empty if all count the same.
    pub class_weights: &'a [f64],
    /// Distance between two panels of values, in numbers.
    pub stride: usize,
    /// Increment h of the quotients that replace the derivatives of σ and of the loss; `None`:
    /// analytic derivatives.
    pub increment: Option<R>,
    /// The flag that stops the step; `None` for short steps, which end by themselves.
    pub stop: Option<&'a AtomicBool>,
    /// Whether workers of other ranks have a share of the step.
    pub is_exchanged: bool,
}

/// One worker's scratch memory.
pub(super) struct BackpropScratch<R> {
    /// Dense inputs of a worker by units.
    pub inputs: Aligned<R>,
    /// The outputs' z, then their δ, of a worker by units.
    pub outputs: Aligned<R>,
    pub transposed: Aligned<R>,
    pub tile: Aligned<R>,
    pub output: OutputScratch<R>,
    pub sparse: Workspace<R>,
    /// Sum of the rows' losses; the first worker's counts.
    pub loss: f64,
}

/// Scratch memory of the output errors.
pub(super) struct OutputScratch<R> {
    pub targets: GatheredTargets<R>,
    /// Losses of the rows, for difference quotients.
    pub losses: Vec<R>,
    /// Changes of the losses, for difference quotients; of the shape of the outputs.
    pub changes: Aligned<R>,
}

/// Some panels of a layer's units: the weights into them, and the values that the forward pass
/// writes.
pub(super) struct UnitPanels<'a, R> {
    pub panels: Range<usize>,
    pub weights: &'a [R],
    pub biases: &'a [R],
    /// σ(z); z if it is the output layer of a network without hidden units.
    pub activations: &'a mut [R],
    /// σ′(z); unused in that case.
    pub slopes: &'a mut [R],
}

/// Values of all rows of a mini-batch, in one region per share of the rows.
#[derive(Clone, Copy)]
pub(super) struct Values<'a, R> {
    pub values: &'a [R],
    /// Number of panels of a region.
    pub panels: usize,
    /// Position in each region of the first number that is used.
    pub from: usize,
}

impl<'a, R> Values<'a, R> {
    /// Returns the numbers of region `region`, from the first that is used.
    pub(super) fn region(&self, region: usize, stride: usize) -> &'a [R] {
        &self.values[region * self.panels * stride + self.from..]
    }
}

/// A tile of a weight gradient, ∂W[i][j] = Σ_s a[s][i]·δ[s][j], with i in one panel of the layer
/// below.
pub(super) struct GradientTile<'a, R> {
    pub activations: Values<'a, R>,
    /// Number of i.
    pub lines: usize,
    pub errors: Values<'a, R>,
    /// Number of panels of j.
    pub panels: usize,
    /// Panels out, each `(lines, P)`.
    pub out: &'a mut [R],
    /// Distance between panels of `out`, in numbers.
    pub out_stride: usize,
}

/// Iterates over the regions of a mini-batch that are not empty: the region's number and its rows.
/// `ends` has the end of each region's rows in the mini-batch.
pub(super) fn regions(ends: &[usize]) -> impl Iterator<Item = (usize, Range<usize>)> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let rows = starts.zip(ends).map(|(start, &end)| start..end);
    rows.enumerate().filter(|(_, rows)| !rows.is_empty())
}

impl<R: Real> StepTask<'_, R> {
    /// Returns the number of hidden layers.
    pub(super) fn hidden(&self) -> usize {
        self.sizes.len() - 2
    }

    /// Returns the number of outputs.
    pub(super) fn outputs(&self) -> usize {
        self.sizes[self.sizes.len() - 1]
    }

    /// Computes the activations of the first layer. Dense inputs are gathered into `inputs`;
    /// `transposed` is as in [`SparseForward`](crate::kernels::sparse::SparseForward).
    pub(super) fn forward_first(
        &self,
        rows: &[u32],
        inputs: &mut [R],
        transposed: Option<&mut [u8]>,
        mut units: UnitPanels<'_, R>,
    ) {
        let activates = self.hidden() > 0;
        let Inputs::Sparse(records) = self.samples.inputs() else {
            self.gather(rows, inputs);
            return self.forward(0, rows.len(), inputs, units);
        };
        // The kernel for sparse inputs computes σ and σ′ together with z.
        let fused = activates && self.increment.is_none();
        self.forward_sparse((records, rows), transposed, &mut units, fused);
        if activates {
            self.activate(0, rows.len(), units, fused);
        }
    }

    /// Computes the activations of layer h + 1 from those of layer h.
    pub(super) fn forward(&self, h: usize, rows: usize, below: &[R], units: UnitPanels<'_, R>) {
        self.multiply(Product {
            left: LeftOperand::rows_of(below, self.stride),
            rows,
            depth: self.sizes[h],
            right: units.weights,
            right_stride: self.sizes[h] * width::<R>(),
            start: Start::Columns(units.biases),
            out: &mut *units.activations,
            out_stride: self.stride,
            panels: units.panels.len(),
        });
        if self.hidden() > 0 {
            self.activate(h, rows, units, false);
        }
    }

    /// Replaces z of layer h + 1 by σ(z), and computes σ′, unless that is `done`. Sets both to 0 in
    /// padding units; their errors are then 0, too.
    fn activate(&self, h: usize, rows: usize, units: UnitPanels<'_, R>, done: bool) {
        let p = width::<R>();
        for k in (0..units.panels.len()).filter(|_| !done) {
            if self.is_stopped() {
                return;
            }
            let range = k * self.stride..k * self.stride + rows * p;
            let activations = &mut units.activations[range.clone()];
            let slopes = &mut units.slopes[range];
            match self.increment {
                None => self.isa.run(Activate {
                    activations,
                    slopes,
                }),
                Some(increment) => self.isa.run(ActivateByQuotient {
                    activations,
                    slopes,
                    increment,
                }),
            }
        }
        let size = self.sizes[h + 1];
        if size.is_multiple_of(p) || units.panels.end * p < size || units.panels.is_empty() {
            return;
        }
        let start = (units.panels.len() - 1) * self.stride;
        for values in [units.activations, units.slopes] {
            for row in values[start..start + rows * p].chunks_exact_mut(p) {
                row[size % p..].fill(R::ZERO);
            }
        }
    }

    /// Computes the partial sums of the outputs' z for each of `panels` of the last hidden layer,
    /// with the last layer's `weights` of these panels.
    pub(super) fn partial_outputs(
        &self,
        rows: usize,
        panels: Range<usize>,
        activations: &[R],
        weights: &[R],
        partial_sums: &mut [R],
    ) {
        let p = width::<R>();
        let (units, outputs) = (self.sizes[self.hidden()], self.outputs());
        let output_panels = outputs.div_ceil(p);
        for (k, panel) in panels.enumerate() {
            self.multiply(Product {
                left: LeftOperand::rows_of(&activations[k * self.stride..], self.stride),
                rows,
                depth: p.min(units - panel * p),
                right: &weights[k * Strides::new::<R>(outputs).blocks..],
                right_stride: p * p,
                start: Start::Zero,
                out: &mut partial_sums[k * output_panels * self.stride..],
                out_stride: self.stride,
                panels: output_panels,
            });
        }
    }

    /// Computes the outputs' z from the partial sums of all hidden panels.
    pub(super) fn sum_outputs(&self, rows: usize, bias: &[R], partial_sums: &[R], z: &mut [R]) {
        let p = width::<R>();
        for piece in self.pieces(rows) {
            self.isa.run(SumPartials {
                bias,
                partial_sums: &partial_sums[piece.start * p..],
                count: self.sizes[self.hidden()].div_ceil(p),
                out: &mut z[piece.start * p..],
                panels: self.outputs().div_ceil(p),
                rows: piece.len(),
                stride: self.stride,
            });
        }
    }

    /// Replaces the outputs' z by δ times `scale`. Returns the sum of the rows' losses, and writes
    /// its terms.
    pub(super) fn output_errors(
        &self,
        rows: &[u32],
        scale: R,
        z: &mut [R],
        scratch: &mut OutputScratch<R>,
        terms: Option<LossTerms<'_, R>>,
    ) -> f64 {
        if self.is_stopped() {
            return 0.0;
        }
        scratch.targets.read(self.samples, rows, self.class_weights);
        let Some(h) = self.increment else {
            return self.isa.run(OutputErrors {
                output_loss: self.output_loss,
                columns: self.outputs(),
                targets: scratch.targets.targets(),
                scale,
                values: z,
                stride: self.stride,
                terms,
            });
        };
        self.output_quotients(h, scale, z, scratch);
        let losses = scratch.losses.iter().map(|loss| loss.to_f64());
        if let Some(terms) = terms {
            for (term, loss) in terms.rows.iter_mut().zip(losses.clone()) {
                *term = loss;
            }
        }
        losses.sum()
    }

    /// Replaces the outputs' z by (L(z + h) − L(z))/h, output by output, times `scale`. The rows'
    /// losses stay in `scratch`.
    fn output_quotients(&self, h: R, scale: R, z: &mut [R], scratch: &mut OutputScratch<R>) {
        let (p, stride) = (width::<R>(), self.stride);
        let OutputScratch {
            targets,
            losses,
            changes,
        } = scratch;
        let targets = targets.targets();
        let values: &[R] = z;
        let units = Units {
            z: values,
            y: values,
            one_minus_y: values,
            count: self.outputs(),
            row_stride: p,
            panel_stride: stride,
        };
        losses.resize(targets.rows(), R::ZERO);
        self.isa.run(RowLosses {
            output_loss: self.output_loss,
            units,
            targets,
            losses,
        });
        let increments = &[h; 16][..p];
        for panel in 0..self.outputs().div_ceil(p) {
            let changes = &mut changes[panel * stride..][..targets.rows() * p];
            for (row, changes) in changes.chunks_exact_mut(p).enumerate() {
                self.isa.run(PerturbOutputs {
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
                        output_loss: self.output_loss,
                        units,
                        row,
                        target: targets.row(row, self.outputs()),
                        // Not read: both terms of a difference are computed.
                        loss: R::ZERO,
                    },
                    changes,
                });
            }
            self.isa.run(DivideSums {
                scheme: Scheme::Forward,
                inverse_rows: scale,
                increments,
                changes,
            });
        }
        for panel in 0..self.outputs().div_ceil(p) {
            let range = panel * stride..panel * stride + targets.rows() * p;
            z[range.clone()].copy_from_slice(&changes[range]);
        }
    }

    /// Computes δ of `panels` panels of the last hidden layer from the outputs' δ, with the last
    /// layer's `transposed` weights of these panels.
    pub(super) fn backward_last(
        &self,
        rows: usize,
        panels: usize,
        outputs: &[R],
        transposed: &[R],
        slopes: &[R],
        errors: &mut [R],
    ) {
        self.multiply(Product {
            left: LeftOperand::rows_of(outputs, self.stride),
            rows,
            depth: self.outputs(),
            right: transposed,
            right_stride: Strides::new::<R>(self.outputs()).transposed,
            start: Start::Zero,
            out: errors,
            out_stride: self.stride,
            panels,
        });
        for k in (0..panels).take_while(|_| !self.is_stopped()) {
            let range = k * self.stride..k * self.stride + rows * width::<R>();
            self.isa.run(Multiply {
                values: &mut errors[range.clone()],
                factors: &slopes[range],
            });
        }
    }

    /// Computes δ of `panels` of layer h + 1 from layer h + 2: its weights, and its δ in `above`.
    pub(super) fn backward(
        &self,
        h: usize,
        rows: usize,
        panels: Range<usize>,
        (weights, above): (&[R], &[R]),
        slopes: &[R],
        (errors, transposed): (&mut [R], &mut [R]),
    ) {
        let (p, stride) = (width::<R>(), self.stride);
        let (units, depth) = (self.sizes[h + 1], self.sizes[h + 2]);
        for (k, panel) in panels.enumerate() {
            if self.is_stopped() {
                return;
            }
            let real = p.min(units - panel * p);
            if real < p {
                transposed.fill(R::ZERO);
            }
            for q in 0..depth.div_ceil(p) {
                let from = &weights[(q * units + panel * p) * p..];
                transpose(from, &mut transposed[q * p * p..], real);
            }
            let out = &mut errors[k * stride..][..rows * p];
            self.multiply(Product {
                left: LeftOperand::rows_of(above, stride),
                rows,
                depth,
                right: transposed,
                right_stride: 0,
                start: Start::Zero,
                out,
                out_stride: 0,
                panels: 1,
            });
            self.isa.run(Multiply {
                values: out,
                factors: &slopes[k * stride..][..rows * p],
            });
        }
    }

    /// Computes a tile of a weight gradient over all rows, region by region: each element is one
    /// chain over the rows in their order.
    pub(super) fn weight_gradient(&self, ends: &[usize], tile: GradientTile<'_, R>) {
        for (k, (region, rows)) in regions(ends).enumerate() {
            self.multiply(Product {
                left: LeftOperand::columns_of(tile.activations.region(region, self.stride)),
                rows: tile.lines,
                depth: rows.len(),
                right: tile.errors.region(region, self.stride),
                right_stride: self.stride,
                start: match k {
                    0 => Start::Zero,
                    _ => Start::Result,
                },
                out: &mut *tile.out,
                out_stride: tile.out_stride,
                panels: tile.panels,
            });
        }
    }

    /// Returns the sums over all rows of one panel of values, in the order of the rows: the
    /// gradient of biases.
    pub(super) fn column_sums(&self, ends: &[usize], values: Values<'_, R>) -> [R; 16] {
        let p = width::<R>();
        let mut sums = [R::ZERO; 16];
        if self.is_stopped() {
            return sums;
        }
        for (region, rows) in regions(ends) {
            self.isa.run(ColumnSums {
                values: &values.region(region, self.stride)[..rows.len() * p],
                out: &mut sums[..p],
            });
        }
        sums
    }
}
