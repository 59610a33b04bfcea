//! One forward pass over a mini-batch, from any layer on: what a whole evaluation repeats.

use super::panels::{UnitPanels, lines};
use crate::data::{Batch, Inputs};
use crate::gradient::Control;
use crate::model::Network;
use crate::numeric::change::Units;
use crate::numeric::losses::{Pairs, RowLosses};
use crate::numeric::panels::{Aligned, count, width};
use crate::numeric::product::{Left, Product};
use crate::numeric::sparse::SparseForward;
use crate::numeric::{Isa, Real};

/// Room for the activations of every layer, and the rows' losses.
pub(super) struct Pass<R> {
    capacity: usize,
    /// z, layer by layer, panels of `(capacity, P)`.
    z: Vec<Aligned<R>>,
    /// σ(z), laid out the same.
    y: Vec<Aligned<R>>,
    complement: Aligned<R>,
    /// Each row's loss at the last pass.
    pub losses: Vec<R>,
}

/// What every pass of a gradient reads.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, R> {
    pub network: &'a Network,
    pub isa: Isa,
    pub batch: Batch<'a, R>,
    /// The inputs in panels of `(rows, P)`, if they are no sparse bytes.
    pub inputs: &'a [R],
    pub labels: &'a [u16],
    /// Told of every pass: none is made that is not counted.
    pub control: &'a Control,
}

impl<R: Real> Pass<R> {
    pub(super) fn new(network: &Network, capacity: usize) -> Self {
        let p = width::<R>();
        let sizes = network.layout.sizes();
        let room = |units: usize| Aligned::zeros(count::<R>(units) * capacity * p);
        let widest = sizes[1..].iter().copied().max().unwrap_or(0);
        Self {
            capacity,
            z: sizes[1..].iter().map(|&units| room(units)).collect(),
            y: sizes[1..].iter().map(|&units| room(units)).collect(),
            complement: room(widest),
            losses: vec![R::ZERO; capacity],
        }
    }

    /// The rows' losses at θ = `weights`: every layer from `first` on, the activations below it
    /// from `below` (`None`: `first` is 0).
    pub(super) fn run(
        &mut self,
        rows: &Rows<'_, R>,
        weights: &UnitPanels<R>,
        first: usize,
        below: Option<&Self>,
    ) {
        let p = width::<R>();
        let sizes = rows.network.layout.sizes();
        let (layers, batch) = (rows.network.layout.layers(), rows.batch.rows.len());
        let stride = self.capacity * p;
        for (layer, &fan_in) in sizes[..layers].iter().enumerate().skip(first) {
            let panels = weights.layer(layer).chunks_exact(lines(fan_in) * p);
            for (panel, weights) in panels.enumerate() {
                let (weights, bias) = weights.split_at(fan_in * p);
                let range = panel * stride..panel * stride + batch * p;
                let out = &mut self.z[layer][range.clone()];
                let left = match (layer, rows.batch.samples.inputs()) {
                    (0, Inputs::Sparse(records)) => {
                        rows.isa.run(SparseForward {
                            records,
                            rows: rows.batch.rows,
                            weights,
                            biases: bias,
                            activations: out,
                            slopes: None,
                            stride: 0,
                            transposed: None,
                        });
                        None
                    }
                    (0, _) => Some(Left::rows_of(rows.inputs, batch * p)),
                    _ if layer == first => {
                        let below = below.expect("a pass from the middle starts from another");
                        Some(Left::rows_of(&below.y[layer - 1], stride))
                    }
                    _ => Some(Left::rows_of(&self.y[layer - 1], stride)),
                };
                if let Some(left) = left {
                    rows.isa.run(Product {
                        left,
                        rows: batch,
                        depth: fan_in,
                        right: weights,
                        right_stride: 0,
                        start: Some(bias),
                        out,
                        out_stride: 0,
                        panels: 1,
                    });
                }
                if layer + 1 < layers {
                    rows.isa.run(Pairs {
                        z: &self.z[layer][range.clone()],
                        y: &mut self.y[layer][range.clone()],
                        complement: &mut self.complement[range],
                    });
                }
            }
        }
        let z = &self.z[layers - 1];
        rows.isa.run(RowLosses {
            head: rows.network.head(),
            units: Units {
                z,
                y: z,
                complement: z,
                count: sizes[layers],
                row_stride: p,
                panel_stride: stride,
            },
            labels: rows.labels,
            losses: &mut self.losses[..batch],
        });
        rows.control.count(1);
    }
}
