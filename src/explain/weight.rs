//! One weight and one sample of the reader's own network: the perturbed pass and the backward pass,
//! number by number, in double precision.
//!
//! Layer m = 0 … L − 1 reads a_m and makes z_m, as `layers.m.weight` is named. The perturbed pass is a
//! whole pass at θ + ε·e, so which units change is observed, not assumed. Of wide layers the units that
//! change most are told one by one and the rest as a sum, which is said. The loss is the sample's own,
//! l2 left out.

use std::str::FromStr;

use serde::Serialize;

use super::check_increment;
use super::network::{LayerEffect, fates};
use crate::gradient_check::sample_pass::SamplePass;
use crate::model::{Layout, Network, Parameters};
use crate::numeric::output_loss::OutputLoss;

/// Units of a layer that are told one by one.
const SHOWN: usize = 6;

/// Where a parameter is: `LAYER,ROW,COLUMN`, from 0, as in `layers.LAYER.weight[ROW, COLUMN]`, or
/// `LAYER,ROW,bias`.
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
            number.map_err(|_| format!("`{text}` is no index; {allowed}"))
        };
        let [layer, row, column] = text.split(',').collect::<Vec<_>>()[..] else {
            return Err(format!("`{text}` is no place of a weight; {allowed}"));
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
    /// The weight of the first unit that reads the largest of `inputs`, the first among equals.
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

    /// Its index in θ.
    ///
    /// # Errors
    /// In words: the first index that is outside, and its range.
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

/// One unit, before and after.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UnitValues {
    /// Its number in its layer.
    pub unit: usize,
    /// z at θ.
    pub z: f64,
    /// z at θ + ε·e, less z.
    pub z_change: f64,
    /// a at θ.
    pub a: f64,
    /// The same of a.
    pub a_change: f64,
}

/// One layer, before and after.
#[derive(Clone, Debug, Serialize)]
pub struct LayerValues {
    /// The layer whose units these are.
    pub layer: usize,
    /// What is to become of its units, from the sizes.
    #[serde(flatten)]
    pub fate: LayerEffect,
    /// Units whose z or a has other bits: observed.
    pub changed: usize,
    /// Those whose a changes most, in order.
    pub shown: Vec<UnitValues>,
    /// How many others change.
    pub others: usize,
    /// Σ |Δa| of the others.
    pub others_sum: f64,
}

/// One product of a sum.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Term {
    /// The unit that it comes from.
    pub unit: usize,
    /// The weight from the perturbed unit into that one.
    pub weight: f64,
    /// δ = ∂L/∂z of that unit.
    pub delta: f64,
    /// Their product.
    pub product: f64,
}

/// ∂L/∂a of the perturbed unit: Σ w·δ over the units that read it.
#[derive(Clone, Debug, Serialize)]
pub struct ActivationGradient {
    /// The largest products, in order.
    pub shown: Vec<Term>,
    /// How many others there are.
    pub others: usize,
    /// Their sum.
    pub others_sum: f64,
    /// The whole sum.
    pub sum: f64,
}

/// δ of one unit.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UnitError {
    /// Its number in its layer.
    pub unit: usize,
    /// ∂L/∂z.
    pub delta: f64,
}

/// δ of one layer above the perturbed one.
#[derive(Clone, Debug, Serialize)]
pub struct LayerErrors {
    /// The layer.
    pub layer: usize,
    /// The largest, in order.
    pub shown: Vec<UnitError>,
    /// How many others there are.
    pub others: usize,
    /// Σ |δ| of the others.
    pub others_sum: f64,
}

