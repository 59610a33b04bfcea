//! `nplus1 explain CONFIG`: one weight and one sample of a network, number by number.

use std::fmt::Write as _;
use std::io::Write;

use crate::cli::arguments::{Global, WeightArguments};
use crate::cli::inputs::{Inputs, overrides, parameters};
use crate::cli::output::{Messages, show};
use crate::data::Split;
use crate::error::{Error, Result};
use crate::explain::weight::{
    ActivationGradient, LayerErrors, LayerValues, ParameterPosition, WeightExplanation, explain,
};
use crate::model::Network;
use crate::study::table::{Table, figure, list, rough, topology};

/// Explains one weight and one sample of the network that `path` describes.
///
/// # Errors
/// A config, data or model that is refused; a weight or a sample that does not exist.
pub fn run(
    arguments: &WeightArguments,
    path: &std::path::Path,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    let overrides = overrides(&arguments.changes);
    let inputs = Inputs::load(path, &overrides, global)?;
    let Inputs { config, split } = &inputs;
    let network = inputs.network()?;
    let theta = parameters(arguments.weights.as_deref(), config, &network, messages)?;
    let (values, label, numbers) = sample(split, arguments.sample)?;
    let place = arguments
        .weight
        .unwrap_or_else(|| ParameterPosition::of_largest(&values));
    (place.index(&network.layout))
        .map_err(|problem| Error::Usage(format!("--weight: {problem}")))?;
    let explanation = explain(
        &network,
        &theta,
        (&values, (label, &numbers)),
        place,
        arguments.epsilon,
    )
    .map_err(|problem| Error::Usage(format!("--epsilon: {problem}")))?;
    show(
        &explanation,
        |explanation| text(explanation, &network, split, arguments.sample),
        global,
        out,
    )
}

/// Returns the scaled inputs and the class of training row `at`, and in a regression its scaled
/// targets.
fn sample(split: &Split, at: usize) -> Result<(Vec<f64>, u16, Vec<f64>)> {
    let part = &split.train;
    let dataset = &part.dataset;
    let Some(&row) = part.rows.get(at) else {
        return Err(Error::Usage(format!(
            "--sample: no row {at}; {} has {} training rows; allowed: 0 to {}",
            dataset.name,
            part.rows.len(),
            part.rows.len() - 1
        )));
    };
    let row = row as usize;
    let input = |feature| {
        split
            .scaling
            .apply(feature, dataset.features.value(row, feature))
    };
    Ok((
        (0..dataset.feature_count()).map(input).collect(),
        dataset.labels[row],
        match (&dataset.targets, &split.scaling.targets) {
            (Some(targets), Some(scaling)) => {
                let numbers = targets.values.row(row).into_iter().enumerate();
                numbers
                    .map(|(target, &y)| scaling.apply(target, y))
                    .collect()
            }
            _ => Vec::new(),
        },
    ))
}

fn text(
    explanation: &WeightExplanation,
    network: &Network,
    split: &Split,
    sample: usize,
) -> String {
    let mut text = heading(explanation, network, split, sample);
    text += "\nForward, perturbed: what θ + ε changes\n";
    text += &forward(explanation, network);
    text += "\n";
    text += &list(&[
        ("loss", format!("{:.16}", explanation.loss)),
        ("perturbed", format!("{:.16}", explanation.loss_perturbed)),
        (
            "change",
            figure(explanation.loss_perturbed - explanation.loss),
        ),
    ]);
    text += "\nBackward: one pass, which all parameters share\n";
    for errors in &explanation.backward {
        text += &deltas(errors, network, explanation.output_error);
    }
    text += &chain(explanation);
    text += "\nDerivative and quotients\n";
    text += &quotients(explanation);
    if explanation.lost {
        text += "ε is lost: θ + ε rounds to θ, and the quotients to 0.\n";
    }
    if explanation.input == 0.0 {
        text += "The input is 0: no perturbation of this weight changes anything, and its derivative is exactly 0.\n";
    }
    text
}

/// Describes the network, the sample and the parameter.
fn heading(
    explanation: &WeightExplanation,
    network: &Network,
    split: &Split,
    sample: usize,
) -> String {
    let dataset = &split.train.dataset;
    let mut text = list(&[
        (
            "network",
            format!(
                "{}, {} outputs, {} loss",
                topology(network.layout.sizes()),
                network.output.name(),
                network.loss.name()
            ),
        ),
        (
            "sample",
            format!(
                "training row {sample} of {}{}",
                dataset.name,
                dataset
                    .class_names
                    .get(explanation.label)
                    .map_or_else(String::new, |class| format!(", class {class}"))
            ),
        ),
        (
            "parameter",
            format!("{} = {}", explanation.parameter, figure(explanation.value)),
        ),
        ("its input", figure(explanation.input)),
        ("ε", format!("{:e}", explanation.epsilon)),
    ]);
    if network.l2 != 0.0 {
        text += "The l2 term is left out: this is the sample's own loss.\n";
    }
    text
}

