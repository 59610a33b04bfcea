//! `nplus1 explain network`: which units a perturbed weight changes, by depth.

use std::fmt::Write as _;
use std::io::Write;

use serde::Serialize;

use crate::cli::arguments::{Global, NetworkArguments};
use crate::cli::inputs::{configured, overrides};
use crate::cli::output::show;
use crate::data::{self, SearchPaths};
use crate::error::{Error, Result};
use crate::explain::network::{LayerEffect, NetworkReuse};
use crate::model::Network;
use crate::study::table::{Table, times, topology, whole};

/// Largest number of marks drawn per layer.
const MOST_MARKS: usize = 24;

/// The JSON document.
#[derive(Clone, Debug, Serialize)]
struct NetworkReport {
    /// Networks of one width, by depth.
    by_depth: Vec<NetworkReuse>,
    /// Network of the config.
    own: Option<NetworkReuse>,
}

/// Explains which part of a forward pass a perturbation leaves unchanged.
///
/// # Errors
/// A config or data that is refused; networks too large to be counted.
pub fn run(arguments: &NetworkArguments, global: &Global, out: &mut dyn Write) -> Result<()> {
    let refuse = |problem| {
        Error::Usage(format!(
            "{problem}\n  help: take smaller layers with --width, or fewer with --depth"
        ))
    };
    let mut own = None;
    let (mut inputs, mut outputs, mut first) = (3, 1, 3);
    if let Some(path) = &arguments.config {
        let overrides = overrides(&arguments.changes);
        let (config, base) = configured(Some(path), ("", ""), &overrides)?;
        let search_paths = SearchPaths::new(global.datasets.as_deref());
        let dataset = data::load(&config.data, &search_paths, base)?.whole()?;
        inputs = dataset.feature_count();
        outputs = Network::outputs_for(&dataset, config.loss.kind);
        let hidden = &config.model.hidden;
        first = hidden.first().copied().unwrap_or(first);
        let sizes = [&[inputs][..], hidden, &[outputs]].concat();
        own = Some(NetworkReuse::new(&sizes).map_err(refuse)?);
    }
    let width = arguments.width.map_or(first, |width| width as usize);
    let by_depth = NetworkReuse::by_depth(inputs, width, outputs, arguments.depth as usize);
    let report = NetworkReport {
        by_depth: by_depth.map_err(refuse)?,
        own,
    };
    show(&report, text, global, out)
}

fn text(report: &NetworkReport) -> String {
    let mut text = "A weight's change moves one unit of its layer; the next layer moves by one product a unit (a rank-1 update);\nfrom there on every product is new. One sample, quadratic loss.\n\n".to_owned();
    let drawn = report.own.as_ref().or(report.by_depth.last());
    if let Some(shape) = drawn {
        text += &drawing(shape);
        text += "\n";
    }
    if let Some(own) = &report.own {
        text += &format!(
            "{}, layer by layer\n{}\n",
            topology(&own.sizes),
            perturbations(&[own])
        );
    }
    let all: Vec<&NetworkReuse> = report.by_depth.iter().collect();
    text += &format!(
        "By depth: the weight is of layers.K\n{}\n",
        perturbations(&all)
    );
    text += "Multiplications of a gradient, and the units of N perturbed passes that are reused\n";
    text += &gradients(report);
    text += &claim(report);
    text
}

/// Draws the units: `=` reused, `~` changed by one product, `#` recomputed.
fn drawing(shape: &NetworkReuse) -> String {
    let mut text = format!(
        "{}, a weight of the first layer: = reused, ~ moved by one product, # recomputed\n",
        topology(&shape.sizes)
    );
    let last = shape.sizes.len() - 2;
    let line = |label: &str, marks: String, units: usize| {
        let more = if units > MOST_MARKS {
            format!(" … {units} in all")
        } else {
            String::new()
        };
        format!("  {label:<9} {marks}{more}\n")
    };
    let inputs = shape.sizes[0];
    text += &line("inputs", "= ".repeat(inputs.min(MOST_MARKS)), inputs);
    for (at, effect) in shape.perturbations[0].layers.iter().enumerate() {
        let label = if at == last {
            "outputs".to_owned()
        } else {
            format!("hidden {}", at + 1)
        };
        text += &line(&label, marks(effect), effect.units);
    }
    text.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

fn marks(effect: &LayerEffect) -> String {
    let marks =
        "~ ".repeat(effect.moved) + &"# ".repeat(effect.recomputed) + &"= ".repeat(effect.reused);
    marks.chars().take(2 * MOST_MARKS).collect()
}

fn perturbations(shapes: &[&NetworkReuse]) -> String {
    let mut table = Table::new([
        "network",
        "K",
        "parameters",
        "units",
        "reused",
        "moved",
        "recomputed",
        "multiplications",
        "of a whole pass",
    ]);
    for shape in shapes {
        for one in &shape.perturbations {
            table.row([
                topology(&shape.sizes),
                one.layer.to_string(),
                whole(one.parameters),
                one.total.units.to_string(),
                one.total.reused.to_string(),
                one.total.moved.to_string(),
                one.total.recomputed.to_string(),
                whole(one.operations.multiplications),
                whole(shape.forward.multiplications),
            ]);
        }
    }
    table.to_string()
}

fn gradients(report: &NetworkReport) -> String {
    let mut table = Table::new([
        "network",
        "N",
        "units reused",
        "backprop",
        "incremental",
        "full",
        "full/incremental",
        "incremental/backprop",
    ]);
    let own = report.own.iter();
    let other = |own: &&NetworkReuse| report.by_depth.iter().all(|one| one.sizes != own.sizes);
    for shape in own.filter(other).chain(&report.by_depth) {
        let backprop = shape.backprop.multiplications;
        table.row([
            topology(&shape.sizes),
            whole(shape.parameters),
            format!("{:.1} %", 100.0 * shape.reused),
            whole(backprop),
            whole(shape.incremental),
            whole(shape.full),
            gain(shape),
            times(shape.incremental as f64 / backprop as f64),
        ]);
    }
    table.to_string()
}

/// Returns the multiplications of whole passes relative to those of incremental ones.
fn gain(shape: &NetworkReuse) -> String {
    times(shape.full as f64 / shape.incremental as f64)
}

/// Refutes in numbers the claim that changing the first unit of a layer reuses nothing of the
/// others.
fn claim(report: &NetworkReport) -> String {
    let mut text = String::new();
    let (Some(shallow), Some(deep)) = (report.by_depth.first(), report.by_depth.last()) else {
        return text;
    };
    let beside = shallow.perturbations[0].layers[0];
    let _ = writeln!(
        text,
        "\n\"Changing the first hidden unit reuses nothing of the others\" is wrong: of its layer's {} units {} stay as they are,\nand the next layer moves by one product a unit. Reuse dies with depth: whole passes take {} times the multiplications\nof what changes with {} hidden layer, {} times with {}.",
        beside.units,
        beside.reused,
        gain(shallow),
        shallow.sizes.len() - 2,
        gain(deep),
        deep.sizes.len() - 2,
    );
    text
}
