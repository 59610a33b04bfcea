//! An interactive page on the toy z = b·σ(a·x), with each claim and its verdict, for teaching.

use maud::{Markup, html};
use serde_json::json;

use super::figure::{Axis, Figure, Mark, Series};
use super::page::Page;
use super::svg;
use super::tables::table;
use crate::explain::claims::Claim;
use crate::explain::toy::{Toy, ToyExplanation};
use crate::study::table::{Table, figure};
use crate::text::plain;

const SCRIPT: &str = include_str!("assets/toy.js");

/// A slider: its name, label, range, step and initial value; the one for ε shows log₁₀ ε.
struct Slider(&'static str, &'static str, [f64; 2], f64, f64);

/// Renders the page, dated `date`; the sliders start at the numbers of `explanation`.
pub fn render(explanation: &ToyExplanation, claims: &[Claim], date: &str) -> String {
    let mut page = Page::new("One gradient, or N + 1 losses?");
    page.section("Try it: z = b·σ(a·x)");
    page.add(playground(explanation));
    page.data(
        "toy",
        json!({
            "a": explanation.toy.a,
            "b": explanation.toy.b,
            "x": explanation.toy.x,
            "epsilon": explanation.toy.epsilon,
        }),
    );
    page.script(SCRIPT);
    page.section("Step by step");
    page.add(derivation(explanation));
    page.section("Claims");
    page.add(html! {
        ol.claims {
            @for claim in claims {
                li {
                    p { b { (plain(claim.claim)) } }
                    p { span.verdict { (plain(claim.verdict)) } ": " (plain(claim.because)) }
                    @if let Some(evidence) = &claim.evidence { p { (plain(evidence)) } }
                    p.source { code { (plain(claim.command)) } }
                }
            }
        }
    });
    page.render(date)
}

fn playground(explanation: &ToyExplanation) -> Markup {
    let toy = explanation.toy;
    let sliders = [
        Slider("a", "a, the inner weight", [-6.0, 6.0], 0.01, toy.a),
        Slider("b", "b, the outer weight", [-6.0, 6.0], 0.01, toy.b),
        Slider("x", "x, the input", [-6.0, 6.0], 0.01, toy.x),
        Slider(
            "epsilon",
            "log₁₀ ε, the increment",
            [-16.0, 0.0],
            0.05,
            toy.epsilon.abs().log10(),
        ),
    ];
    html! {
        p {
            "One input, one hidden unit, two weights. The gradient needs one forward and one backward pass; differences need one additional loss for every weight. Move the sliders to see how the values and errors change."
        }
        noscript { p.note { "The sliders need JavaScript; the section below shows the same numbers step by step." } }
        form.toy id="toy" {
            @for Slider(id, label, [low, high], step, value) in &sliders {
                @let (low, high) = (low.min(value.floor()), high.max(value.ceil()));
                label for=(format!("toy-{id}")) { (label) }
                input type="range" id=(format!("toy-{id}")) min=(low) max=(high) step=(step) value=(value);
                output id=(format!("toy-{id}-value")) for=(format!("toy-{id}")) {}
            }
        }
        div id="toy-values" { (table("Methods, with their operations (including those for z)", &explanation.methods_table())) }
        div.pair {
            figure.plot {
                figcaption { h3 { "z against a" } p { "The slope of the tangent is ∂z/∂a; that of the secant is the forward difference." } }
                div id="toy-curve" role="img" aria-label="z against a, with its tangent and its secant" {
                    (picture(&curve(explanation)))
                }
            }
            figure.plot {
                figcaption { h3 { "Error of ∂z/∂a against ε" } p { "The V shape: truncation error for large ε, round-off for small ε." } }
                div id="toy-error" role="img" aria-label="Error of ∂z/∂a against ε, by forward and central differences" {
                    (picture(&errors(explanation)))
                }
            }
        }
    }
}

/// Renders the static picture of a figure, for readers without scripts.
fn picture(figure: &Figure) -> Markup {
    html! {
        @if figure.is_empty() { p { "Every error is 0 here." } }
        @else { div.static { (svg::draw(figure)) } }
    }
}

/// Returns the figure of z against a with its tangent, for readers without scripts.
fn curve(explanation: &ToyExplanation) -> Figure {
    let Toy { a, b, x, epsilon } = explanation.toy;
    let z = |a: f64| {
        Some(
            Toy::new(a, b, x, epsilon)
                .ok()?
                .explain()
                .forward
                .last()?
                .value,
        )
    };
    let around = (-30..=30).map(|step| a + f64::from(step) / 5.0);
    let here = z(a).unwrap_or_default();
    let slope = explanation.methods.first().map_or(0.0, |exact| exact.a);
    let tangent = [a - 2.0, a + 2.0].map(|at| (at, here + slope * (at - a)));
    let series = vec![
        Series::new(
            "z",
            Mark::LineAndDots,
            0,
            around.filter_map(|at| Some((at, z(at)?))),
        ),
        Series::new("tangent", Mark::Dashed, 2, tangent),
    ];
    Figure::new("z against a", "", [Axis::new("a"), Axis::new("z")], series)
}

/// Returns the figure of the error of forward differences against ε, for readers without scripts.
fn errors(explanation: &ToyExplanation) -> Figure {
    let points = (explanation.quotients.iter()).map(|row| (row.epsilon.abs(), row.error_a));
    let axes = [
        Axis::new("ε").logarithmic(),
        Axis::new("error of ∂z/∂a").logarithmic(),
    ];
    let series = vec![Series::new(
        "forward differences",
        Mark::LineAndDots,
        1,
        points,
    )];
    Figure::new("Error of ∂z/∂a against ε", "", axes, series)
}

fn derivation(explanation: &ToyExplanation) -> Markup {
    let toy = explanation.toy;
    let mut steps = Table::new(["quantity", "formula", "value"]);
    for step in explanation.forward.iter().chain(&explanation.backward) {
        steps.row([
            step.symbol.to_owned(),
            step.formula.to_owned(),
            figure(step.value),
        ]);
    }
    html! {
        p { "At a = " (toy.a) ", b = " (toy.b) ", x = " (toy.x) ":" }
        (table("Forward pass, then backward pass", &steps))
        (table("Difference quotients", &explanation.quotients_table()))
        p { "σ is not additive: b·σ(ax) + b·σ(εx) is not z(a + ε), and its “quotient” grows like b/(2ε)." }
    }
}
