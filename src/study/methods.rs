//! The methods that studies compare, by name.
//!
//! A method is a gradient's config under a label: the config's own name for it, and after a slash
//! which of its ways, `forward-difference/incremental`. A new method is one line in [`all`].

use crate::error::{Error, Result};
use crate::gradient::GradientConfig;
use crate::gradient::backprop::NumericBackpropConfig;
use crate::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, NodePerturbationConfig, Reuse, Scheme,
};
use crate::gradient::random_direction::{
    DirectionsConfig, Distribution, ForwardGradientConfig, PerturbedQuantity, SpsaConfig,
};

/// A way to a gradient, and what it is called.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// `backprop`, `forward-difference/full`, ….
    pub label: String,
    /// How it is computed.
    pub gradient: GradientConfig,
}

impl Method {
    fn new(way: &str, gradient: GradientConfig) -> Self {
        let name = gradient.method();
        let label = if way.is_empty() {
            name.to_owned()
        } else {
            format!("{name}/{way}")
        };
        Self { label, gradient }
    }

    /// As configs spell it, its way left out.
    pub fn name(&self) -> &'static str {
        self.gradient.method()
    }

    /// What a perturbed loss uses again, if it is a finite difference.
    pub fn difference(&self) -> Option<&DifferenceConfig> {
        self.gradient.difference()
    }
}

/// Every method in every way, in the order in which studies take them: cheap ones first, so that an
/// interrupted study has what all others are compared with.
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
    for (way, reuse, arithmetic) in [
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
            methods.push(Method::new(way, GradientConfig::Difference(difference)));
        }
    }
    methods
}

/// The methods that `names` asks for, in the order of [`all`]: a name without a way is all its ways.
///
/// # Errors
/// A name that is none, with those that are.
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

/// The method that `name` asks for: of several ways the first, which is the config's default.
///
/// # Errors
/// A name that is none, with those that are.
pub fn one(name: &str) -> Result<Method> {
    let methods = all();
    let found = methods.iter().find(|method| is_called(method, name));
    found.cloned().ok_or_else(|| unknown(name, &methods))
}

fn is_called(method: &Method, name: &str) -> bool {
    method.label == name || method.name() == name
}

fn unknown(name: &str, methods: &[Method]) -> Error {
    let labels: Vec<&str> = methods.iter().map(|method| method.label.as_str()).collect();
    Error::Usage(format!(
        "`{name}` is no method; allowed: {}; without its way, a name stands for all of them",
        labels.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_its_way_is_all_ways_or_the_default() {
        let names = ["forward-difference".to_owned()];
        let selected = select(&names).unwrap();
        assert_eq!(selected.len(), 4);
        assert!(selected.iter().all(|method| method.name() == names[0]));
        let method = one("forward-difference").unwrap();
        assert_eq!(method.label, "forward-difference/incremental");
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_that_are_known() {
        for refused in [
            select(&["backprob".to_owned()]).unwrap_err(),
            one("backprob").unwrap_err(),
        ] {
            assert_eq!(refused.exit_code(), 2);
            let text = refused.to_string();
            assert!(text.contains("`backprob`") && text.contains("central-difference/full"));
        }
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
