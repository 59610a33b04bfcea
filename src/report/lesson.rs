//! The toy z = b·σ(a·x) to play with, and every claim with its verdict: a page for a classroom.

use maud::{Markup, html};
use serde_json::json;

use super::page::{Page, plain, table};
use crate::study::example::claims::Claim;
use crate::study::example::toy::Explanation;
use crate::study::table::{Table, figure, rough};

const SCRIPT: &str = include_str!("assets/toy.js");

/// A slider: its name, its label, its ends and its step; that of ε counts powers of ten.
struct Slider(&'static str, &'static str, [f64; 2], f64, f64);

/// The page, made on `date`, beginning with the numbers of `found`.
pub fn render(found: &Explanation, claims: &[Claim], date: &str) -> String {
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

fn playground(found: &Explanation) -> Markup {
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
        div id="toy-values" { (table("Each method, its operations counted, z included", &methods(found))) }
        div.pair {
            figure.plot {
                figcaption { h3 { "z over a" } p { "The tangent has the slope of the gradient; the secant that of the forward difference." } }
                div id="toy-curve" role="img" aria-label="z over a, with its tangent and its secant" {}
            }
            figure.plot {
                figcaption { h3 { "Error of ∂z/∂a over ε" } p { "Large ε leave curvature out, small ones lose digits: the V." } }
                div id="toy-error" role="img" aria-label="Error of ∂z/∂a over ε, by forward and central differences" {}
            }
        }
    }
}

/// In this order `assets/toy.js` fills in its values.
fn methods(found: &Explanation) -> Table {
    let mut of = Table::new([
        "method",
        "∂z/∂a",
        "its error",
        "∂z/∂b",
        "its error",
        "multiplications",
        "additions",
        "exp",
        "divisions",
    ]);
    for method in &found.methods {
        let count = method.operations;
        of.row([
            method.name.to_owned(),
            figure(method.a),
            rough(method.error_a),
            figure(method.b),
            rough(method.error_b),
            count.multiplications.to_string(),
            count.additions.to_string(),
            count.exponentials.to_string(),
            count.divisions.to_string(),
        ]);
    }
    of
}

fn worked(found: &Explanation) -> Markup {
    let toy = found.toy;
    let mut steps = Table::new(["", "from", "value"]);
    for step in found.forward.iter().chain(&found.backward) {
        steps.row([
            step.symbol.to_owned(),
            step.formula.to_owned(),
            figure(step.value),
        ]);
    }
    let mut quotients = Table::new([
        "ε",
        "in a",
        "its error",
        "if σ were additive",
        "b/(2ε)",
        "in b",
        "its error",
    ]);
    for row in &found.quotients {
        quotients.row([
            format!("{:e}", row.epsilon),
            figure(row.a),
            rough(row.error_a),
            figure(row.additive),
            figure(row.divergence),
            figure(row.b),
            rough(row.error_b),
        ]);
    }
    html! {
        p { "At a = " (toy.a) ", b = " (toy.b) ", x = " (toy.x) ":" }
        (table("Forward, then backward", &steps))
        (table("Difference quotients", &quotients))
        p { "σ is not additive: b·σ(ax) + b·σ(εx) is not z(a + ε), and its “quotient” grows like b/(2ε)." }
    }
}
