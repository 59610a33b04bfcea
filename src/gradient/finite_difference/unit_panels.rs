//! The memory layout of θ in the difference engines: panels of units, with each unit's bias below
//! its weights.
//!
//! Layer l is stored as ⌈n_l/P⌉ panels of shape `(n_{l−1} + 1, P)`. Panel row i holds the weights
//! of input i into the panel's units, the last panel row their biases (0 if the network has none).
//! So a bias is the weight of one more input, which is always 1. Padding columns stay 0.

use std::ops::Range;

use crate::kernels::panels::{Aligned, count, width};
use crate::model::{Layout, Parameters};
use crate::numeric::Real;

/// θ, a gradient or a velocity, in one buffer per layer.
pub struct UnitPanels<R> {
    layers: Vec<Aligned<R>>,
}

/// Returns the number of panel rows of a layer: one per input of `fan_in`, and one of the biases.
pub fn panel_height(fan_in: usize) -> usize {
    fan_in + 1
}

impl<R: Real> UnitPanels<R> {
    /// Creates panels of zeros.
    pub fn zeros(layout: &Layout) -> Self {
        let layers = layout
            .sizes()
            .windows(2)
            .map(|pair| Aligned::zeros(count::<R>(pair[1]) * panel_height(pair[0]) * width::<R>()));
        Self {
            layers: layers.collect(),
        }
    }

    /// Returns the panels of layer `layer`.
    pub fn layer(&self, layer: usize) -> &[R] {
        &self.layers[layer]
    }

    /// Returns the panels of all layers.
    pub fn layers_mut(&mut self) -> &mut [Aligned<R>] {
        &mut self.layers
    }

    /// Copies θ from `parameters`.
    pub fn load(&mut self, parameters: &Parameters<R>) {
        let flat = parameters.flat();
        self.visit(parameters.layout(), |value, index, _| *value = flat[index]);
    }

    /// Copies θ to `parameters`.
    pub fn store(&mut self, parameters: &mut Parameters<R>) {
        let layout = std::sync::Arc::clone(parameters.layout());
        let flat = parameters.flat_mut();
        self.visit(&layout, |value, index, _| flat[index] = *value);
    }

    /// Returns the position of parameter `index` of θ within the buffer of its layer, `layer`.
    pub fn place(layout: &Layout, layer: usize, index: usize) -> usize {
        let p = width::<R>();
        let fan_in = layout.sizes()[layer];
        let weights = layout.weights(layer);
        let (unit, panel_row) = if index < weights.end {
            let offset = index - weights.start;
            (offset / fan_in, offset % fan_in)
        } else {
            (index - weights.end, fan_in)
        };
        (unit / p * panel_height(fan_in) + panel_row) * p + unit % p
    }

    /// Calls `visit(value, index, is_weight)` for every parameter, in the order of θ; `index` is
    /// the parameter's index in θ.
    pub fn visit(&mut self, layout: &Layout, mut visit: impl FnMut(&mut R, usize, bool)) {
        let p = width::<R>();
        for (layer, values) in self.layers.iter_mut().enumerate() {
            let fan_in = layout.sizes()[layer];
            let weights = layout.weights(layer).start;
            for unit in 0..layout.sizes()[layer + 1] {
                let column = unit / p * panel_height(fan_in) * p + unit % p;
                for input in 0..fan_in {
                    visit(
                        &mut values[column + input * p],
                        weights + unit * fan_in + input,
                        true,
                    );
                }
            }
            for (unit, index) in layout.biases(layer).enumerate() {
                let column = unit / p * panel_height(fan_in) * p + unit % p;
                visit(&mut values[column + fan_in * p], index, false);
            }
        }
    }
}

/// Returns the panels that a range of (panel, item) pairs touches, with `size` items per panel.
pub fn panels_of(pairs: &Range<usize>, size: usize) -> Range<usize> {
    if pairs.is_empty() {
        0..0
    } else {
        pairs.start / size..(pairs.end - 1) / size + 1
    }
}

/// Splits a range of (panel, item) pairs, with `size` items per panel, by panel; yields each panel
/// with its range of items, of which only the first `used` of a panel are kept.
pub fn by_panel(
    pairs: &Range<usize>,
    size: usize,
    used: usize,
) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
    let pairs = pairs.clone();
    panels_of(&pairs, size).filter_map(move |panel| {
        let start = pairs.start.max(panel * size) - panel * size;
        let end = (pairs.end - panel * size).min(used);
        (start < end).then_some((panel, start..end))
    })
}

/// A worker's panel rows in one panel of θ, and their positions in the worker's part of a buffer.
pub struct WorkerPanelRows {
    /// The index of the panel.
    pub panel: usize,
    /// The inputs whose weights these are.
    pub inputs: Range<usize>,
    /// The range of their weights in the worker's part.
    pub weights: Range<usize>,
    /// The range of the biases in the worker's part; empty if another worker has them.
    pub biases: Range<usize>,
}

/// Yields the panel rows of a worker, panel by panel: those of the (panel, panel row) pairs `pairs`
/// of a layer with `fan_in` inputs.
pub fn worker_panel_rows<R: Real>(
    pairs: &Range<usize>,
    fan_in: usize,
) -> impl Iterator<Item = WorkerPanelRows> + use<R> {
    let (first, p) = (pairs.start, width::<R>());
    by_panel(pairs, panel_height(fan_in), panel_height(fan_in)).map(move |(panel, range)| {
        let start = panel * panel_height(fan_in) + range.start - first;
        let inputs = range.start..range.end.min(fan_in);
        let (middle, end) = (start + inputs.len(), start + range.len());
        WorkerPanelRows {
            panel,
            inputs,
            weights: start * p..middle * p,
            biases: middle * p..end * p,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn storing_restores_the_loaded_theta_and_place_finds_every_parameter() {
        for bias in [true, false] {
            let layout = Arc::new(Layout::new(&[3, 20, 5], bias));
            let flat: Vec<f32> = (1..=layout.len()).map(|k| k as f32).collect();
            let theta = Parameters::from_flat(Arc::clone(&layout), flat);
            let mut panels = UnitPanels::zeros(&layout);
            panels.load(&theta);
            for layer in 0..layout.layers() {
                for index in layout.weights(layer).chain(layout.biases(layer)) {
                    let place = UnitPanels::<f32>::place(&layout, layer, index);
                    assert_eq!(panels.layer(layer)[place], theta.flat()[index]);
                }
            }
            let mut back = Parameters::zeros(layout);
            panels.store(&mut back);
            assert_eq!(back, theta);
        }
    }
}
