//! The `[gradient]` section: reads the gradient method and the keys that only some methods have.

use super::diagnostic::Diagnostic;
use super::fields::{FieldValue, SectionReader};
use super::keys;
use super::messages::describe_value;
use super::reader::Reader;
use super::sections::to_size;
use crate::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, NodePerturbationConfig, Reuse, Scheme, Summation,
};
use crate::gradient::random_direction::{
    DirectionsConfig, Distribution, ForwardGradientConfig, PerturbedQuantity, SpsaConfig,
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

/// What is read from a section whose method was refused.
const PLACEHOLDER: GradientConfig = GradientConfig::Backprop;

/// Reads the section.
pub(super) fn read(reader: &Reader) -> GradientConfig {
    let section = reader.section(&keys::GRADIENT);
    let Some(method) = section.known_word("method", &METHODS) else {
        // Which keys an unknown method has is not known.
        return PLACEHOLDER;
    };
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
            perturbed: section.word(
                "perturbed",
                &[PerturbedQuantity::Weights, PerturbedQuantity::Activations]
                    .map(|kind| (kind.name(), kind)),
            ),
        }),
    }
}

/// Refuses the keys that do not apply to `method`, and names the methods that have them.
fn refuse_meaningless(reader: &Reader, section: &SectionReader, method: MethodName) {
    let named = METHODS.iter().find(|(_, known)| *known == method);
    let named = named.map_or("", |(name, _)| name);
    for key in keys::GRADIENT.keys {
        if key.applies_with(keys::METHOD, named) || section.field(key.name).is_none() {
            continue;
        }
        let methods = key.applicable(keys::METHOD).unwrap_or(&[]).iter();
        let methods: Vec<String> = methods.map(|name| format!("\"{name}\"")).collect();
        let key = key.name;
        reader.refuse_conflict(
            keys::METHOD,
            ("gradient", key),
            &format!("`{key}` has no meaning with {named}"),
            &format!("set method = {}, or remove `{key}`", methods.join(" or ")),
        );
    }
}

/// Reads the number of random directions and the distribution of their components.
fn read_directions(section: &SectionReader) -> DirectionsConfig {
    DirectionsConfig {
        count: to_size(section.integer("directions")),
        distribution: section.word(
            "distribution",
            &[Distribution::Rademacher, Distribution::Gaussian].map(|kind| (kind.name(), kind)),
        ),
    }
}

/// Reads one `increment` for all parameters: a number, or `None` for `"auto"`. Increments from
/// measured noise are for differences only.
fn read_number_or_auto(section: &SectionReader) -> Option<f64> {
    let allowed = "\"auto\", or a number above 0";
    let field = section.field("increment")?;
    match field.item.as_str() {
        Some("auto") => None,
        Some(_) => refuse_increment(section, &field, allowed),
        None => section.to_number(&field, allowed),
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
        summation: section.word(
            "summation",
            &[Summation::Differences, Summation::Losses].map(|kind| (kind.name(), kind)),
        ),
        increment: read_increment(section),
        extrapolate: section.word("extrapolation", &[("none", false), ("richardson", true)]),
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
    section.word("evaluation", &all.map(|reuse| (reuse.name(), reuse)))
}

fn read_arithmetic(section: &SectionReader) -> Arithmetic {
    let all = [Arithmetic::Plain, Arithmetic::CancellationFree];
    section.word("arithmetic", &all.map(|kind| (kind.name(), kind)))
}

fn read_increment(section: &SectionReader) -> Increment {
    if let Some(number) = section.optional_number("relative_increment") {
        return Increment::Relative(number);
    }
    let Some(field) = section.field("increment") else {
        return Increment::Auto;
    };
    let allowed = section.key("increment").allowed();
    let increment = match field.item.as_str() {
        Some("auto") => Some(Increment::Auto),
        Some("noise") => Some(Increment::Noise),
        Some(_) => refuse_increment(section, &field, &allowed),
        None => section.to_number(&field, &allowed).map(Increment::Absolute),
    };
    increment.unwrap_or(Increment::Auto)
}
