//! `nplus1 explain toy`: y = σ(a·x), z = b·y, with numbers of the user's choice.

use std::io::Write;

use crate::cli::arguments::{Global, ToyArguments};
use crate::cli::output::show;
use crate::error::{Error, Result};
use crate::explain::toy::{DerivationStep, Toy, ToyExplanation};
use crate::study::table::{figure, list};

/// Explains the example.
///
/// # Errors
/// Numbers that are not finite or lead beyond the finite ones.
pub fn run(arguments: &ToyArguments, global: &Global, out: &mut dyn Write) -> Result<()> {
    show(&explain(arguments)?, text, global, out)
}

/// Computes the example with these numbers.
///
/// # Errors
/// Numbers that are not finite or lead beyond the finite ones.
pub fn explain(arguments: &ToyArguments) -> Result<ToyExplanation> {
    let ToyArguments { a, b, x, epsilon } = *arguments;
    let toy = Toy::new(a, b, x, epsilon).map_err(Error::Usage)?;
    Ok(toy.explain())
}

fn text(explanation: &ToyExplanation) -> String {
    let toy = explanation.toy;
    let mut text = format!(
        "y = σ(a·x), z = b·y at a = {}, b = {}, x = {}; ε = {:e}\n\n",
        toy.a, toy.b, toy.x, toy.epsilon
    );
    text += "Forward\n";
    text += &steps(&explanation.forward);
    text += "\nBackward\n";
    text += &steps(&explanation.backward);
    text += "\nOperations of each method, z included\n";
    text += &explanation.methods_table().to_string();
    if explanation.lost {
        text += &format!(
            "ε = {:e} is lost: a + ε or b + ε rounds to the number itself, and the quotient to 0.\n",
            toy.epsilon
        );
    }
    text += "\nThe same difference quotients at other increments\n";
    text += &explanation.quotients_table().to_string();
    text += "σ is not additive: b·σ(ax) + b·σ(εx) is not z(a + ε), and its \"quotient\" grows like b/(2ε).\nz is linear in b: (z(b + ε) − z)/ε is ∂z/∂b for any ε, up to rounding.\n";
    text += "\nThe slip\n";
    text += &list(&[
        (
            "b·x·σ(ax)·(1 − σ(ax))",
            format!("{}  ∂z/∂a", figure(explanation.methods[0].a)),
        ),
        (
            "b·x·σ(ax)·(1 − a·σ(ax))",
            format!("{}  not ∂z/∂a", figure(explanation.slip)),
        ),
    ]);
    let perturbed = &explanation.perturbed;
    text += "\nz(a + ε), three times\n";
    text += &list(&[
        ("b·σ((a + ε)·x)", format!("{:.16}", perturbed.direct)),
        (
            "b/(1 + u·e^(−εx))",
            format!("{:.16}  u is kept", perturbed.from_u),
        ),
        (
            "z/(y + (1 − y)·e^(−εx))",
            format!("{:.16}  z can be taken out", perturbed.from_z),
        ),
    ]);
    text
}

fn steps(steps: &[DerivationStep]) -> String {
    let line = |step: &DerivationStep| {
        let symbol = match step.symbol {
            "" => String::new(),
            symbol => format!("{symbol} ="),
        };
        (format!("{symbol:<7} {}", step.formula), figure(step.value))
    };
    let lines: Vec<(String, String)> = steps.iter().map(line).collect();
    let lines: Vec<(&str, String)> = lines
        .iter()
        .map(|(label, value)| (label.as_str(), value.clone()))
        .collect();
    list(&lines)
}
