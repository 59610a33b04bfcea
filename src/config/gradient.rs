//! `[gradient]`: which method, and what only a finite difference asks.

use super::diagnostic::Diagnostic;
use super::fields::Section;
use super::reader::Reader;
use super::schema;
use super::wording::describe_value;
use crate::gradient::GradientConfig;
use crate::gradient::difference::{
    Arithmetic, DifferenceConfig, Increment, Reuse, Scheme, Summation,
};

/// Keys that have no meaning with backprop.
const OF_DIFFERENCES: [&str; 6] = [
    "evaluation",
    "arithmetic",
    "summation",
    "increment",
    "relative_increment",
    "extrapolation",
];

/// Reads the section.
pub(super) fn read(reader: &Reader) -> GradientConfig {
    let section = reader.section(&schema::GRADIENT);
    let methods = [
        ("backprop", None),
        (Scheme::Forward.name(), Some(Scheme::Forward)),
        (Scheme::Central.name(), Some(Scheme::Central)),
    ];
    let method = section.word("method", &methods);
    let clash = |first, second, message: &str, help: &str| {
        reader.contradiction(("gradient", first), ("gradient", second), message, help);
    };
    let Some(scheme) = method else {
        for key in OF_DIFFERENCES {
            if section.field(key).is_some() {
                clash(
                    "method",
                    key,
                    &format!("`{key}` has no meaning with backprop"),
                    &format!(
                        "set method = \"forward-difference\" or \"central-difference\", or remove `{key}`"
                    ),
                );
            }
        }
        return GradientConfig::Backprop;
    };
    let config = DifferenceConfig {
        scheme,
        reuse: word(
            &section,
            "evaluation",
            [Reuse::Incremental, Reuse::Prefix, Reuse::Full].map(|reuse| (reuse.name(), reuse)),
        ),
        arithmetic: word(
            &section,
            "arithmetic",
            [Arithmetic::Plain, Arithmetic::CancellationFree].map(|kind| (kind.name(), kind)),
        ),
        summation: word(
            &section,
            "summation",
            [Summation::Differences, Summation::Losses].map(|kind| (kind.name(), kind)),
        ),
        increment: read_increment(&section),
        extrapolate: word(
            &section,
            "extrapolation",
            [("none", false), ("richardson", true)],
        ),
    };
    if section.field("increment").is_some() && section.field("relative_increment").is_some() {
        clash(
            "increment",
            "relative_increment",
            "`increment` and `relative_increment` both say how far to perturb",
            "keep one",
        );
    }
    if config.arithmetic == Arithmetic::CancellationFree && config.reuse != Reuse::Incremental {
        clash(
            "evaluation",
            "arithmetic",
            "cancellation-free arithmetic propagates differences, which whole passes do not have",
            "set evaluation = \"incremental\", or arithmetic = \"plain\"",
        );
    }
    if config.summation == Summation::Losses && config.reuse == Reuse::Incremental {
        clash(
            "evaluation",
            "summation",
            "incremental evaluation knows each sample's difference, never the mean of all losses",
            "set evaluation = \"full\" or \"prefix\", or summation = \"differences\"",
        );
    }
    GradientConfig::Difference(config)
}

/// One of some words, the first if the key is absent.
fn word<T: Copy, const N: usize>(
    section: &Section,
    name: &'static str,
    words: [(&'static str, T); N],
) -> T {
    section.optional_word(name, &words).unwrap_or(words[0].1)
}

fn read_increment(section: &Section) -> Increment {
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
        Some(_) => {
            let message = format!("unknown increment {}", describe_value(&field.item));
            let label = format!("allowed: {allowed}");
            let fault = Diagnostic::new(message, field.place.clone(), label);
            section.refuse(&field, fault).unwrap_or(Increment::Auto)
        }
        None => section
            .optional_number("increment", positive, allowed)
            .map_or(Increment::Auto, Increment::Absolute),
    }
}
