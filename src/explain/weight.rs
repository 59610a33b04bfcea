//! One weight and one sample of the reader's network: the perturbed pass and the backward pass,
//! number by number, in double precision.
//!
//! Layer m = 0 … L − 1 reads a_m and computes z_m, in accordance with the name `layers.m.weight`.
//! The perturbed pass is a whole pass at θ + ε·e, so the changed units are observed, not assumed.
//! In wide layers the units that change most are listed, and the others are given as a sum. The
//! loss is that of the one sample, without the l2 term.

use std::str::FromStr;

use serde::Serialize;

use super::check_increment;
use super::network::{LayerEffect, layer_effects};
use crate::gradient_check::sample_pass::SamplePass;
use crate::model::{Layout, Network, Parameters};
use crate::numeric::output_loss::OutputLoss;

/// Number of units of a layer that are listed.
const MAX_SHOWN: usize = 6;

/// The position of a parameter: `LAYER,ROW,COLUMN`, from 0, as in `layers.LAYER.weight[ROW,
/// COLUMN]`, or `LAYER,ROW,bias`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterPosition {
    /// The layer.
    pub layer: usize,
    /// The unit of the layer.
    pub row: usize,
    /// The input; `None`: the bias.
    pub column: Option<usize>,
}

impl FromStr for ParameterPosition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = "allowed: LAYER,ROW,COLUMN, each from 0, such as 0,2,5; or LAYER,ROW,bias";
        let number = |text: &str| {
            let number = text.trim().parse::<usize>();
            number.map_err(|_| format!("`{text}` is not an index; {allowed}"))
        };
        let [layer, row, column] = text.split(',').collect::<Vec<_>>()[..] else {
            return Err(format!(
                "`{text}` is not the position of a parameter; {allowed}"
            ));
        };
        Ok(Self {
            layer: number(layer)?,
            row: number(row)?,
            column: match column.trim() {
                "bias" => None,
                column => Some(number(column)?),
            },
        })
    }
}

impl ParameterPosition {
    /// Returns the first unit's weight for the largest of `inputs`, the first among equals.
    pub fn of_largest(inputs: &[f64]) -> Self {
        let largest = (inputs.iter().enumerate()).fold((0, 0.0), |most: (usize, f64), (at, x)| {
            if x.abs() > most.1 {
                (at, x.abs())
            } else {
                most
            }
        });
        Self {
            layer: 0,
            row: 0,
            column: Some(largest.0),
        }
    }

    /// Returns the parameter's index in θ.
    ///
    /// # Errors
    /// Returns a message with the first index that is out of range, and the range.
    pub fn index(self, layout: &Layout) -> Result<usize, String> {
        let outside = |what: &str, found: usize, count: usize, of: String| {
            Err(format!(
                "{what} {found} is outside: {of} has {what}s 0 to {}",
                count - 1
            ))
        };
        let sizes = layout.sizes();
        let described: Vec<String> = sizes.iter().map(usize::to_string).collect();
        let Self { layer, row, column } = self;
        if layer >= layout.layers() {
            let of = format!("the network {}", described.join("-"));
            return outside("layer", layer, layout.layers(), of);
        }
        let (fan_in, fan_out) = (sizes[layer], sizes[layer + 1]);
        if row >= fan_out {
            return outside("row", row, fan_out, format!("layer {layer}"));
        }
        match column {
            Some(column) if column >= fan_in => {
                outside("column", column, fan_in, format!("layer {layer}"))
            }
            Some(column) => Ok(layout.weights(layer).start + row * fan_in + column),
            None if layout.has_bias() => Ok(layout.biases(layer).start + row),
            None => Err("the network has no biases; allowed: LAYER,ROW,COLUMN".to_owned()),
        }
    }
}

/// The values of one unit before and after the perturbation.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UnitValues {
    /// The unit's index in its layer.
    pub unit: usize,
    /// z at θ.
    pub z: f64,
    /// z at θ + ε·e minus z at θ.
    pub z_change: f64,
    /// a at θ.
    pub a: f64,
    /// a at θ + ε·e minus a at θ.
    pub a_change: f64,
}

/// The values of one layer before and after the perturbation.
#[derive(Clone, Debug, Serialize)]
pub struct LayerValues {
    /// The layer.
    pub layer: usize,
    /// The expected effect on its units, from the sizes.
    #[serde(flatten)]
    pub effect: LayerEffect,
    /// Number of units whose z or a was observed to change.
    pub changed: usize,
    /// The units whose a changes most, largest change first.
    pub shown: Vec<UnitValues>,
    /// Number of other units that change.
    pub others: usize,
    /// Σ |Δa| of the others.
    pub others_sum: f64,
}

