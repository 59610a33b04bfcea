//! The toy z = b·σ(a·x) to play with, and every claim with its verdict: a page for a classroom.

use maud::{Markup, html};
use serde_json::json;

use super::figure::{Axis, Figure, Mark, Series};
use super::page::{Page, table};
use super::svg;
use crate::explain::claims::Claim;
use crate::explain::toy::{Toy, ToyExplanation};
use crate::study::table::{Table, figure};
use crate::text::plain;

const SCRIPT: &str = include_str!("assets/toy.js");

/// A slider: its name, its label, its ends and its step; that of ε counts powers of ten.
struct Slider(&'static str, &'static str, [f64; 2], f64, f64);

/// The page, made on `date`, beginning with the numbers of `found`.
pub fn render(found: &ToyExplanation, claims: &[Claim], date: &str) -> String {
    let mut page = Page::new("One gradient, or N + 1 losses?");
    page.section("Try it: z = b·σ(a·x)");
    page.add(playground(found));
    page.data(
        "toy",
        json!({
            "a": found.toy.a,
            "b": found.toy.b,
            "x": found.toy.x,
            "epsilon": found.toy.epsilon,
        }),
    );
    page.script(SCRIPT);
    page.section("Worked out");
    page.add(worked(found));
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

fn playground(found: &ToyExplanation) -> Markup {
    let toy = found.toy;
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
            "One input, one hidden unit, two weights. The gradient needs one pass forward and one back; differences need a loss more for every weight. Move the sliders: values, errors and operations follow."
        }
        noscript { p.note { "The sliders need JavaScript; the same numbers, worked out, stand below." } }
        form.toy id="toy" {
            @for Slider(id, label, [low, high], step, value) in &sliders {
                @let (low, high) = (low.min(value.floor()), high.max(value.ceil()));
                label for=(format!("toy-{id}")) { (label) }
                input type="range" id=(format!("toy-{id}")) min=(low) max=(high) step=(step) value=(value);
                output id=(format!("toy-{id}-value")) for=(format!("toy-{id}")) {}
            }
        }
        div id="toy-values" { (table("Each method, its operations counted, z included", &found.methods_table())) }
        div.pair {
            figure.plot {
                figcaption { h3 { "z over a" } p { "The tangent has the slope of the gradient; the secant that of the forward difference." } }
                div id="toy-curve" role="img" aria-label="z over a, with its tangent and its secant" {
                    (picture(&curve(found)))
                }
            }
            figure.plot {
                figcaption { h3 { "Error of ∂z/∂a over ε" } p { "Large ε leave curvature out, small ones lose digits: the V." } }
                div id="toy-error" role="img" aria-label="Error of ∂z/∂a over ε, by forward and central differences" {
                    (picture(&errors(found)))
                }
            }
        }
    }
}

/// A figure as it is without scripts.
fn picture(figure: &Figure) -> Markup {
    html! {
        @if figure.is_empty() { p { "Every error is 0 here." } }
        @else { div.static { (svg::draw(figure)) } }
    }
}

/// z over a and its tangent, for readers without scripts.
fn curve(found: &ToyExplanation) -> Figure {
    let Toy { a, b, x, epsilon } = found.toy;
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
    let slope = found.methods.first().map_or(0.0, |exact| exact.a);
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
    Figure::new("z over a", "", [Axis::new("a"), Axis::new("z")], series)
}

/// The error of forward differences over ε, for readers without scripts.
fn errors(found: &ToyExplanation) -> Figure {
    let points = (found.quotients.iter()).map(|row| (row.epsilon.abs(), row.error_a));
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
    Figure::new("Error of ∂z/∂a over ε", "", axes, series)
}

fn worked(found: &ToyExplanation) -> Markup {
    let toy = found.toy;
    let mut steps = Table::new(["", "from", "value"]);
    for step in found.forward.iter().chain(&found.backward) {
        steps.row([
            step.symbol.to_owned(),
            step.formula.to_owned(),
            figure(step.value),
        ]);
    }
    html! {
        p { "At a = " (toy.a) ", b = " (toy.b) ", x = " (toy.x) ":" }
        (table("Forward, then backward", &steps))
        (table("Difference quotients", &found.quotients_table()))
        p { "σ is not additive: b·σ(ax) + b·σ(εx) is not z(a + ε), and its “quotient” grows like b/(2ε)." }
    }
}
