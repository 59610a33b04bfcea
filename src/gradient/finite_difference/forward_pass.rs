//! One forward pass over a mini-batch, from any layer on, up to the losses of the rows.

use super::unit_panels::{UnitPanels, panel_height};
use crate::data::{Batch, GatheredTargets, Inputs, Samples};
use crate::gradient::Control;
use crate::kernels::Isa;
use crate::kernels::divided_difference::base_values::{Pairs, RowLosses};
use crate::kernels::divided_difference::formulas::Units;
use crate::kernels::matmul::{LeftOperand, Product, Start};
use crate::kernels::packed_inputs::{PackedForward, PackedInputs};
use crate::kernels::panels::{Aligned, count, width};
use crate::kernels::sparse::SparseForward;
use crate::kernels::targets::Targets;
use crate::model::Network;
use crate::numeric::Real;

/// Panels of units that a pass computes from packed inputs before it looks at the stop flag: as many
/// as the kernel takes at once.
const PACKED_PANELS: usize = 4;

/// The workspace of a forward pass: the activations of every layer, and the rows' losses.
pub(in crate::gradient) struct ForwardPass<R> {
    capacity: usize,
    /// z, layer by layer, in panels of `(capacity, P)`.
    z: Vec<Aligned<R>>,
    /// σ(z), in the same layout.
    y: Vec<Aligned<R>>,
    one_minus_y: Aligned<R>,
    /// The loss of each row at the last pass.
    pub losses: Vec<R>,
}

/// The rows and settings that all passes of a gradient share.
#[derive(Clone, Copy)]
pub(in crate::gradient) struct PassRows<'a, R> {
    pub network: &'a Network,
    pub isa: Isa,
    pub batch: Batch<'a, R>,
    /// The inputs in panels of `(rows, P)`; unused if the samples are sparse bytes.
    pub inputs: &'a [R],
    /// The inputs, if they are sparse bytes and were packed.
    pub packed: Option<&'a PackedInputs<R>>,
    pub targets: Targets<'a, R>,
    /// The control that counts every pass.
    pub control: &'a Control,
}

/// The inputs and targets of a mini-batch, gathered once for all passes.
pub(in crate::gradient) struct GatheredBatch<R> {
    inputs: Aligned<R>,
    /// Sparse inputs for many passes; `None` if passes read them in place.
    packed: Option<PackedInputs<R>>,
    targets: GatheredTargets<R>,
}

impl<R: Real> GatheredBatch<R> {
    /// Allocates memory for `capacity` rows.
    pub(in crate::gradient) fn new(features: usize, capacity: usize) -> Self {
        Self {
            inputs: Aligned::zeros(count::<R>(features) * capacity * width::<R>()),
            packed: None,
            targets: GatheredTargets::with_capacity(capacity),
        }
    }

    /// Allocates memory for `capacity` rows of `samples`. Sparse bytes will be packed, which takes
    /// as long as three passes.
    pub(in crate::gradient) fn for_many_passes(samples: &Samples<R>, capacity: usize) -> Self {
        let features = samples.features();
        let is_sparse = matches!(samples.inputs(), Inputs::Sparse(_));
        Self {
            packed: is_sparse.then(|| PackedInputs::new(features, capacity)),
            ..Self::new(features, capacity)
        }
    }

    /// Gathers the targets of `batch` for `network`, and its inputs unless they are sparse bytes that passes read
    /// in place.
    pub(in crate::gradient) fn read(&mut self, network: &Network, batch: Batch<'_, R>) {
        self.targets
            .read(batch.samples, batch.rows, &network.class_weights);
        match (batch.samples.inputs(), &mut self.packed) {
            (Inputs::Sparse(records), Some(packed)) => packed.read(records, batch.rows),
            (Inputs::Sparse(_), None) => {}
            _ => self.read_inputs(batch.samples, batch.rows),
        }
    }

    /// Gathers the inputs as numbers, also if they are sparse bytes.
    pub(in crate::gradient) fn read_inputs(&mut self, samples: &Samples<R>, rows: &[u32]) {
        samples.gather(rows, &mut self.inputs, rows.len() * width::<R>());
    }

    /// Returns the gathered `batch` in the form that passes take.
    pub(in crate::gradient) fn rows<'a>(
        &'a self,
        network: &'a Network,
        isa: Isa,
        batch: Batch<'a, R>,
        control: &'a Control,
    ) -> PassRows<'a, R> {
        PassRows {
            network,
            isa,
            batch,
            inputs: &self.inputs,
            packed: self.packed.as_ref(),
            targets: self.targets.targets(),
            control,
        }
    }
}