/// One term w·δ of a sum.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Term {
    /// The unit above, which has this δ.
    pub unit: usize,
    /// The weight from the perturbed unit to that unit.
    pub weight: f64,
    /// δ = ∂L/∂z of that unit.
    pub delta: f64,
    /// weight·δ.
    pub product: f64,
}

/// ∂L/∂a of the perturbed unit, Σ w·δ over the units that read it.
#[derive(Clone, Debug, Serialize)]
pub struct ActivationGradient {
    /// The largest terms, largest first.
    pub shown: Vec<Term>,
    /// Number of other terms.
    pub others: usize,
    /// Sum of the other terms.
    pub others_sum: f64,
    /// The whole sum.
    pub sum: f64,
}

/// The δ of one unit.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UnitError {
    /// The unit's index in its layer.
    pub unit: usize,
    /// ∂L/∂z.
    pub delta: f64,
}

/// The δ of one layer above the perturbed one.
#[derive(Clone, Debug, Serialize)]
pub struct LayerErrors {
    /// The layer.
    pub layer: usize,
    /// The units with the largest |δ|, largest first.
    pub shown: Vec<UnitError>,
    /// Number of other units.
    pub others: usize,
    /// Σ |δ| of the others.
    pub others_sum: f64,
}

/// The complete explanation of one parameter.
#[derive(Clone, Debug, Serialize)]
pub struct WeightExplanation {
    /// Name of the parameter, such as `layers.0.weight[2, 5]`.
    pub parameter: String,
    /// Value of the parameter.
    pub value: f64,
    /// The increment ε.
    pub epsilon: f64,
    /// The sample's class.
    pub label: usize,
    /// The activation that the weight multiplies; 1 for a bias.
    pub input: f64,
    /// The values of each layer, from the weight's layer on.
    pub forward: Vec<LayerValues>,
    /// The expected effect on all units of the network.
    pub total: LayerEffect,
    /// L(θ).
    pub loss: f64,
    /// L(θ + ε·e).
    pub loss_perturbed: f64,
    /// (L(θ + ε·e) − L(θ))/ε.
    pub quotient: f64,
    /// (L(θ + ε·e) − L(θ − ε·e))/2ε.
    pub quotient_central: f64,
    /// The δ of each layer, from the outputs down to the layer above the weight's.
    pub backward: Vec<LayerErrors>,
    /// The formula for δ of an output.
    pub output_error: &'static str,
    /// ∂L/∂a, if the perturbed unit is hidden.
    #[serde(rename = "pull")]
    pub activation_gradient: Option<ActivationGradient>,
    /// σ′, if the perturbed unit is hidden.
    pub slope: Option<f64>,
    /// δ of the perturbed unit.
    pub delta: f64,
    /// ∂L/∂w = δ·a.
    pub derivative: f64,
    /// Whether θ + ε rounds to θ in double precision, so that the quotients are 0.
    pub lost: bool,
}

/// Computes the effect of the parameter at `position` on the loss of one sample: its inputs, and its
/// class, or in a regression its scaled numbers.
///
/// # Errors
/// Returns a message if the position is outside the network or the increment is 0.
pub fn explain(
    network: &Network,
    theta: &Parameters<f64>,
    (inputs, target): (&[f64], (u16, &[f64])),
    position: ParameterPosition,
    epsilon: f64,
) -> Result<WeightExplanation, String> {
    let index = position.index(&network.layout)?;
    check_increment(epsilon)?;
    let at = |shift: f64| {
        let mut theta = theta.clone();
        theta.flat_mut()[index] += shift;
        SamplePass::new(network, &theta, inputs, target)
    };
    let (base, above, below) = (at(0.0), at(epsilon), at(-epsilon));
    let value = theta.flat()[index];
    let ParameterPosition { layer, row, column } = position;
    let layers = layer_effects(network.layout.sizes(), layer);
    let total = LayerEffect::total(&layers);
    let last = network.layout.layers() - 1;
    let input = column.map_or(1.0, |column| base.a[layer][column]);
    let delta = base.delta[layer][row];
    Ok(WeightExplanation {
        parameter: network.layout.name(index),
        value,
        epsilon,
        label: base.label,
        input,
        forward: (layer..=last)
            .map(|at| pass(network, &base, &above, at, layers[at]))
            .collect(),
        total,
        loss: base.loss,
        loss_perturbed: above.loss,
        quotient: (above.loss - base.loss) / epsilon,
        quotient_central: (above.loss - below.loss) / (2.0 * epsilon),
        backward: (layer + 1..=last)
            .rev()
            .map(|at| errors(at, &base.delta[at]))
            .collect(),
        output_error: output_error(network.output_loss()),
        activation_gradient: (layer < last).then(|| pull(theta, &base, layer + 1, row)),
        slope: (layer < last).then(|| base.slope(layer, row)),
        delta,
        derivative: delta * input,
        lost: value + epsilon == value,
    })
}

