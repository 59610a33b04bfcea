//! θ in backprop's packed layout: panels of units, so that the worker that owns a panel owns one
//! range of memory. Both splits use it.
//!
//! P is the number of units of a panel. Each layer but the last holds Wᵀ in panels of units,
//! `(fan_in, P)` each; so does the only layer of a network without hidden units. Otherwise the last
//! layer is partitioned by panels of the *hidden* units that it reads, and stored twice: in blocks
//! `(P, P)` for the forward pass, and as `(outputs, P)` for the backward pass. Both copies are
//! updated by the same operations, hence stay equal, and a step never transposes them.

use crate::kernels::panels::{Aligned, GAP_ROWS, count, width};
use crate::model::{Layout, Parameters};
use crate::numeric::Real;

/// θ, a gradient or a velocity in the packed layout.
pub struct PackedParameters<R> {
    /// Wᵀ of every layer that is partitioned by its own units: panels of `(fan_in, P)`.
    pub hidden: Vec<Aligned<R>>,
    /// Biases of these layers, panels of `(P,)`.
    pub biases: Vec<Aligned<R>>,
    /// Last layer, one `(P, P)` block per hidden panel ([`Strides::blocks`] apart) and output
    /// panel; empty without hidden units.
    pub last: Aligned<R>,
    /// Last layer again, `(outputs, P)` per hidden panel ([`Strides::transposed`] apart).
    pub last_transposed: Aligned<R>,
    /// Biases of the last layer, one equal copy per worker ([`Strides::biases`] apart).
    pub last_bias: Aligned<R>,
    /// Number of copies of the last layer's biases.
    pub copies: usize,
}

/// Distances between the parts of the last layer, in numbers.
#[derive(Clone, Copy, Debug)]
pub struct Strides {
    /// Distance from a hidden panel's `(P, P)` blocks to those of the next panel.
    pub blocks: usize,
    /// Distance from a hidden panel's transposed weights to those of the next panel.
    pub transposed: usize,
    /// Distance from a worker's copy of the biases to the next copy.
    pub biases: usize,
}

impl Strides {
    /// Returns the distances for a last layer of `outputs` units.
    pub fn new<R: Real>(outputs: usize) -> Self {
        let (p, panels) = (width::<R>(), count::<R>(outputs));
        Self {
            blocks: (panels * p + GAP_ROWS) * p,
            transposed: (outputs + GAP_ROWS) * p,
            biases: (panels + GAP_ROWS) * p,
        }
    }
}

/// A buffer of parameters, and that of their velocity, if there is one.
pub type WithVelocity<'b, R> = (&'b mut [R], Option<&'b mut [R]>);

/// The buffers of [`PackedParameters`], each with its velocity.
pub struct Buffers<'b, R> {
    /// Weights and biases of each layer that is partitioned by its own units.
    pub layers: Vec<(WithVelocity<'b, R>, WithVelocity<'b, R>)>,
    /// Last layer, in blocks.
    pub last: WithVelocity<'b, R>,
    /// Last layer, transposed.
    pub last_transposed: WithVelocity<'b, R>,
    /// Copies of the last layer's biases.
    pub last_bias: WithVelocity<'b, R>,
}

/// Returns the number of layers that are partitioned by their own units: the hidden layers, or the
/// only layer of a network without any.
pub fn owned_layers(layout: &Layout) -> usize {
    (layout.layers() - 1).max(1)
}

impl<R: Real> PackedParameters<R> {
    /// Creates packed zeros, with `copies` copies of the last layer's biases.
    pub fn zeros(layout: &Layout, copies: usize) -> Self {
        let (sizes, p) = (layout.sizes(), width::<R>());
        let owned = owned_layers(layout);
        let strides = Strides::new::<R>(sizes[layout.layers()]);
        let hidden_panels = if layout.layers() > 1 {
            count::<R>(sizes[owned])
        } else {
            0
        };
        Self {
            hidden: (0..owned)
                .map(|h| Aligned::zeros(count::<R>(sizes[h + 1]) * sizes[h] * p))
                .collect(),
            biases: (0..owned)
                .map(|h| Aligned::zeros(count::<R>(sizes[h + 1]) * p))
                .collect(),
            last: Aligned::zeros(hidden_panels * strides.blocks),
            last_transposed: Aligned::zeros(hidden_panels * strides.transposed),
            last_bias: Aligned::zeros(copies * strides.biases),
            copies,
        }
    }

    /// Sets everything to zero.
    pub fn clear(&mut self) {
        for values in self.hidden.iter_mut().chain(&mut self.biases) {
            values.fill(R::ZERO);
        }
        for values in [
            &mut self.last,
            &mut self.last_transposed,
            &mut self.last_bias,
        ] {
            values.fill(R::ZERO);
        }
    }

    /// Creates packed zeros of the same shape.
    pub fn zeros_like(&self) -> Self {
        let zeros = |values: &Aligned<R>| Aligned::zeros(values.len());
        Self {
            hidden: self.hidden.iter().map(zeros).collect(),
            biases: self.biases.iter().map(zeros).collect(),
            last: zeros(&self.last),
            last_transposed: zeros(&self.last_transposed),
            last_bias: zeros(&self.last_bias),
            copies: self.copies,
        }
    }