/// All that there is to say.
#[derive(Clone, Debug, Serialize)]
pub struct WeightExplanation {
    /// `layers.0.weight[2, 5]`.
    pub parameter: String,
    /// Its value.
    pub value: f64,
    /// ε.
    pub epsilon: f64,
    /// The sample's class.
    pub label: usize,
    /// a of the input that the weight multiplies; 1 for a bias.
    pub input: f64,
    /// Layer by layer, from the weight's own.
    pub forward: Vec<LayerValues>,
    /// All units of the network.
    pub total: LayerEffect,
    /// L(θ).
    pub loss: f64,
    /// L(θ + ε·e).
    pub loss_perturbed: f64,
    /// (L(θ + ε·e) − L(θ))/ε.
    pub quotient: f64,
    /// (L(θ + ε·e) − L(θ − ε·e))/2ε.
    pub quotient_central: f64,
    /// From the outputs down to the layer above the weight's.
    pub backward: Vec<LayerErrors>,
    /// How δ of an output comes about.
    pub output_error: &'static str,
    /// Of a hidden unit.
    pub pull: Option<ActivationGradient>,
    /// σ′ of a hidden unit.
    pub slope: Option<f64>,
    /// δ of the perturbed unit.
    pub delta: f64,
    /// ∂L/∂w = δ·a.
    pub derivative: f64,
    /// Whether θ + ε is θ in double precision, so that the quotients are 0.
    pub lost: bool,
}

/// Works out what the parameter at `place` does to the loss of one sample.
///
/// # Errors
/// In words: a place outside the network, an increment of 0.
pub fn explain(
    network: &Network,
    theta: &Parameters<f64>,
    (inputs, label): (&[f64], u16),
    place: ParameterPosition,
    epsilon: f64,
) -> Result<WeightExplanation, String> {
    let index = place.index(&network.layout)?;
    check_increment(epsilon)?;
    let at = |shift: f64| {
        let mut theta = theta.clone();
        theta.flat_mut()[index] += shift;
        SamplePass::new(network, &theta, inputs, label)
    };
    let (base, above, below) = (at(0.0), at(epsilon), at(-epsilon));
    let value = theta.flat()[index];
    let ParameterPosition { layer, row, column } = place;
    let layers = fates(network.layout.sizes(), layer);
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
        output_error: output_error(network.head()),
        pull: (layer < last).then(|| pull(theta, &base, layer + 1, row)),
        slope: (layer < last).then(|| base.slope(layer, row)),
        delta,
        derivative: delta * input,
        lost: value + epsilon == value,
    })
}

/// Activations of layer `layer`: those of linear outputs are z.
fn activations<'a>(network: &Network, trace: &'a SamplePass, layer: usize) -> &'a [f64] {
    let linear = matches!(
        network.head(),
        OutputLoss::LinearQuadratic | OutputLoss::Logistic
    );
    if linear && layer + 1 == trace.z.len() {
        &trace.z[layer]
    } else {
        &trace.y[layer]
    }
}

fn pass(
    network: &Network,
    base: &SamplePass,
    moved: &SamplePass,
    layer: usize,
    fate: LayerEffect,
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
        fate,
        changed: shown.len() + others.len(),
        others: others.len(),
        others_sum: others.iter().map(|unit| unit.a_change.abs()).sum(),
        shown,
    }
}

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

/// What unit `unit` is for the loss through layer `layer`, which reads it.
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

/// Those of the largest |size|, in order of their units' numbers among equals; and the rest.
fn largest<T>(mut all: Vec<T>, size: impl Fn(&T) -> f64) -> (Vec<T>, Vec<T>) {
    all.sort_by(|one, other| size(other).abs().total_cmp(&size(one).abs()));
    let others = all.split_off(all.len().min(SHOWN));
    (all, others)
}

/// Cross-entropy is made for its outputs: their σ′ cancels.
fn output_error(head: OutputLoss) -> &'static str {
    match head {
        OutputLoss::SigmoidQuadratic => "(a − y)·a·(1 − a)",
        OutputLoss::LinearQuadratic => "z − y",
        OutputLoss::SigmoidCrossEntropy => "a − y, without σ′",
        OutputLoss::SoftmaxCrossEntropy => "p − y, without a derivative of softmax",
        OutputLoss::Logistic => "−y·σ(−y·z)",
    }
}
