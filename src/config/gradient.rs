//! The `[gradient]` section: reads the gradient method and the keys that only some methods have.

use super::diagnostic::Diagnostic;
use super::fields::{FieldValue, SectionReader};
use super::keys;
use super::messages::describe_value;
use super::reader::Reader;
use crate::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, NodePerturbationConfig, Reuse, Scheme, Summation,
};
use crate::gradient::random_direction::{
    DirectionsConfig, Distribution, ForwardGradientConfig, MOST_DIRECTIONS, PerturbedQuantity,
    SpsaConfig,
};
use crate::gradient::{GradientConfig, NumericBackpropConfig};

/// A gradient method, before its keys are read.
#[derive(Clone, Copy, PartialEq)]
enum MethodName {
    Backprop,
    NumericBackprop,
    Difference(Scheme),
    ForwardMode,
    NodePerturbation,
    Spsa,
    ForwardGradient,
}

const METHODS: [(&str, MethodName); 8] = [
    ("backprop", MethodName::Backprop),
    (
        "forward-difference",
        MethodName::Difference(Scheme::Forward),
    ),
    (
        "central-difference",
        MethodName::Difference(Scheme::Central),
    ),
    ("forward-mode", MethodName::ForwardMode),
    ("numeric-backprop", MethodName::NumericBackprop),
    ("node-perturbation", MethodName::NodePerturbation),
    ("spsa", MethodName::Spsa),
    ("forward-gradient", MethodName::ForwardGradient),
];

impl MethodName {
    /// Returns the keys that apply to the method, without `method` itself.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Backprop => &[],
            Self::NumericBackprop => &["increment"],
            Self::ForwardMode => &["evaluation"],
            Self::NodePerturbation => &["arithmetic", "increment"],
            Self::Difference(_) => &[
                "evaluation",
                "arithmetic",
                "summation",
                "increment",
                "relative_increment",
                "extrapolation",
            ],
            Self::Spsa => &["increment", "directions", "distribution"],
            Self::ForwardGradient => &["directions", "distribution", "perturbed"],
        }
    }
}

/// Reads the section.
pub(super) fn read(reader: &Reader) -> GradientConfig {
    let section = reader.section(&keys::GRADIENT);
    let method = section.word("method", &METHODS);
    refuse_meaningless(reader, &section, method);
    match method {
        MethodName::Backprop => GradientConfig::Backprop,
        MethodName::Difference(scheme) => {
            GradientConfig::Difference(read_difference(reader, &section, scheme))
        }
        MethodName::NumericBackprop => GradientConfig::NumericBackprop(NumericBackpropConfig {
            increment: read_number_or_auto(&section),
        }),
        MethodName::ForwardMode => GradientConfig::ForwardMode(read_reuse(&section)),
        MethodName::NodePerturbation => GradientConfig::NodePerturbation(NodePerturbationConfig {
            arithmetic: read_arithmetic(&section),
            increment: read_number_or_auto(&section),
        }),
        MethodName::Spsa => GradientConfig::Spsa(SpsaConfig {
            directions: read_directions(&section),
            increment: read_number_or_auto(&section),
        }),
        MethodName::ForwardGradient => GradientConfig::ForwardGradient(ForwardGradientConfig {
            directions: read_directions(&section),
            perturbed: word(
                &section,
                "perturbed",
                [PerturbedQuantity::Weights, PerturbedQuantity::Activations]
                    .map(|kind| (kind.name(), kind)),
            ),
        }),
    }
}

/// Refuses the keys that do not apply to `method`, and names the methods that have them.
fn refuse_meaningless(reader: &Reader, section: &SectionReader, method: MethodName) {
    let named = |wanted: MethodName| {
        let found = METHODS.iter().find(|(_, method)| *method == wanted);
        found.map_or("", |(name, _)| name)
    };
    for key in keys::GRADIENT.keys.iter().map(|key| key.name) {
        if key == "method" || method.keys().contains(&key) || section.field(key).is_none() {
            continue;
        }
        let methods: Vec<String> = METHODS
            .iter()
            .filter(|(_, method)| method.keys().contains(&key))
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        reader.refuse_conflict(
            ("gradient", "method"),
            ("gradient", key),
            &format!("`{key}` has no meaning with {}", named(method)),
            &format!("set method = {}, or remove `{key}`", methods.join(" or ")),
        );
    }
}

