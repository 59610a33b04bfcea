//! Parameters θ in one flat vector, with views of each layer.
//!
//! The order is layer by layer, weights `(fan_out, fan_in)` row-major, then biases `(fan_out,)`:
//! that of PyTorch's `Linear`, and that in which `weights_sha256` reads them.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{ArrayView1, ArrayView2};
use sha2::{Digest, Sha256};

use crate::numeric::Real;

/// Layer sizes, and the position of each layer's parameters in θ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    sizes: Vec<usize>,
    bias: bool,
    starts: Vec<usize>,
}

/// The weights or the biases of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorPlace {
    /// The layer, from 0.
    pub layer: usize,
    /// `weight` or `bias`.
    pub part: &'static str,
    /// `(fan_out, fan_in)` of weights, `(fan_out,)` of biases.
    pub shape: Vec<usize>,
    /// The place in θ.
    pub range: Range<usize>,
}

impl TensorPlace {
    /// Returns the name in files, such as `layers.0.weight`.
    pub fn name(&self) -> String {
        format!("layers.{}.{}", self.layer, self.part)
    }
}

impl Layout {
    /// Creates the layout of layers `sizes[0] → sizes[1] → …`, with or without biases.
    ///
    /// # Panics
    /// If there are fewer than two sizes, or a size is 0.
    pub fn new(sizes: &[usize], bias: bool) -> Self {
        assert!(
            sizes.len() >= 2 && sizes.iter().all(|&size| size > 0),
            "a network needs at least two layer sizes, none of them 0"
        );
        let mut starts = vec![0];
        let mut end = 0;
        for pair in sizes.windows(2) {
            end += pair[0] * pair[1] + if bias { pair[1] } else { 0 };
            starts.push(end);
        }
        Self {
            sizes: sizes.to_vec(),
            bias,
            starts,
        }
    }

    /// Returns the layer sizes n_0 … n_L: inputs, hidden units, outputs.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Returns true if the layers have biases.
    pub fn has_bias(&self) -> bool {
        self.bias
    }

    /// Returns L, the number of weight layers.
    pub fn layers(&self) -> usize {
        self.sizes.len() - 1
    }

    /// Returns N, the number of parameters.
    pub fn len(&self) -> usize {
        self.starts[self.layers()]
    }

    /// Returns false: a layout has at least one weight.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Returns the tensors in the order of θ.
    pub fn tensors(&self) -> Vec<TensorPlace> {
        let mut tensors = Vec::new();
        for layer in 0..self.layers() {
            let (fan_in, fan_out) = (self.sizes[layer], self.sizes[layer + 1]);
            let mut add = |part: &'static str, shape: Vec<usize>, range| {
                tensors.push(TensorPlace {
                    layer,
                    part,
                    shape,
                    range,
                });
            };
            add("weight", vec![fan_out, fan_in], self.weights(layer));
            if self.bias {
                add("bias", vec![fan_out], self.biases(layer));
            }
        }
        tensors
    }

    /// Returns the range of θ that holds the weights of layer `layer`, from 0: `(fan_out, fan_in)`
    /// row-major.
    pub fn weights(&self, layer: usize) -> Range<usize> {
        let start = self.starts[layer];
        start..start + self.sizes[layer] * self.sizes[layer + 1]
    }

    /// Returns the range of θ that holds the biases of layer `layer`, from 0; empty without biases.
    pub fn biases(&self, layer: usize) -> Range<usize> {
        self.weights(layer).end..self.starts[layer + 1]
    }

    /// Returns the name of parameter `index`, such as `layers.0.weight[3, 17]` or
    /// `layers.1.bias[2]`.
    ///
    /// # Panics
    /// If `index` is N or more.
    pub fn name(&self, index: usize) -> String {
        assert!(index < self.len(), "parameter {index} of {}", self.len());
        let layer = self.starts.partition_point(|&start| start <= index) - 1;
        let weights = self.weights(layer);
        if index < weights.end {
            let at = index - weights.start;
            let fan_in = self.sizes[layer];
            format!("layers.{layer}.weight[{}, {}]", at / fan_in, at % fan_in)
        } else {
            format!("layers.{layer}.bias[{}]", index - weights.end)
        }
    }
}

/// Parameters θ ∈ ℝᴺ, or a gradient or another vector of the same shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters<R> {
    layout: Arc<Layout>,
    flat: Vec<R>,
}

impl<R: Real> Parameters<R> {
    /// Creates a vector of zeros.
    pub fn zeros(layout: Arc<Layout>) -> Self {
        let flat = vec![R::ZERO; layout.len()];
        Self { layout, flat }
    }

    /// Creates parameters from the flat vector, `(N,)` in layout order.
    ///
    /// # Panics
    /// If `flat` does not hold N numbers.
    pub fn from_flat(layout: Arc<Layout>, flat: Vec<R>) -> Self {
        assert_eq!(flat.len(), layout.len(), "θ has N numbers");
        Self { layout, flat }
    }

    /// Returns the layout.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Returns all N numbers, in layout order.
    pub fn flat(&self) -> &[R] {
        &self.flat
    }

    /// Returns all N numbers for writing, in layout order.
    pub fn flat_mut(&mut self) -> &mut [R] {
        &mut self.flat
    }

    /// Returns the weights of layer `layer`, `(fan_out, fan_in)`.
    pub fn weights(&self, layer: usize) -> ArrayView2<'_, R> {
        let sizes = self.layout.sizes();
        ArrayView2::from_shape(
            (sizes[layer + 1], sizes[layer]),
            &self.flat[self.layout.weights(layer)],
        )
        .expect("the layout's range holds fan_out × fan_in numbers")
    }

    /// Returns the biases of layer `layer`, `(fan_out,)`; empty without biases.
    pub fn biases(&self, layer: usize) -> ArrayView1<'_, R> {
        ArrayView1::from(&self.flat[self.layout.biases(layer)])
    }

    /// Returns the same numbers in double precision, exactly.
    pub fn widened(&self) -> Parameters<f64> {
        let flat = self.flat.iter().map(|number| number.to_f64()).collect();
        Parameters::from_flat(Arc::clone(&self.layout), flat)
    }

    /// Returns `weights_sha256`: the SHA-256 of θ in layout order, little-endian, in the precision
    /// of `R`, as 64 lower-case hexadecimal digits.
    pub fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        let mut bytes = Vec::new();
        for numbers in self.flat.chunks(4096) {
            bytes.clear();
            R::extend_bytes(numbers, &mut bytes);
            digest.update(&bytes);
        }
        format!("{:x}", digest.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with the bytes of 1.0f32, −2.5f32, … written by hand, so that neither the order of
    /// the numbers nor that of the bytes can change.
    #[test]
    fn sha256_reads_weights_then_biases_little_endian() {
        let layout = Arc::new(Layout::new(&[1, 2], true));
        let parameters = Parameters::<f32>::from_flat(layout, vec![1.0, -2.5, 0.5, 0.0]);
        let by_hand = [
            0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0, 0, 0, 0, 0x3f, 0, 0, 0, 0,
        ];
        assert_eq!(
            parameters.sha256(),
            format!("{:x}", Sha256::digest(by_hand))
        );
    }

    #[test]
    fn sha256_covers_every_number_across_its_chunks() {
        let layout = Arc::new(Layout::new(&[100, 100], true));
        let mut parameters = Parameters::<f64>::zeros(layout);
        let before = parameters.sha256();
        *parameters.flat_mut().last_mut().unwrap() = f64::MIN_POSITIVE;
        assert_ne!(parameters.sha256(), before);
    }
}