/// Returns the activations of layer `layer`; those of linear outputs are z.
fn activations<'a>(network: &Network, pass: &'a SamplePass, layer: usize) -> &'a [f64] {
    let linear = matches!(
        network.output_loss(),
        OutputLoss::LinearQuadratic | OutputLoss::Logistic
    );
    if linear && layer + 1 == pass.z.len() {
        &pass.z[layer]
    } else {
        &pass.y[layer]
    }
}

/// Compares the values of one layer in the two passes.
fn pass(
    network: &Network,
    base: &SamplePass,
    moved: &SamplePass,
    layer: usize,
    effect: LayerEffect,
) -> LayerValues {
    let before = activations(network, base, layer);
    let after = activations(network, moved, layer);
    let unit = |unit: usize| UnitValues {
        unit,
        z: base.z[layer][unit],
        z_change: moved.z[layer][unit] - base.z[layer][unit],
        a: before[unit],
        a_change: after[unit] - before[unit],
    };
    let changes = |unit: &UnitValues| unit.z_change != 0.0 || unit.a_change != 0.0;
    let units = (0..before.len()).map(unit).filter(changes);
    let (shown, others) = largest(units.collect(), |unit| unit.a_change);
    LayerValues {
        layer,
        effect,
        changed: shown.len() + others.len(),
        others: others.len(),
        others_sum: others.iter().map(|unit| unit.a_change.abs()).sum(),
        shown,
    }
}

/// Lists the largest δ of one layer.
fn errors(layer: usize, delta: &[f64]) -> LayerErrors {
    let units = delta.iter().enumerate();
    let units = units
        .map(|(unit, &delta)| UnitError { unit, delta })
        .collect();
    let (shown, others) = largest(units, |one: &UnitError| one.delta);
    LayerErrors {
        layer,
        shown,
        others: others.len(),
        others_sum: others.iter().map(|one| one.delta.abs()).sum(),
    }
}

/// Computes ∂L/∂a of unit `unit` as the sum over the units of layer `layer`, which reads it.
fn pull(
    theta: &Parameters<f64>,
    base: &SamplePass,
    layer: usize,
    unit: usize,
) -> ActivationGradient {
    let weights = theta.weights(layer);
    let term = |(above, &delta): (usize, &f64)| {
        let weight = weights[[above, unit]];
        Term {
            unit: above,
            weight,
            delta,
            product: weight * delta,
        }
    };
    let terms = base.delta[layer].iter().enumerate().map(term).collect();
    let (shown, others) = largest(terms, |term| term.product);
    ActivationGradient {
        others: others.len(),
        others_sum: others.iter().map(|term| term.product).sum(),
        shown,
        sum: base.activation_gradient[layer - 1][unit],
    }
}

/// Splits `all` into the items of the largest |size|, sorted by falling |size| (by index among
/// equals), and the others.
fn largest<T>(mut all: Vec<T>, size: impl Fn(&T) -> f64) -> (Vec<T>, Vec<T>) {
    all.sort_by(|one, other| size(other).abs().total_cmp(&size(one).abs()));
    let others = all.split_off(all.len().min(MAX_SHOWN));
    (all, others)
}

/// Returns the formula for δ of an output; with cross-entropy, σ′ cancels.
fn output_error(output_loss: OutputLoss) -> &'static str {
    match output_loss {
        OutputLoss::SigmoidQuadratic => "(a − y)·a·(1 − a)",
        OutputLoss::LinearQuadratic => "z − y",
        OutputLoss::SigmoidCrossEntropy => "a − y, without σ′",
        OutputLoss::SoftmaxCrossEntropy => "p − y, without a derivative of softmax",
        OutputLoss::Logistic => "−y·σ(−y·z)",
    }
}
