//! Counts the units that a perturbed weight changes, layer by layer, hence the part of a forward
//! pass that can be reused.
//!
//! A weight of layer l changes one unit of that layer. The z of every unit of layer l + 1 then
//! changes by one product, w·Δa (a rank-1 update of the stored z); from layer l + 2 on, every
//! product is new. So the units beside the perturbed one are always reused, and reuse vanishes with
//! *depth*.
//!
//! The operations are those of the textbook code for one sample, sigmoid units, quadratic loss and
//! biases. They depend on the sizes alone, so θ is random and the sample arbitrary.

use serde::Serialize;

use super::Operations;
use crate::model::{Initialization, Layout};
use crate::numeric::output_loss::OutputLoss;
use crate::study::table::topology;
use crate::textbook::counting::{Counted, Number, count};
use crate::textbook::{BasePass, Sample, TextbookNetwork};

/// Largest number of weights whose passes are counted, which takes about a second.
const MAX_WEIGHTS: usize = 20_000_000;

/// The effect of a perturbation on the units of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LayerEffect {
    /// Number of units in the layer.
    pub units: usize,
    /// Units whose z and a do not change.
    pub reused: usize,
    /// Units whose z changes by one product.
    pub moved: usize,
    /// Units whose z consists of new products, one per input.
    pub recomputed: usize,
}

/// The effect and cost of perturbing one weight of a layer.
#[derive(Clone, Debug, Serialize)]
pub struct LayerPerturbation {
    /// The layer, from 0, as in `layers.0.weight`.
    pub layer: usize,
    /// Number of weights and biases in the layer.
    pub parameters: u64,
    /// The effect on each layer, from the first hidden one to the outputs.
    pub layers: Vec<LayerEffect>,
    /// The sum over all layers.
    pub total: LayerEffect,
    /// Operations of the perturbed loss.
    pub operations: Operations,
}

/// A network with the perturbations of its layers.
#[derive(Clone, Debug, Serialize)]
pub struct NetworkReuse {
    /// Layer sizes n_0 … n_L.
    pub sizes: Vec<usize>,
    /// Number of parameters, N.
    pub parameters: u64,
    /// Operations of one sample's forward pass with its loss.
    pub forward: Operations,
    /// Operations of loss and gradient by backprop.
    pub backprop: Operations,
    /// Multiplications of N + 1 forward passes and N quotients.
    pub full: u64,
    /// Multiplications of the same quotients by incremental differences.
    pub incremental: u64,
    /// Share of the units in N perturbed passes that is reused.
    pub reused: f64,
    /// The perturbation of each layer.
    pub perturbations: Vec<LayerPerturbation>,
}

impl NetworkReuse {
    /// Counts the operations for the network with layer sizes n_0 … n_L.
    ///
    /// # Errors
    /// Returns a message if the network has too many weights to count in about a second.
    ///
    /// # Panics
    /// Panics with fewer than two layers, or an empty one.
    pub fn new(sizes: &[usize]) -> Result<Self, String> {
        let weights = (sizes.windows(2)).fold(0_usize, |sum, pair| {
            sum.saturating_add(pair[0].saturating_mul(pair[1]))
        });
        if weights > MAX_WEIGHTS {
            return Err(format!(
                "the network {} has {weights} weights; allowed here: at most {MAX_WEIGHTS}, whose passes are counted operation by operation",
                topology(sizes)
            ));
        }
        let net = TextbookNetwork {
            sizes: sizes.to_vec(),
            bias: true,
            output_loss: OutputLoss::SigmoidQuadratic,
            l2: 0.0,
            class_weights: Vec::new(),
        };
        let layout = std::sync::Arc::new(Layout::new(sizes, true));
        let theta = Initialization::Scaled.draw::<f64>(&layout, 0);
        let theta: Vec<Counted> = theta.flat().iter().map(|&x| Counted::of(x)).collect();
        let sample: Sample = (vec![0.5; sizes[0]], 0);
        let batch = std::slice::from_ref(&sample);
        let (_, forward) = count(|| net.loss(&theta, batch));
        let (_, backprop) = count(|| net.gradient(&theta, batch));
        let (base, base_pass) = count(|| net.base(&theta, &sample));
        let perturbations: Vec<LayerPerturbation> = (1..=net.layers())
            .map(|l| LayerPerturbation::new(&net, &theta, &base, l))
            .collect();
        let parameters = net.parameters() as u64;
        // ε·a once per input of a layer; 1/ε once per parameter.
        let moves: u64 = sizes[..net.layers()].iter().map(|&n| n as u64).sum();
        let perturbed_losses = perturbations
            .iter()
            .map(|perturbation| perturbation.parameters * perturbation.operations.multiplications);
        let units: usize = sizes[1..].iter().sum();
        let reused = perturbations
            .iter()
            .map(|perturbation| perturbation.parameters as f64 * perturbation.total.reused as f64);
        Ok(Self {
            sizes: sizes.to_vec(),
            parameters,
            forward: forward.into(),
            backprop: backprop.into(),
            full: (parameters + 1) * forward.multiplications + parameters,
            incremental: base_pass.multiplications
                + moves
                + perturbed_losses.sum::<u64>()
                + parameters,
            reused: reused.sum::<f64>() / (parameters as f64 * units as f64),
            perturbations,
        })
    }

    /// Counts the operations for networks of `inputs` inputs, 1 … `deepest` hidden layers of
    /// `width` units, and `outputs` outputs.
    ///
    /// # Errors
    /// Returns the errors of [`NetworkReuse::new`].
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

/// Returns the effect of a weight of layer `layer`, from 0, on each layer, from the first hidden
/// one to the outputs.
pub fn layer_effects(sizes: &[usize], layer: usize) -> Vec<LayerEffect> {
    let effect = |(at, &units): (usize, &usize)| {
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
    sizes[1..].iter().enumerate().map(effect).collect()
}

impl LayerEffect {
    /// Returns the sum of the effects on `layers`.
    pub fn total(layers: &[Self]) -> Self {
        let sum = |of: fn(&Self) -> usize| layers.iter().map(of).sum();
        Self {
            units: sum(|effect| effect.units),
            reused: sum(|effect| effect.reused),
            moved: sum(|effect| effect.moved),
            recomputed: sum(|effect| effect.recomputed),
        }
    }
}

impl LayerPerturbation {
    /// Perturbs the weight [0, 0] of layer `l`, from 1, and counts the operations.
    fn new(net: &TextbookNetwork, theta: &[Counted], base: &BasePass<Counted>, l: usize) -> Self {
        let layers = layer_effects(&net.sizes, l - 1);
        let total = LayerEffect::total(&layers);
        let (_, operations) = count(|| net.change(theta, base, (l, 0), Counted::of(0.125)));
        // Each unit that is not reused computes σ again.
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