    /// Copies all numbers of `other`, which has the same shape.
    pub fn copy_from(&mut self, other: &Self) {
        let layers = (self.hidden.iter_mut().zip(&other.hidden))
            .chain(self.biases.iter_mut().zip(&other.biases));
        let last = [
            (&mut self.last, &other.last),
            (&mut self.last_transposed, &other.last_transposed),
            (&mut self.last_bias, &other.last_bias),
        ];
        layers
            .chain(last)
            .for_each(|(to, from)| to.copy_from_slice(from));
    }

    /// Returns all buffers, with those of `velocity`.
    pub fn with_velocity<'b>(&'b mut self, velocity: Option<&'b mut Self>) -> Buffers<'b, R> {
        let mut velocity = velocity.map(Self::buffers);
        let [last, last_transposed, last_bias] = match &mut velocity {
            Some((_, last)) => last.each_mut().map(|buffer| Some(std::mem::take(buffer))),
            None => [None, None, None],
        };
        let mut velocity = velocity.map(|(layers, _)| layers.into_iter());
        let (layers, [weights, transposed, bias]) = self.buffers();
        let layers = layers.into_iter().map(|(weights, biases)| {
            let velocity = velocity.as_mut().and_then(Iterator::next);
            let (of_weights, of_biases) = velocity.unzip();
            ((weights, of_weights), (biases, of_biases))
        });
        Buffers {
            layers: layers.collect(),
            last: (weights, last),
            last_transposed: (transposed, last_transposed),
            last_bias: (bias, last_bias),
        }
    }

    /// Returns the buffers of the layers that are partitioned by their own units, and the three of
    /// the last layer.
    #[allow(clippy::type_complexity)]
    fn buffers(&mut self) -> (Vec<(&mut [R], &mut [R])>, [&mut [R]; 3]) {
        let layers = self.hidden.iter_mut().zip(&mut self.biases);
        (
            layers
                .map(|(weights, biases)| (&mut weights[..], &mut biases[..]))
                .collect(),
            [
                &mut self.last[..],
                &mut self.last_transposed[..],
                &mut self.last_bias[..],
            ],
        )
    }

    /// Copies the first worker's biases of the last layer to all other workers' copies. Only the
    /// workers that take part in a run update their copies, and their number changes: without this,
    /// a worker that takes part again would go on from stale biases.
    pub fn copy_biases(&mut self) {
        let size = self.last_bias.len() / self.copies;
        for copy in 1..self.copies {
            self.last_bias.copy_within(..size, copy * size);
        }
    }

    /// Copies θ from `parameters`.
    pub fn load(&mut self, parameters: &Parameters<R>) {
        let layout = parameters.layout();
        self.visit_copies(layout, |packed, at, flat| {
            packed[at] = parameters.flat()[flat]
        });
    }

    /// Copies θ to `parameters`.
    pub fn store(&mut self, parameters: &mut Parameters<R>) {
        let layout = std::sync::Arc::clone(parameters.layout());
        let flat = parameters.flat_mut();
        self.visit_copies(&layout, |packed, at, index| flat[index] = packed[at]);
    }

    /// Calls `visit(buffer, position in the buffer, index in θ)` for every copy of every parameter.
    fn visit_copies(&mut self, layout: &Layout, mut visit: impl FnMut(&mut [R], usize, usize)) {
        let (sizes, p) = (layout.sizes(), width::<R>());
        for (h, (weights, biases)) in self.hidden.iter_mut().zip(&mut self.biases).enumerate() {
            let (fan_in, start) = (sizes[h], layout.weights(h).start);
            for j in 0..sizes[h + 1] {
                for i in 0..fan_in {
                    let at = (j / p * fan_in + i) * p + j % p;
                    visit(weights, at, start + j * fan_in + i);
                }
            }
            for (j, index) in layout.biases(h).enumerate() {
                visit(biases, j, index);
            }
        }
        let last = layout.layers() - 1;
        if last == 0 {
            return;
        }
        let (fan_in, outputs) = (sizes[last], sizes[last + 1]);
        let strides = Strides::new::<R>(outputs);
        for j in 0..outputs {
            for i in 0..fan_in {
                let index = layout.weights(last).start + j * fan_in + i;
                let at = (j / p * p + i % p) * p + j % p;
                visit(&mut self.last, i / p * strides.blocks + at, index);
                let at = j * p + i % p;
                let panel = i / p * strides.transposed;
                visit(&mut self.last_transposed, panel + at, index);
            }
        }
        for copy in (0..self.copies).rev() {
            for (j, index) in layout.biases(last).enumerate() {
                visit(&mut self.last_bias, copy * strides.biases + j, index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps<R: Real>(outputs: usize) -> [usize; 3] {
        let (p, panels) = (width::<R>(), count::<R>(outputs));
        let strides = Strides::new::<R>(outputs);
        [
            strides.blocks - panels * p * p,
            strides.transposed - outputs * p,
            strides.biases - panels * p,
        ]
        .map(|gap| gap * R::BYTES)
    }

    #[test]
    fn parts_of_two_workers_are_512_bytes_apart() {
        for outputs in [1, 10, 16, 17] {
            assert_eq!(gaps::<f32>(outputs), [512; 3]);
            assert_eq!(gaps::<f64>(outputs), [512; 3]);
        }
    }
}
