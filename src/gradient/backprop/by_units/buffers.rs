//! The buffers of backprop split by units, and each worker's parts of them.

use std::ops::Range;
use std::vec::IntoIter;

use super::{LastLayer, OwnedLayer, UnitWorker};
use crate::gradient::backprop::packed::{PackedParameters, Strides, WithVelocity, owned_layers};
use crate::gradient::backprop::parameter_part::ParameterPart;
use crate::gradient::backprop::{Scratch, next_part};
use crate::kernels::panels::{Aligned, GAP_ROWS, count, width};
use crate::model::Layout;
use crate::numeric::Real;
use crate::parallel::{PhasedSlice, Supersteps};

/// The buffers that the workers share.
pub(in crate::gradient::backprop) struct UnitBuffers<R> {
    /// Distance between two panels of values, in rows: the capacity and [`GAP_ROWS`] more, so that
    /// the memory of two workers is apart.
    pub panel_rows: usize,
    /// The buffers of each layer that is partitioned by its own units.
    layers: Vec<OwnedBuffers<R>>,
    /// Partial sums of the outputs' pre-activations, one per hidden panel; written in even and in
    /// odd supersteps.
    partial_outputs: [Aligned<R>; 2],
}

/// The buffers of one layer that is partitioned by its own units. The first three are panels of
/// `(panel_rows, P)`, and empty for outputs.
struct OwnedBuffers<R> {
    /// Activations a.
    activations: Aligned<R>,
    /// Slopes σ′(z).
    slopes: Aligned<R>,
    /// Errors δ.
    errors: Aligned<R>,
    /// ∂W in the layout of the weights; empty for the first layer, whose update is fused with its
    /// gradient.
    weight_gradients: Aligned<R>,
}

impl<R: Real> UnitBuffers<R> {
    /// Allocates buffers for mini-batches of at most `capacity` rows.
    pub(in crate::gradient::backprop) fn new(layout: &Layout, capacity: usize) -> Self {
        let (sizes, p) = (layout.sizes(), width::<R>());
        let (owned, hidden) = (owned_layers(layout), layout.layers() - 1);
        let panel_rows = capacity + GAP_ROWS;
        let partial_panels = if hidden > 0 {
            count::<R>(sizes[owned])
        } else {
            1
        };
        let partial_size = partial_panels * count::<R>(sizes[hidden + 1]) * panel_rows * p;
        Self {
            panel_rows,
            layers: (0..owned)
                .map(|h| OwnedBuffers::new(sizes, h, panel_rows))
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
        let (sizes, hidden) = (layout.sizes(), layout.layers() - 1);
        let parameters = weights.with_velocity(velocity);
        let mut layers: Vec<_> = (self.layers.iter_mut().zip(parameters.layers).enumerate())
            .map(|(h, (buffers, parameters))| buffers.share(supersteps, sizes, h, parameters))
            .collect();

        let hidden_panels = match hidden {
            0 => 0,
            _ => count::<R>(sizes[hidden]),
        };
        let last = |parameters| share_parameters(supersteps, parameters, None, hidden_panels);
        let mut blocks = last(parameters.last);
        let mut transposed = last(parameters.last_transposed);
        // Each worker has a copy of the biases.
        let copies = parameters.last_bias;
        let (block, size) = (copies.0.len(), Strides::new::<R>(sizes[hidden + 1]).biases);
        let parts = owned_ranges(supersteps.workers(), supersteps.workers(), size);
        let mut bias = ParameterPart::share(supersteps, copies, None, block, parts);
        let partial_panels = match hidden {
            0 => count::<R>(sizes[1]),
            _ => hidden_panels,
        };
        let [even, odd] = &mut self.partial_outputs;
        let mut even = share_panels(supersteps, even, Some(0), partial_panels);
        let mut odd = share_panels(supersteps, odd, Some(1), partial_panels);
        let workers = scratch.iter_mut().take(supersteps.workers());
        let workers = workers.map(|scratch| UnitWorker {
            layers: layers.iter_mut().map(next_part).collect(),
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

impl<R: Real> OwnedBuffers<R> {
    /// Allocates the buffers of layer `h`, counted from 0.
    fn new(sizes: &[usize], h: usize, panel_rows: usize) -> Self {
        let (panels, p) = (count::<R>(sizes[h + 1]), width::<R>());
        let is_hidden = h + 2 < sizes.len();
        let values = || {
            Aligned::zeros(if is_hidden {
                panels * panel_rows * p
            } else {
                0
            })
        };
        let gradients = if h == 0 { 0 } else { panels * sizes[h] * p };
        Self {
            activations: values(),
            slopes: values(),
            errors: values(),
            weight_gradients: Aligned::zeros(gradients),
        }
    }

    /// Partitions the buffers of layer `h`, its weights and its biases among the workers.
    fn share<'b>(
        &'b mut self,
        supersteps: &Supersteps,
        sizes: &[usize],
        h: usize,
        (weights, biases): (WithVelocity<'b, R>, WithVelocity<'b, R>),
    ) -> impl Iterator<Item = OwnedLayer<'b, R>> + use<'b, R> {
        let (l, hidden) = (h + 1, sizes.len() - 2);
        let panels = count::<R>(sizes[l]);
        // What other workers read is written in supersteps of one parity.
        let parity = |l: usize, is_read: bool| is_read.then_some(l % 2);
        let share = |values, phase| share_panels(supersteps, values, phase, panels);
        let mut weights = share_parameters(supersteps, weights, parity(l, h > 0), panels);
        let mut biases = share_parameters(supersteps, biases, None, panels);
        let mut activations = share(&mut self.activations, parity(h, l < hidden));
        let mut slopes = share(&mut self.slopes, None);
        let mut errors = share(&mut self.errors, parity(l, h > 0));
        let mut gradients = share(&mut self.weight_gradients, None);
        owned_ranges(panels, supersteps.workers(), 1).map(move |panels| OwnedLayer {
            panels,
            weights: next_part(&mut weights),
            biases: next_part(&mut biases),
            activations: next_part(&mut activations),
            slopes: next_part(&mut slopes),
            errors: next_part(&mut errors),
            weight_gradients: next_part(&mut gradients),
        })
    }
}

/// Returns each worker's range of `panels` panels of `size` numbers.
fn owned_ranges(
    panels: usize,
    workers: usize,
    size: usize,
) -> impl Iterator<Item = Range<usize>> + Clone {
    (0..workers).map(move |w| panels * w / workers * size..panels * (w + 1) / workers * size)
}

/// Partitions `values`, which are `panels` panels of the same size, among the workers.
fn share_panels<'b, R: Real>(
    supersteps: &Supersteps,
    values: &'b mut [R],
    write_phase: Option<usize>,
    panels: usize,
) -> IntoIter<PhasedSlice<'b, R>> {
    let ranges = owned_ranges(panels, supersteps.workers(), values.len() / panels);
    supersteps.share(values, write_phase, ranges).into_iter()
}

/// Partitions parameters, which are `panels` panels of the same size, among the workers.
fn share_parameters<'b, R: Real>(
    supersteps: &Supersteps,
    parameters: WithVelocity<'b, R>,
    write_phase: Option<usize>,
    panels: usize,
) -> IntoIter<ParameterPart<'b, R>> {
    let block = parameters.0.len();
    // A network without hidden units has no panels of the last layer.
    let size = block.checked_div(panels).unwrap_or(0);
    let ranges = owned_ranges(panels, supersteps.workers(), size);
    ParameterPart::share(supersteps, parameters, write_phase, block, ranges)
}
