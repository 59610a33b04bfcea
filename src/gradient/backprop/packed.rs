//! θ in the kernels' own layout: panels of units, so that a worker that owns units owns memory.
//!
//! All layers but the last hold Wᵀ in panels of units, `(fan_in, P)` each. The last layer is held
//! by panels of the *hidden* units it reads, twice: `(P, P)` blocks for the forward pass and
//! `(outputs, P)` for the backward pass. Both copies are updated by the same chains, hence equal,
//! and nothing is transposed in a step.

use crate::kernels::panels::{APART, Aligned, count, width};
use crate::model::{Layout, Parameters};
use crate::numeric::Real;

/// θ, or a gradient, or a velocity, in panels.
pub struct PackedParameters<R> {
    /// Wᵀ of every layer that is owned by its units.
    pub hidden: Vec<Aligned<R>>,
    /// The biases of these layers.
    pub biases: Vec<Aligned<R>>,
    /// The last layer, `(P, P)` blocks by hidden panel ([`Strides::blocks`] apart) and output panel;
    /// empty without hidden units.
    pub last: Aligned<R>,
    /// The last layer, `(outputs, P)` by hidden panel ([`Strides::transposed`] apart).
    pub last_transposed: Aligned<R>,
    /// The last layer's biases, one equal copy a worker ([`Strides::biases`] apart).
    pub last_bias: Aligned<R>,
    /// Number of those copies.
    pub copies: usize,
}

/// How far the parts of the last layer are from one another.
#[derive(Clone, Copy, Debug)]
pub struct Strides {
    /// Of a hidden panel's blocks to the next one's.
    pub blocks: usize,
    /// Of its transposed weights.
    pub transposed: usize,
    /// Of a worker's biases.
    pub biases: usize,
}

impl Strides {
    /// With so many outputs.
    pub fn new<R: Real>(outputs: usize) -> Self {
        let (p, panels) = (width::<R>(), count::<R>(outputs));
        Self {
            blocks: (panels * p + APART) * p,
            transposed: (outputs + APART) * p,
            biases: (panels + APART) * p,
        }
    }
}

/// How many layers are owned by their units: the hidden ones, or the only one.
pub fn owned_layers(layout: &Layout) -> usize {
    (layout.layers() - 1).max(1)
}

impl<R: Real> PackedParameters<R> {
    /// All zeros.
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

    /// All zeros again.
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

    /// Makes all copies of the last layer's biases equal to the first worker's. Only the workers
    /// that are seated keep theirs up to date, and their number changes within a run: one that
    /// comes back would go on from where it left.
    pub fn spread(&mut self) {
        let size = self.last_bias.len() / self.copies;
        for copy in 1..self.copies {
            self.last_bias.copy_within(..size, copy * size);
        }
    }

    /// Takes over θ.
    pub fn load(&mut self, parameters: &Parameters<R>) {
        let layout = parameters.layout();
        self.places(layout, |packed, at, flat| {
            packed[at] = parameters.flat()[flat]
        });
    }

    /// Gives θ back.
    pub fn store(&mut self, parameters: &mut Parameters<R>) {
        let layout = std::sync::Arc::clone(parameters.layout());
        let flat = parameters.flat_mut();
        self.places(&layout, |packed, at, index| flat[index] = packed[at]);
    }

    /// Calls `visit(buffer, place in it, place in θ)` for every place a parameter has.
    fn places(&mut self, layout: &Layout, mut visit: impl FnMut(&mut [R], usize, usize)) {
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
    fn what_two_workers_write_is_512_bytes_apart() {
        for outputs in [1, 10, 16, 17] {
            assert_eq!(gaps::<f32>(outputs), [512; 3]);
            assert_eq!(gaps::<f64>(outputs), [512; 3]);
        }
    }
}
