//! Which units a perturbed weight changes, by depth: what of a forward pass can be reused.
//!
//! A weight of layer l moves one unit of that layer. Every unit of layer l + 1 then moves by one
//! product, w·Δa (a rank-1 update of what is kept); from layer l + 2 on every product is new. So the
//! units beside the perturbed one are reused whatever their number, and reuse dies with *depth*.
//!
//! One sample, sigmoid units, quadratic loss, biases: the counts of the textbook. They depend on the
//! sizes alone, so θ and the sample are drawn.

use serde::Serialize;

use super::Operations;
use crate::model::{Initialization, Layout};
use crate::numeric::output_loss::OutputLoss;
use crate::textbook::counting::{Counted, Number, count};
use crate::textbook::{BasePass, Sample, TextbookNetwork};

/// Weights beyond which nothing is counted: a second or so.
const DEAR: usize = 20_000_000;

/// What becomes of the units of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LayerEffect {
    /// n of the layer.
    pub units: usize,
    /// z and a stay what they are.
    pub reused: usize,
    /// z moves by one product.
    pub moved: usize,
    /// z is made of new products, one an input.
    pub recomputed: usize,
}

/// A perturbation of one weight of one layer.
#[derive(Clone, Debug, Serialize)]
pub struct LayerPerturbation {
    /// The layer, from 0, as in `layers.0.weight`.
    pub layer: usize,
    /// Weights and biases of the layer.
    pub parameters: u64,
    /// Layer by layer, from the first hidden one to the outputs.
    pub layers: Vec<LayerEffect>,
    /// All of them.
    pub total: LayerEffect,
    /// What the perturbed loss performs.
    pub operations: Operations,
}

/// A network, and the perturbations of its layers.
#[derive(Clone, Debug, Serialize)]
pub struct NetworkReuse {
    /// n_0 … n_L.
    pub sizes: Vec<usize>,
    /// N.
    pub parameters: u64,
    /// One forward pass with its loss, of one sample.
    pub forward: Operations,
    /// Loss and gradient by backprop.
    pub backprop: Operations,
    /// Multiplications of N + 1 forward passes and N quotients.
    pub full: u64,
    /// Multiplications of the same quotients, each from what it changes.
    pub incremental: u64,
    /// Of all units that N perturbed passes would compute, the share that is reused.
    pub reused: f64,
    /// Layer by layer.
    pub perturbations: Vec<LayerPerturbation>,
}

impl NetworkReuse {
    /// The network of layers n_0 … n_L.
    ///
    /// # Errors
    /// In words: more weights than can be counted in a second or so.
    ///
    /// # Panics
    /// With fewer than two layers, or an empty one.
    pub fn new(sizes: &[usize]) -> Result<Self, String> {
        let weights = (sizes.windows(2)).fold(0_usize, |sum, pair| {
            sum.saturating_add(pair[0].saturating_mul(pair[1]))
        });
        if weights > DEAR {
            let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
            return Err(format!(
                "the network {} has {weights} weights; allowed here: at most {DEAR}, whose passes are counted operation by operation",
                sizes.join("-")
            ));
        }
        let net = TextbookNetwork {
            sizes: sizes.to_vec(),
            bias: true,
            head: OutputLoss::SigmoidQuadratic,
            l2: 0.0,
        };
        let layout = std::sync::Arc::new(Layout::new(sizes, true));
        let theta = Initialization::Scaled.draw::<f64>(&layout, 0);
        let theta: Vec<Counted> = theta.flat().iter().map(|&x| Counted::of(x)).collect();
        let sample: Sample = (vec![0.5; sizes[0]], 0);
        let batch = std::slice::from_ref(&sample);
        let (_, forward) = count(|| net.loss(&theta, batch));
        let (_, backprop) = count(|| net.gradient(&theta, batch));
        let (base, kept) = count(|| net.base(&theta, &sample));
        let perturbations: Vec<LayerPerturbation> = (1..=net.layers())
            .map(|l| LayerPerturbation::new(&net, &theta, &base, l))
            .collect();
        let parameters = net.parameters() as u64;
        // ε·a, once for every unit of the layer above; 1/ε, once for every parameter.
        let moves: u64 = sizes[..net.layers()].iter().map(|&n| n as u64).sum();
        let tails = perturbations
            .iter()
            .map(|one| one.parameters * one.operations.multiplications);
        let units: usize = sizes[1..].iter().sum();
        let reused = perturbations
            .iter()
            .map(|one| one.parameters as f64 * one.total.reused as f64);
        Ok(Self {
            sizes: sizes.to_vec(),
            parameters,
            forward: forward.into(),
            backprop: backprop.into(),
            full: (parameters + 1) * forward.multiplications + parameters,
            incremental: kept.multiplications + moves + tails.sum::<u64>() + parameters,
            reused: reused.sum::<f64>() / (parameters as f64 * units as f64),
            perturbations,
        })
    }

    /// Networks of `inputs` inputs, 1 … `deepest` hidden layers of `width` units and `outputs` outputs.
    ///
    /// # Errors
    /// As [`NetworkReuse::new`].
    pub fn by_depth(
        inputs: usize,
        width: usize,
        outputs: usize,
        deepest: usize,
    ) -> Result<Vec<Self>, String> {
        let sizes = |depth: usize| [vec![inputs], vec![width; depth], vec![outputs]].concat();
        (1..=deepest)
            .map(|depth| Self::new(&sizes(depth)))
            .collect()
    }
}

/// What a weight of layer `layer`, from 0, does to the units of each layer, from the first hidden one to
/// the outputs.
pub fn fates(sizes: &[usize], layer: usize) -> Vec<LayerEffect> {
    let fate = |(at, &units): (usize, &usize)| {
        let (moved, recomputed) = match at {
            _ if at < layer => (0, 0),
            _ if at == layer => (1, 0),
            _ if at == layer + 1 => (units, 0),
            _ => (0, units),
        };
        LayerEffect {
            units,
            reused: units - moved - recomputed,
            moved,
            recomputed,
        }
    };
    sizes[1..].iter().enumerate().map(fate).collect()
}

impl LayerEffect {
    /// Of all `layers` together.
    pub fn total(layers: &[Self]) -> Self {
        let all = |of: fn(&Self) -> usize| layers.iter().map(of).sum();
        Self {
            units: all(|fate| fate.units),
            reused: all(|fate| fate.reused),
            moved: all(|fate| fate.moved),
            recomputed: all(|fate| fate.recomputed),
        }
    }
}

impl LayerPerturbation {
    /// Of the weight [0, 0] of layer `l`, from 1.
    fn new(net: &TextbookNetwork, theta: &[Counted], base: &BasePass<Counted>, l: usize) -> Self {
        let layers = fates(&net.sizes, l - 1);
        let total = LayerEffect::total(&layers);
        let (_, operations) = count(|| net.change(theta, base, (l, 0), Counted::of(0.125)));
        // Each unit that is not reused has its σ anew.
        debug_assert_eq!(
            operations.exponentials,
            (total.moved + total.recomputed) as u64
        );
        Self {
            layer: l - 1,
            parameters: (net.sizes[l] * (net.sizes[l - 1] + 1)) as u64,
            layers,
            total,
            operations: operations.into(),
        }
    }
}