/// Reads the number of random directions and the distribution of their components.
fn read_directions(section: &SectionReader) -> DirectionsConfig {
    let count = section.optional_integer("directions", 1..=MOST_DIRECTIONS as i64);
    DirectionsConfig {
        count: count.map_or(1, |count| count as usize),
        distribution: word(
            section,
            "distribution",
            [Distribution::Rademacher, Distribution::Gaussian].map(|kind| (kind.name(), kind)),
        ),
    }
}

/// Reads one `increment` for all parameters: a number, or `None` for `"auto"`.
fn read_number_or_auto(section: &SectionReader) -> Option<f64> {
    let allowed = "\"auto\", or a number above 0";
    let field = section.field("increment")?;
    match field.item.as_str() {
        Some("auto") => None,
        Some(_) => refuse_increment(section, &field, allowed),
        None => section.optional_number("increment", |number| number > 0.0, allowed),
    }
}

/// Records a word that `increment` does not allow.
fn refuse_increment<T>(section: &SectionReader, field: &FieldValue, allowed: &str) -> Option<T> {
    let message = format!("unknown increment {}", describe_value(&field.item));
    let label = format!("allowed: {allowed}");
    section.refuse(field, Diagnostic::new(message, field.place.clone(), label))
}

fn read_difference(reader: &Reader, section: &SectionReader, scheme: Scheme) -> DifferenceConfig {
    let refuse_conflict = |first, second, message: &str, help: &str| {
        reader.refuse_conflict(("gradient", first), ("gradient", second), message, help);
    };
    let config = DifferenceConfig {
        scheme,
        reuse: read_reuse(section),
        arithmetic: read_arithmetic(section),
        summation: word(
            section,
            "summation",
            [Summation::Differences, Summation::Losses].map(|kind| (kind.name(), kind)),
        ),
        increment: read_increment(section),
        extrapolate: word(
            section,
            "extrapolation",
            [("none", false), ("richardson", true)],
        ),
    };
    if section.field("increment").is_some() && section.field("relative_increment").is_some() {
        refuse_conflict(
            "increment",
            "relative_increment",
            "`increment` and `relative_increment` both set the increment",
            "keep one of them",
        );
    }
    if config.arithmetic == Arithmetic::CancellationFree && config.reuse != Reuse::Incremental {
        refuse_conflict(
            "evaluation",
            "arithmetic",
            "cancellation-free arithmetic propagates differences, which only incremental evaluation has",
            "set evaluation = \"incremental\", or arithmetic = \"plain\"",
        );
    }
    if config.summation == Summation::Losses && config.reuse == Reuse::Incremental {
        refuse_conflict(
            "evaluation",
            "summation",
            "incremental evaluation has each sample's difference, not the mean of all losses",
            "set evaluation = \"full\" or \"prefix\", or summation = \"differences\"",
        );
    }
    config
}

fn read_reuse(section: &SectionReader) -> Reuse {
    let all = [Reuse::Incremental, Reuse::Prefix, Reuse::Full];
    word(
        section,
        "evaluation",
        all.map(|reuse| (reuse.name(), reuse)),
    )
}

fn read_arithmetic(section: &SectionReader) -> Arithmetic {
    let all = [Arithmetic::Plain, Arithmetic::CancellationFree];
    word(section, "arithmetic", all.map(|kind| (kind.name(), kind)))
}

/// Reads one of `words`; returns the first if the key is absent.
fn word<T: Copy, const N: usize>(
    section: &SectionReader,
    name: &'static str,
    words: [(&'static str, T); N],
) -> T {
    section.optional_word(name, &words).unwrap_or(words[0].1)
}

fn read_increment(section: &SectionReader) -> Increment {
    let positive = |number: f64| number > 0.0;
    if let Some(number) =
        section.optional_number("relative_increment", positive, "a number above 0")
    {
        return Increment::Relative(number);
    }
    let Some(field) = section.field("increment") else {
        return Increment::Auto;
    };
    let allowed = "\"auto\", \"noise\", or a number above 0";
    match field.item.as_str() {
        Some("auto") => Increment::Auto,
        Some("noise") => Increment::Noise,
        Some(_) => refuse_increment(section, &field, allowed).unwrap_or(Increment::Auto),
        None => section
            .optional_number("increment", positive, allowed)
            .map_or(Increment::Auto, Increment::Absolute),
    }
}