impl<R: Real> PassRows<'_, R> {
    /// Computes W·a + b of one panel of units over the mini-batch into `out`, `(rows, P)`.
    /// `weights`, `(fan_in + 1, P)`, is the panel, with the biases last; a is `below`, or the
    /// inputs if `None`. If the control is interrupted, the result is unspecified.
    pub(in crate::gradient) fn products(
        &self,
        weights: &[R],
        below: Option<LeftOperand<'_, R>>,
        out: &mut [R],
    ) {
        let p = width::<R>();
        let fan_in = weights.len() / p - 1;
        let (weights, bias) = weights.split_at(fan_in * p);
        let left = match (below, self.batch.samples.inputs()) {
            (Some(below), _) => below,
            (None, Inputs::Sparse(records)) => {
                self.isa.run(SparseForward {
                    records,
                    rows: self.batch.rows,
                    weights,
                    biases: bias,
                    activations: out,
                    slopes: None,
                    stride: 0,
                    transposed: None,
                });
                return;
            }
            (None, _) => LeftOperand::rows_of(self.inputs, self.batch.rows.len() * p),
        };
        let product = Product {
            left,
            rows: self.batch.rows.len(),
            depth: fan_in,
            right: weights,
            right_stride: 0,
            start: Start::Columns(bias),
            out,
            out_stride: 0,
            panels: 1,
        };
        product.run_unless_stopped(self.isa, self.control.interruption());
    }
}

impl<R: Real> ForwardPass<R> {
    /// Allocates memory for `capacity` rows.
    pub(in crate::gradient) fn new(network: &Network, capacity: usize) -> Self {
        let p = width::<R>();
        let sizes = network.layout.sizes();
        let zeros = |units: usize| Aligned::zeros(count::<R>(units) * capacity * p);
        let widest = sizes[1..].iter().copied().max().unwrap_or(0);
        Self {
            capacity,
            z: sizes[1..].iter().map(|&units| zeros(units)).collect(),
            y: sizes[1..].iter().map(|&units| zeros(units)).collect(),
            one_minus_y: zeros(widest),
            losses: vec![R::ZERO; capacity],
        }
    }

    /// Computes the rows' losses at θ = `weights` and counts the pass: all layers from `first` on,
    /// with the activations of the layer below from `below`, which is required unless `first` is 0.
    pub(in crate::gradient) fn run(
        &mut self,
        rows: &PassRows<'_, R>,
        weights: &UnitPanels<R>,
        first: usize,
        below: Option<&Self>,
    ) {
        self.run_uncounted(rows, weights, first, below);
        rows.control.count(1);
    }

    /// Does what [`ForwardPass::run`] does, but leaves it to the caller to count the pass. If the
    /// control is interrupted, the pass ends after a panel of units, and the losses are unspecified.
    pub(in crate::gradient) fn run_uncounted(
        &mut self,
        rows: &PassRows<'_, R>,
        weights: &UnitPanels<R>,
        first: usize,
        below: Option<&Self>,
    ) {
        let p = width::<R>();
        let sizes = rows.network.layout.sizes();
        let (layers, batch) = (rows.network.layout.layers(), rows.batch.rows.len());
        let stride = self.capacity * p;
        for (layer, &fan_in) in sizes[..layers].iter().enumerate().skip(first) {
            if let (0, Some(inputs)) = (layer, rows.packed) {
                let activate = layers > 1;
                let values = if activate { &mut self.y } else { &mut self.z };
                let pieces = weights
                    .layer(0)
                    .chunks(PACKED_PANELS * panel_height(fan_in) * p);
                for (weights, out) in pieces.zip(values[0].chunks_mut(PACKED_PANELS * stride)) {
                    if rows.control.is_interrupted() {
                        return;
                    }
                    rows.isa.run(PackedForward {
                        inputs,
                        weights,
                        activate,
                        out,
                        stride,
                    });
                }
                continue;
            }
            let panels = weights.layer(layer).chunks_exact(panel_height(fan_in) * p);
            for (panel, weights) in panels.enumerate() {
                if rows.control.is_interrupted() {
                    return;
                }
                let range = panel * stride..panel * stride + batch * p;
                let below = match layer {
                    0 => None,
                    _ if layer == first => {
                        let below = below.expect(
                            "a pass from a layer above the first has the activations below it",
                        );
                        Some(LeftOperand::rows_of(&below.y[layer - 1], stride))
                    }
                    _ => Some(LeftOperand::rows_of(&self.y[layer - 1], stride)),
                };
                rows.products(weights, below, &mut self.z[layer][range.clone()]);
                if layer + 1 < layers {
                    rows.isa.run(Pairs {
                        z: &self.z[layer][range.clone()],
                        y: &mut self.y[layer][range.clone()],
                        one_minus_y: &mut self.one_minus_y[range],
                    });
                }
            }
        }
        let z = &self.z[layers - 1];
        rows.isa.run(RowLosses {
            output_loss: rows.network.output_loss(),
            units: Units {
                z,
                y: z,
                one_minus_y: z,
                count: sizes[layers],
                row_stride: p,
                panel_stride: stride,
            },
            targets: rows.targets,
            losses: &mut self.losses[..batch],
        });
    }
}
