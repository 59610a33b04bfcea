//! θ in panels of units, each unit's bias below its weights: what the difference engines read.
//!
//! Layer l is ⌈n_l/P⌉ panels of `(n_{l−1} + 1, P)`: line i holds the weights of input i into the
//! panel's units, the last line their biases (0 where the network has none). So a bias is the
//! weight of one more input that is always 1, and needs no case of its own. Padding columns stay 0.

use std::ops::Range;

use crate::kernels::panels::{Aligned, count, width};
use crate::model::{Layout, Parameters};
use crate::numeric::Real;

/// θ, a gradient or a velocity, a buffer a layer.
pub struct UnitPanels<R> {
    layers: Vec<Aligned<R>>,
}

/// Lines of one panel of a layer with `fan_in` inputs: one each, and the bias.
pub fn lines(fan_in: usize) -> usize {
    fan_in + 1
}

impl<R: Real> UnitPanels<R> {
    /// All zeros.
    pub fn zeros(layout: &Layout) -> Self {
        let layers = layout
            .sizes()
            .windows(2)
            .map(|pair| Aligned::zeros(count::<R>(pair[1]) * lines(pair[0]) * width::<R>()));
        Self {
            layers: layers.collect(),
        }
    }

    /// Layer `layer`'s panels.
    pub fn layer(&self, layer: usize) -> &[R] {
        &self.layers[layer]
    }

    /// Every layer's panels.
    pub fn layers_mut(&mut self) -> &mut [Aligned<R>] {
        &mut self.layers
    }

    /// Takes over θ.
    pub fn load(&mut self, parameters: &Parameters<R>) {
        let flat = parameters.flat();
        self.visit(parameters.layout(), |place, index, _| *place = flat[index]);
    }

    /// Gives θ back.
    pub fn store(&mut self, parameters: &mut Parameters<R>) {
        let layout = std::sync::Arc::clone(parameters.layout());
        let flat = parameters.flat_mut();
        self.visit(&layout, |place, index, _| flat[index] = *place);
    }

    /// The place of parameter `index` of θ: its layer, and where in the layer.
    pub fn place(layout: &Layout, layer: usize, index: usize) -> usize {
        let p = width::<R>();
        let fan_in = layout.sizes()[layer];
        let weights = layout.weights(layer);
        let (unit, line) = if index < weights.end {
            let at = index - weights.start;
            (at / fan_in, at % fan_in)
        } else {
            (index - weights.end, fan_in)
        };
        (unit / p * lines(fan_in) + line) * p + unit % p
    }

    /// Calls `visit(place, index, is a weight)` for every parameter, in the order of θ.
    pub fn visit(&mut self, layout: &Layout, mut visit: impl FnMut(&mut R, usize, bool)) {
        let p = width::<R>();
        for (layer, values) in self.layers.iter_mut().enumerate() {
            let fan_in = layout.sizes()[layer];
            let weights = layout.weights(layer).start;
            for unit in 0..layout.sizes()[layer + 1] {
                let column = unit / p * lines(fan_in) * p + unit % p;
                for input in 0..fan_in {
                    visit(
                        &mut values[column + input * p],
                        weights + unit * fan_in + input,
                        true,
                    );
                }
            }
            for (unit, index) in layout.biases(layer).enumerate() {
                let column = unit / p * lines(fan_in) * p + unit % p;
                visit(&mut values[column + fan_in * p], index, false);
            }
        }
    }
}

/// The panels that `pairs` are of, `size` pairs a panel.
pub fn panels_of(pairs: &Range<usize>, size: usize) -> Range<usize> {
    if pairs.is_empty() {
        0..0
    } else {
        pairs.start / size..(pairs.end - 1) / size + 1
    }
}

/// Cuts a range of (panel, item) pairs, `size` items a panel, by panels; of each panel only the
/// first `used` items.
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

/// A worker's lines of one panel of θ, and where they are in its part of a buffer.
pub struct WorkerLines {
    /// The panel.
    pub panel: usize,
    /// The inputs whose lines these are.
    pub inputs: Range<usize>,
    /// Their lines.
    pub weights: Range<usize>,
    /// The biases' line; empty where another worker has it.
    pub biases: Range<usize>,
}

/// The lines of a worker that has the (panel, line) pairs `pairs` of a layer with `fan_in` inputs.
pub fn own_lines<R: Real>(
    pairs: &Range<usize>,
    fan_in: usize,
) -> impl Iterator<Item = WorkerLines> + use<R> {
    let (first, p) = (pairs.start, width::<R>());
    by_panel(pairs, lines(fan_in), lines(fan_in)).map(move |(panel, own)| {
        let start = panel * lines(fan_in) + own.start - first;
        let inputs = own.start..own.end.min(fan_in);
        let (middle, end) = (start + inputs.len(), start + own.len());
        WorkerLines {
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
    fn theta_comes_back_as_it_went_in_and_every_parameter_has_its_place() {
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