/// Describes what the perturbation changes, layer by layer, and how many units are reused.
fn forward(explanation: &WeightExplanation, network: &Network) -> String {
    let product = explanation.epsilon * explanation.input;
    let mut text = format!(
        "Δz of the unit is ε·{} = {}\n",
        figure(explanation.input),
        figure(product)
    );
    for (above, pass) in explanation.forward.iter().enumerate() {
        text += &layer(pass, above == 0, network);
    }
    let total = explanation.total;
    let _ = match explanation.forward.iter().any(|pass| pass.changed > 0) {
        true => writeln!(
            text,
            "of {} units {} are reused, {} move by one product each, {} are recomputed",
            total.units, total.reused, total.moved, total.recomputed
        ),
        false => writeln!(text, "all {} units are reused", total.units),
    };
    text
}

/// Compares the difference quotients with the derivative.
fn quotients(explanation: &WeightExplanation) -> String {
    let against = |quotient: f64| {
        let off = (quotient - explanation.derivative).abs();
        format!("{:<22} off by {}", format!("{quotient:.12e}"), rough(off))
    };
    list(&[
        (
            "∂L/∂θ = δ·input",
            format!("{:.12e}", explanation.derivative),
        ),
        ("(L(θ + ε) − L(θ))/ε", against(explanation.quotient)),
        (
            "(L(θ + ε) − L(θ − ε))/2ε",
            against(explanation.quotient_central),
        ),
    ])
}

/// Returns the name of a layer and the kind of its units.
fn title(layer: usize, network: &Network) -> String {
    if layer + 1 == network.layout.layers() {
        format!("layers.{layer} (outputs)")
    } else {
        format!("layers.{layer} (hidden)")
    }
}

fn layer(pass: &LayerValues, first: bool, network: &Network) -> String {
    let effect = pass.effect;
    let mut text = format!("\n{}: ", title(pass.layer, network));
    text += &match (pass.changed, first, effect.moved) {
        (0, ..) => "no unit changes".to_owned(),
        (_, true, _) => format!("one unit, by ε·input; {} others are reused", effect.reused),
        (changed, _, 0) => format!("{changed} of {} units, each recomputed", effect.units),
        (changed, ..) => format!(
            "{changed} of {} units, each by one product, w·Δa",
            effect.units
        ),
    };
    text += "\n";
    if pass.shown.is_empty() {
        return text;
    }
    let mut table = Table::new(["unit", "z", "Δz", "a", "Δa"]);
    for unit in &pass.shown {
        table.row([
            unit.unit.to_string(),
            figure(unit.z),
            figure(unit.z_change),
            figure(unit.a),
            figure(unit.a_change),
        ]);
    }
    text += &table.to_string();
    if pass.others > 0 {
        let _ = writeln!(
            text,
            "the {} that change most; {} others, Σ |Δa| = {}",
            pass.shown.len(),
            pass.others,
            figure(pass.others_sum)
        );
    }
    text
}

fn deltas(errors: &LayerErrors, network: &Network, output_error: &str) -> String {
    let formula = if errors.layer + 1 == network.layout.layers() {
        output_error
    } else {
        "σ′(z)·Σ w·δ of the layer above"
    };
    let mut text = format!("{}: δ = {formula}\n", title(errors.layer, network));
    let mut table = Table::new(["unit", "δ"]);
    for one in &errors.shown {
        table.row([one.unit.to_string(), figure(one.delta)]);
    }
    text += &table.to_string();
    if errors.others > 0 {
        let _ = writeln!(
            text,
            "the {} largest; {} others, Σ |δ| = {}",
            errors.shown.len(),
            errors.others,
            figure(errors.others_sum)
        );
    }
    text
}

/// Formats the chain from Σ w·δ to ∂L/∂θ.
fn chain(explanation: &WeightExplanation) -> String {
    let Some((activation_gradient, slope)) = explanation
        .activation_gradient
        .as_ref()
        .zip(explanation.slope)
    else {
        return format!(
            "its unit is an output: δ = {} = {}\n∂L/∂θ = δ·input = {} · {} = {}\n",
            explanation.output_error,
            figure(explanation.delta),
            figure(explanation.delta),
            figure(explanation.input),
            figure(explanation.derivative)
        );
    };
    let mut text = "the unit's ∂L/∂a = Σ w·δ over the units that read it\n".to_owned();
    text += &products(activation_gradient);
    let _ = writeln!(
        text,
        "∂L/∂θ = Σ w·δ · σ′(z) · input = {} · {} · {} = {}",
        figure(activation_gradient.sum),
        figure(slope),
        figure(explanation.input),
        figure(explanation.derivative)
    );
    text
}

fn products(activation_gradient: &ActivationGradient) -> String {
    let mut table = Table::new(["unit", "w", "δ", "w·δ"]);
    for term in &activation_gradient.shown {
        table.row([
            term.unit.to_string(),
            figure(term.weight),
            figure(term.delta),
            figure(term.product),
        ]);
    }
    if activation_gradient.others > 0 {
        table.row([
            format!("{} others", activation_gradient.others),
            String::new(),
            String::new(),
            figure(activation_gradient.others_sum),
        ]);
    }
    table.row([
        "Σ".to_owned(),
        String::new(),
        String::new(),
        figure(activation_gradient.sum),
    ]);
    table.to_string()
}
