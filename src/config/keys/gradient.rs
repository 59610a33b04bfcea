//! The keys of `[gradient]`.

use std::ops::Bound;

use super::{Condition, Form, Interval, Key, SectionKeys, Selector};
use crate::gradient::random_direction::MOST_DIRECTIONS;

/// Where the method is chosen.
pub(in crate::config) const METHOD: Selector = ("gradient", "method");

/// Conditions on the method.
const DIFFERENCES: &[Condition] = &[Condition {
    selector: METHOD,
    values: &["forward-difference", "central-difference"],
}];
const EVALUATED: &[Condition] = &[Condition {
    selector: METHOD,
    values: &["forward-difference", "central-difference", "forward-mode"],
}];
const WITHOUT_CANCELLATION: &[Condition] = &[Condition {
    selector: METHOD,
    values: &[
        "forward-difference",
        "central-difference",
        "node-perturbation",
    ],
}];
const INCREMENTED: &[Condition] = &[Condition {
    selector: METHOD,
    values: &[
        "forward-difference",
        "central-difference",
        "numeric-backprop",
        "node-perturbation",
        "spsa",
    ],
}];
const RANDOM: &[Condition] = &[Condition {
    selector: METHOD,
    values: &["spsa", "forward-gradient"],
}];
const FORWARD_GRADIENT: &[Condition] = &[Condition {
    selector: METHOD,
    values: &["forward-gradient"],
}];

const POSITIVE: Form = Form::Number(Interval {
    lower: Bound::Excluded(0.0),
    upper: Bound::Unbounded,
});

/// The keys of `[gradient]`.
pub static GRADIENT: SectionKeys = SectionKeys {
    name: "gradient",
    any_of: &[],
    keys: &[
        Key::new(
            "method",
            &[Form::Word(&[
                "backprop",
                "forward-difference",
                "central-difference",
                "forward-mode",
                "numeric-backprop",
                "node-perturbation",
                "spsa",
                "forward-gradient",
            ])],
            "backprop, numeric-backprop, forward-difference, central-difference, forward-mode, node-perturbation, spsa or forward-gradient",
        )
        .default("\"backprop\"")
        .set(
            "\"backprop\"",
            "backprop | numeric-backprop | forward-difference | central-difference\n| forward-mode | node-perturbation | spsa | forward-gradient",
        ),
        Key::new(
            "evaluation",
            &[Form::Word(&["incremental", "prefix", "full"])],
            "evaluation of perturbed losses, or of forward-mode's derivatives: incremental (default), prefix or full",
        )
        .when(EVALUATED)
        .default("\"incremental\"")
        .shown(
            "\"incremental\"",
            "differences, forward-mode: incremental | prefix | full",
        )
        .after_comment("Below, \"differences\" are forward-difference and central-difference."),
        Key::new(
            "arithmetic",
            &[Form::Word(&["plain", "cancellation-free"])],
            "arithmetic of differences and of node-perturbation: plain (default) or cancellation-free",
        )
        .when(WITHOUT_CANCELLATION)
        .default("\"plain\"")
        .shown(
            "\"plain\"",
            "differences, node-perturbation: plain | cancellation-free",
        ),
        Key::new(
            "summation",
            &[Form::Word(&["differences", "losses"])],
            "differences (of each sample's loss; default) or losses (of the mean losses)",
        )
        .when(DIFFERENCES)
        .default("\"differences\"")
        .shown(
            "\"differences\"",
            "differences: differences (of samples' losses) | losses (of mean losses)",
        ),
        Key::new(
            "increment",
            &[Form::Word(&["auto", "noise"]), POSITIVE],
            "auto (default), noise (from measured noise), or a number for every parameter",
        )
        .when(INCREMENTED)
        .default("\"auto\"")
        .shown(
            "\"auto\"",
            "differences: auto | noise | a number;\nspsa, node-perturbation, numeric-backprop: auto | a number",
        ),
        Key::new(
            "relative_increment",
            &[POSITIVE],
            "factor of max(1, the unit's largest |θ|), instead of `increment`",
        )
        .when(DIFFERENCES)
        .shown(
            "1e-6",
            "differences, instead of increment: factor of max(1, unit's largest |θ|)",
        ),
        Key::new(
            "extrapolation",
            &[Form::Word(&["none", "richardson"])],
            "none (default) or richardson (combines the quotients at h and h/2)",
        )
        .when(DIFFERENCES)
        .default("\"none\"")
        .shown("\"none\"", "differences: none | richardson"),
        Key::new(
            "directions",
            &[Form::Integer {
                least: 1,
                most: MOST_DIRECTIONS as i64,
            }],
            "number of random directions per step of spsa and forward-gradient; default 1",
        )
        .when(RANDOM)
        .default("1")
        .shown(
            "1",
            "spsa, forward-gradient: number of random directions per step",
        ),
        Key::new(
            "distribution",
            &[Form::Word(&["rademacher", "gaussian"])],
            "distribution of the directions' components: rademacher (±1, default) or gaussian",
        )
        .when(RANDOM)
        .default("\"rademacher\"")
        .shown(
            "\"rademacher\"",
            "spsa, forward-gradient: rademacher (±1) | gaussian",
        ),
        Key::new(
            "perturbed",
            &[Form::Word(&["weights", "activations"])],
            "what forward-gradient perturbs: weights (default), or every sample's activations",
        )
        .when(FORWARD_GRADIENT)
        .default("\"weights\"")
        .shown("\"weights\"", "forward-gradient: weights | activations"),
    ],
};
