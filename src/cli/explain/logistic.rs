//! `nplus1 explain logistic`: logistic regression, where finite differences need fewer
//! multiplications than the gradient.

use std::io::Write;

use crate::cli::arguments::{Global, LogisticArguments};
use crate::cli::inputs::{configured, overrides};
use crate::cli::output::show;
use crate::data::{self, Part, Scaling, SearchPaths};
use crate::error::{Error, Result};
use crate::explain::logistic::{
    CountRow, Logistic, LogisticExplanation, LogisticMethod, ShapeAndSign,
};
use crate::model::Layout;
use crate::study::table::{Table, figure, list, rough, whole};

/// Default config: its text and its name.
const DEFAULT: (&str, &str) = (
    include_str!("../../../configs/logistic.toml"),
    "configs/logistic.toml",
);

/// Number of elements of the gradient that are printed.
const SHOWN: usize = 6;

/// Explains logistic regression on all rows of a dataset.
///
/// # Errors
/// A config or data that is refused; labels that are not two classes; more than can be counted.
pub fn run(arguments: &LogisticArguments, global: &Global, out: &mut dyn Write) -> Result<()> {
    let mut overrides = overrides(&arguments.changes);
    let named = arguments.dataset.iter();
    overrides
        .set
        .extend(named.map(|name| format!("data.dataset=\"{name}\"")));
    let (config, base) = configured(arguments.config.as_deref(), DEFAULT, &overrides)?;
    let search_paths = SearchPaths::new(global.datasets.as_deref());
    let dataset = data::load(&config.data, &search_paths, base)?.whole()?;
    let rows = config
        .data
        .limit
        .map_or(dataset.rows(), |limit| limit.min(dataset.rows()));
    let part = Part {
        rows: (0..rows as u32).collect(),
        dataset,
    };
    let dataset = &part.dataset;
    let scaling = Scaling::fit(config.data.normalize, &part)?;
    let layout = std::sync::Arc::new(Layout::new(&[dataset.feature_count(), 1], false));
    let theta = config
        .model
        .initialization
        .draw::<f64>(&layout, config.seed);
    let logistic = Logistic::new(dataset, &scaling, rows, theta.flat(), arguments.epsilon);
    let logistic = logistic.map_err(|problem| match dataset.class_count() {
        2 => Error::Usage(format!(
            "{}: {problem}\n  help: take fewer rows, such as --set data.limit=100",
            dataset.name
        )),
        _ => Error::refused(&dataset.name, problem).help(
            "take a dataset of two classes, such as --dataset breast-cancer, or a CSV file whose label column has two values",
        ),
    })?;
    show(
        &logistic.explain(),
        |explanation| text(explanation, &dataset.name),
        global,
        out,
    )
}

fn text(explanation: &LogisticExplanation, name: &str) -> String {
    let (m, n) = (explanation.rows, explanation.features);
    let mut text = format!(
        "f(θ) = Σ ln(1 + e^(−y·x·θ)) over {m} samples of {n} features ({name}), y = ±1; ε = {:e}\n\n",
        explanation.epsilon
    );
    text += "Operations for f and its gradient, by the number n of features\n";
    text += &counts(&explanation.counts);
    text += &format!("\n{}\n", answer(explanation));
    text += "\nShape and sign of the gradient\n";
    text += &form(&explanation.shape_and_sign);
    text
}

fn counts(rows: &[CountRow]) -> String {
    let mut table = Table::new([
        "method",
        "n",
        "multiplications",
        "additions",
        "exp",
        "log",
        "div",
        "mul ratio",
        "exp + log ratio",
        "error",
    ]);
    let mut last = rows.first().map(|row| row.features);
    for row in rows {
        if last.replace(row.features) != Some(row.features) {
            table.row([""]);
        }
        let count = row.operations;
        table.row([
            row.method.to_owned(),
            row.features.to_string(),
            whole(count.multiplications),
            whole(count.additions),
            whole(count.exponentials),
            whole(count.logarithms),
            whole(count.divisions),
            format!("{:.3}", row.multiplications_ratio),
            format!("{:.1}", row.transcendentals_ratio),
            rough(row.relative_error),
        ]);
    }
    table.to_string()
}

/// Summarizes the rows of all features.
fn answer(explanation: &LogisticExplanation) -> String {
    let row = |method: LogisticMethod| {
        let mut rows = explanation.counts.iter().rev();
        rows.find(|row| row.method == method.name())
            .expect("every method has its row")
    };
    let (gradient, tabulated) = (
        row(LogisticMethod::Gradient).operations,
        row(LogisticMethod::Tabulated),
    );
    let differences = tabulated.operations;
    let verdict = if differences.multiplications < gradient.multiplications {
        "fewer"
    } else {
        "no fewer"
    };
    format!(
        "With Xθ kept and εX tabulated, differences take {verdict} multiplications than the gradient ({} against {}),\nand lose on the others: {} exponentials against {}, {} logarithms against {}: n + 1 = {} times as many.",
        whole(differences.multiplications),
        whole(gradient.multiplications),
        whole(differences.exponentials),
        whole(gradient.exponentials),
        whole(differences.logarithms),
        whole(gradient.logarithms),
        differences.exponentials / gradient.exponentials,
    )
}

fn form(form: &ShapeAndSign) -> String {
    let mut table = Table::new([
        "feature",
        "θ",
        "−Σ y·σ(−y·x·θ)·x",
        "central quotient",
        "Σ residual·θ",
    ]);
    let mut elements = form.elements.clone();
    elements.sort_by(|one, other| other.gradient.abs().total_cmp(&one.gradient.abs()));
    for element in elements.iter().take(SHOWN) {
        table.row([
            element.feature.to_string(),
            figure(element.theta),
            figure(element.gradient),
            figure(element.quotient),
            figure(element.slip),
        ]);
    }
    let others = elements.len().saturating_sub(SHOWN);
    let mut text = table.to_string();
    if others > 0 {
        text += &format!("the {SHOWN} largest elements; {others} others with --json\n");
    }
    let change = |loss: f64| format!("{} ({:+.4})", figure(loss), loss - form.loss);
    text += "\n";
    text += &list(&[
        (
            "cosine of gradient and quotients",
            figure(form.cosine_quotient),
        ),
        (
            "cosine of gradient and Σ residual·θ",
            figure(form.cosine_slip),
        ),
        (
            "cosine of θ and Σ residual·θ",
            figure(form.cosine_slip_theta),
        ),
        ("f(θ)", figure(form.loss)),
        ("a step against the gradient", change(form.loss_along)),
        ("a step along it: sign forgotten", change(form.loss_against)),
        ("a step against Σ residual·θ", change(form.loss_along_slip)),
        ("‖gradient‖ at θ = 0", figure(form.norm_at_zero)),
        ("‖Σ residual·θ‖ at θ = 0", figure(form.slip_norm_at_zero)),
    ]);
    text += &format!(
        "steps have length {:e}. Σ residual·θ is a multiple of θ whatever the samples are, and 0 at θ = 0: the residuals weigh the samples x.\n",
        form.step
    );
    text
}
