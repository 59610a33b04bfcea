//! The buffers of backprop split by units, and each worker's parts of them.

use super::{LastLayer, OwnedLayer, UnitWorker};
use crate::gradient::backprop::packed::{PackedParameters, Strides, WithVelocity, owned_layers};
use crate::gradient::backprop::parameter_part::ParameterPart;
use crate::gradient::backprop::{Scratch, next_part};
use crate::kernels::panels::{Aligned, GAP_ROWS, count, width};
use crate::model::Layout;
use crate::numeric::Real;
use crate::parallel::Supersteps;

/// The buffers that the workers share.
pub(in crate::gradient::backprop) struct UnitBuffers<R> {
    /// Distance between two panels of values, in rows: the capacity and [`GAP_ROWS`] more, so that
    /// the memory of two workers is apart.
    pub panel_rows: usize,
    /// Activations a of each hidden layer; these buffers are panels of `(panel_rows, P)`.
    activations: Vec<Aligned<R>>,
    /// Slopes σ′(z) of each hidden layer.
    slopes: Vec<Aligned<R>>,
    /// Errors δ of each hidden layer.
    errors: Vec<Aligned<R>>,
    /// ∂W of each layer that is partitioned by its own units, in the layout of the weights; empty
    /// for the first layer, whose update is fused with its gradient.
    weight_gradients: Vec<Aligned<R>>,
    /// Partial sums of the outputs' pre-activations, one per hidden panel; written in even and in
    /// odd supersteps.
    partial_outputs: [Aligned<R>; 2],
}

impl<R: Real> UnitBuffers<R> {
    /// Allocates buffers for mini-batches of at most `capacity` rows.
    pub(in crate::gradient::backprop) fn new(layout: &Layout, capacity: usize) -> Self {
        let (sizes, p) = (layout.sizes(), width::<R>());
        let (owned, hidden) = (owned_layers(layout), layout.layers() - 1);
        let panels = |units: usize| count::<R>(units);
        let panel_rows = capacity + GAP_ROWS;
        let rows = |h: usize| Aligned::zeros(panels(sizes[h + 1]) * panel_rows * p);
        let partial_panels = if hidden > 0 { panels(sizes[owned]) } else { 1 };
        let partial_size = partial_panels * panels(sizes[hidden + 1]) * panel_rows * p;
        let gradient_size = |h: usize| match h {
            0 => 0,
            _ => panels(sizes[h + 1]) * sizes[h] * p,
        };
        Self {
            panel_rows,
            activations: (0..hidden).map(rows).collect(),
            slopes: (0..hidden).map(rows).collect(),
            errors: (0..hidden).map(rows).collect(),
            weight_gradients: (0..owned)
                .map(|h| Aligned::zeros(gradient_size(h)))
                .collect(),
            partial_outputs: [(); 2].map(|()| Aligned::zeros(partial_size)),
        }
    }

    /// Partitions all buffers among the workers: each gets the panels that it owns.
    pub(in crate::gradient::backprop) fn workers<'b>(
        &'b mut self,
        layout: &Layout,
        supersteps: &Supersteps,
        weights: &'b mut PackedParameters<R>,
        velocity: Option<&'b mut PackedParameters<R>>,
        scratch: &'b mut Scratch<R>,
    ) -> Vec<UnitWorker<'b, R>> {
        let workers = supersteps.workers();
        let (sizes, p, panel_rows) = (layout.sizes(), width::<R>(), self.panel_rows);
        let hidden = layout.layers() - 1;
        let output_panels = count::<R>(sizes[hidden + 1]);
        let strides = Strides::new::<R>(sizes[hidden + 1]);
        let partition = |panels: usize| {
            (0..workers).map(move |w| panels * w / workers..panels * (w + 1) / workers)
        };
        let parts = |panels: usize, size: usize| {
            partition(panels).map(move |panels| panels.start * size..panels.end * size)
        };
        let parity = |l: usize, shared: bool| shared.then_some(l % 2);
        let parameters = weights.with_velocity(velocity);

        let mut layers: Vec<Vec<OwnedLayer<'b, R>>> = (0..workers).map(|_| Vec::new()).collect();
        let mut activations = self.activations.iter_mut();
        let mut slopes = self.slopes.iter_mut();
        let mut errors = self.errors.iter_mut();
        let mut gradients = self.weight_gradients.iter_mut();
        for (h, (weights, biases)) in parameters.layers.into_iter().enumerate() {
            let l = h + 1;
            let panels = count::<R>(sizes[l]);
            let size = sizes[h] * p;
            let rows = |values: Option<&'b mut Aligned<R>>, written: Option<usize>| {
                let (values, size) = match values {
                    Some(values) => (&mut values[..], panel_rows * p),
                    None => (&mut [][..], 0),
                };
                let parts = supersteps.share(values, written, parts(panels, size));
                parts.into_iter()
            };
            let block = weights.0.len();
            let mut weights = ParameterPart::share(
                supersteps,
                weights,
                parity(l, h > 0),
                block,
                parts(panels, size),
            );
            let block = biases.0.len();
            let mut biases =
                ParameterPart::share(supersteps, biases, None, block, parts(panels, p));
            let mut activations = rows(activations.next(), parity(h, l < hidden));
            let mut slopes = rows(slopes.next(), None);
            let mut errors = rows(errors.next(), parity(l, h > 0));
            let size = if h == 0 { 0 } else { size };
            let gradients = next_part(&mut gradients);
            let mut gradients = supersteps
                .share(gradients, None, parts(panels, size))
                .into_iter();
            for (panels, layers) in partition(panels).zip(&mut layers) {
                layers.push(OwnedLayer {
                    panels,
                    weights: next_part(&mut weights),
                    biases: next_part(&mut biases),
                    activations: next_part(&mut activations),
                    slopes: next_part(&mut slopes),
                    errors: next_part(&mut errors),
                    weight_gradients: next_part(&mut gradients),
                });
            }
        }

        let panels = match hidden {
            0 => 0,
            _ => count::<R>(sizes[hidden]),
        };
        let last = |parameters: WithVelocity<'b, R>, panels: usize, size: usize| {
            let block = parameters.0.len();
            ParameterPart::share(supersteps, parameters, None, block, parts(panels, size))
        };
        let mut blocks = last(parameters.last, panels, strides.blocks);
        let mut transposed = last(parameters.last_transposed, panels, strides.transposed);
        // Each worker has a copy of the biases.
        let mut bias = last(parameters.last_bias, workers, strides.biases);
        let (partial_panels, partial_size) = match hidden {
            0 => (output_panels, panel_rows * p),
            _ => (panels, output_panels * panel_rows * p),
        };
        let [even, odd] = &mut self.partial_outputs;
        let partial = |values, phase| {
            let parts = supersteps.share(values, phase, parts(partial_panels, partial_size));
            parts.into_iter()
        };
        let (mut even, mut odd) = (partial(&mut even[..], 0), partial(&mut odd[..], 1));
        let workers = layers
            .into_iter()
            .zip(scratch)
            .map(|(layers, scratch)| UnitWorker {
                layers,
                last: LastLayer {
                    weights: next_part(&mut blocks),
                    transposed: next_part(&mut transposed),
                    bias: next_part(&mut bias),
                },
                partial_outputs: [next_part(&mut even), next_part(&mut odd)],
                scratch,
            });
        workers.collect()
    }
}
