//! The methods that studies compare, by name.
//!
//! A method is a gradient config with a label: its name in a config and, after a slash, its
//! variant, such as `forward-difference/incremental`. To add a method, add it to [`all`].

use crate::data::suggestions::nearest;
use crate::error::{Error, Result};
use crate::gradient::GradientConfig;
use crate::gradient::backprop::NumericBackpropConfig;
use crate::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, NodePerturbationConfig, Reuse, Scheme,
};
use crate::gradient::random_direction::{
    DirectionsConfig, Distribution, ForwardGradientConfig, MOST_DIRECTIONS, PerturbedQuantity,
    SpsaConfig,
};

/// A gradient method with its label.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// The label: `backprop`, `forward-difference/full`, ….
    pub label: String,
    /// The config of the gradient.
    pub gradient: GradientConfig,
}

impl Method {
    fn new(variant: &str, gradient: GradientConfig) -> Self {
        let name = gradient.method();
        let label = if variant.is_empty() {
            name.to_owned()
        } else {
            format!("{name}/{variant}")
        };
        Self { label, gradient }
    }

    /// Returns the name without the variant, spelled as in a config.
    pub fn name(&self) -> &'static str {
        self.gradient.method()
    }

    /// Returns the config of the finite difference, if the method is one.
    pub fn difference(&self) -> Option<&DifferenceConfig> {
        self.gradient.difference()
    }
}

/// Returns every variant of every method in the order of the studies: cheap ones first, so that an
/// interrupted study has the rows that the others are compared with.
pub fn all() -> Vec<Method> {
    let directions = DirectionsConfig {
        count: 1,
        distribution: Distribution::Rademacher,
    };
    let spsa = SpsaConfig {
        directions,
        increment: None,
    };
    let numeric = NumericBackpropConfig { increment: None };
    let units = NodePerturbationConfig {
        arithmetic: Arithmetic::Plain,
        increment: None,
    };
    let mut methods = vec![
        Method::new("", GradientConfig::Backprop),
        Method::new("", GradientConfig::NumericBackprop(numeric)),
        Method::new("", GradientConfig::NodePerturbation(units)),
        Method::new("", GradientConfig::Spsa(spsa)),
    ];
    for perturbed in [PerturbedQuantity::Weights, PerturbedQuantity::Activations] {
        let config = ForwardGradientConfig {
            directions,
            perturbed,
        };
        let gradient = GradientConfig::ForwardGradient(config);
        methods.push(Method::new(perturbed.name(), gradient));
    }
    for reuse in [Reuse::Incremental, Reuse::Full] {
        let gradient = GradientConfig::ForwardMode(reuse);
        methods.push(Method::new(reuse.name(), gradient));
    }
    for (variant, reuse, arithmetic) in [
        ("incremental", Reuse::Incremental, Arithmetic::Plain),
        (
            "cancellation-free",
            Reuse::Incremental,
            Arithmetic::CancellationFree,
        ),
        ("prefix", Reuse::Prefix, Arithmetic::Plain),
        ("full", Reuse::Full, Arithmetic::Plain),
    ] {
        for scheme in [Scheme::Forward, Scheme::Central] {
            let difference = DifferenceConfig {
                scheme,
                reuse,
                arithmetic,
                ..DifferenceConfig::TEXTBOOK
            };
            methods.push(Method::new(variant, GradientConfig::Difference(difference)));
        }
    }
    methods
}

/// Returns the methods given by `names`, in the order of [`all`]; a name without a variant selects
/// all variants.
///
/// # Errors
/// Returns an error with the allowed names if a name is unknown.
pub fn select(names: &[String]) -> Result<Vec<Method>> {
    let mut methods = all();
    for name in names {
        if !methods.iter().any(|method| is_called(method, name)) {
            return Err(unknown(name, &methods));
        }
    }
    methods.retain(|method| names.iter().any(|name| is_called(method, name)));
    Ok(methods)
}

/// Returns the method given by `name`; a name without a variant selects the first, which is the
/// config's default.
///
/// # Errors
/// Returns an error with the allowed names if the name is unknown.
pub fn by_name(name: &str) -> Result<Method> {
    let methods = all();
    let found = methods.iter().find(|method| is_called(method, name));
    found.cloned().ok_or_else(|| unknown(name, &methods))
}

/// Returns the method given by `name` as [`by_name`] does; `NAME:K` is the method with K random
/// directions.
///
/// # Errors
/// Returns an error if the name is unknown, if K is no number of directions, or if the method has no
/// random directions.
pub fn with_directions(name: &str) -> Result<Method> {
    let Some((name, count)) = name.split_once(':') else {
        return by_name(name);
    };
    let method = by_name(name)?;
    let refused = |problem: &str| Err(Error::Usage(format!("`{name}:{count}`: {problem}")));
    let allowed = 1..=MOST_DIRECTIONS;
    let Some(number) = count.parse().ok().filter(|number| allowed.contains(number)) else {
        return refused(&format!(
            "a number of random directions is expected after the colon; allowed: 1 to {MOST_DIRECTIONS}"
        ));
    };
    match method.gradient.with_directions(number) {
        Some(gradient) if number > 1 => Ok(Method {
            label: format!("{}:{number}", method.label),
            gradient,
        }),
        Some(_) => Ok(method),
        None => refused(
            "this method has no random directions; allowed: spsa:K, forward-gradient/weights:K, forward-gradient/activations:K",
        ),
    }
}

fn is_called(method: &Method, name: &str) -> bool {
    method.label == name || method.name() == name
}

fn unknown(name: &str, methods: &[Method]) -> Error {
    let labels: Vec<&str> = methods.iter().map(|method| method.label.as_str()).collect();
    let names = methods
        .iter()
        .flat_map(|method| [method.label.as_str(), method.name()]);
    let meant = nearest(name, names);
    let meant = meant.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"));
    Error::Usage(format!(
        "unknown method `{name}`{meant}; a bare name selects all its variants\n  allowed: {}",
        labels.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_its_variant_selects_all_variants_or_the_default() {
        let names = ["forward-difference".to_owned()];
        let selected = select(&names).unwrap();
        assert_eq!(selected.len(), 4);
        assert!(selected.iter().all(|method| method.name() == names[0]));
        let method = by_name("forward-difference").unwrap();
        assert_eq!(method.label, "forward-difference/incremental");
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_that_are_known() {
        for refused in [
            select(&["backprob".to_owned()]).unwrap_err(),
            by_name("backprob").unwrap_err(),
        ] {
            assert_eq!(refused.exit_code(), 2);
            let text = refused.to_string();
            assert!(text.starts_with("unknown method `backprob` (did you mean `backprop`?)"));
            assert!(text.contains("central-difference/full"));
        }
        let variant = by_name("forward-difference/ful").unwrap_err().to_string();
        assert!(variant.contains("(did you mean `forward-difference/full`?)"));
        let unlike = by_name("gradient").unwrap_err().to_string();
        assert!(!unlike.contains("did you mean"), "{unlike}");
    }

    #[test]
    fn no_two_methods_share_a_label() {
        let mut labels: Vec<String> = all().into_iter().map(|method| method.label).collect();
        let all = labels.len();
        labels.sort();
        labels.dedup();
        assert_eq!(labels.len(), all);
    }
}
