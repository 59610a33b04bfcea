//! The perturbations that the incremental engine propagates to the loss.
//!
//! - A finite difference perturbs each parameter by h, and divides the change of the loss by h.
//! - Forward mode is its limit h → 0: the same stages propagate rates of change, which gives a
//!   Jacobian-vector product along each axis of θ, without increment, truncation or cancellation.
//! - Node perturbation perturbs the pre-activation of each of the U units, in every sample
//!   separately: U quotients δ̂ = ΔL/h per sample, which give the gradient of all weights,
//!   Σ δ̂·aᵀ. So a unit's inputs are differentiated analytically, everything above the unit
//!   numerically. The l2 term does not depend on pre-activations; its derivative λ'w is added
//!   exactly.

use super::quotient::Scheme;
use super::{Arithmetic, DifferenceConfig};
use crate::kernels::divided_difference::formulas::{LossForm, Propagation};
use crate::model::Layout;
use crate::numeric::Real;
use crate::numeric::tally::Tally;

/// The options of `method = "node-perturbation"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodePerturbationConfig {
    /// The arithmetic of a difference of losses.
    pub arithmetic: Arithmetic,
    /// h; `None`: the `auto` increment of a forward difference.
    pub increment: Option<f64>,
}

impl NodePerturbationConfig {
    /// Returns the config of the equivalent forward difference of each unit's bias.
    pub fn difference(&self) -> DifferenceConfig {
        DifferenceConfig::forward(self.arithmetic, self.increment)
    }
}

/// The kind of perturbation that is propagated to the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Perturbation {
    /// A perturbation of each parameter by h.
    Difference(DifferenceConfig),
    /// A rate of change of each parameter.
    Tangent,
    /// A perturbation of each unit's pre-activation by h.
    Unit(NodePerturbationConfig),
}

impl Perturbation {
    /// Returns the config of the finite difference; `None` for rates of change.
    pub fn difference(&self) -> Option<DifferenceConfig> {
        match self {
            Self::Difference(config) => Some(*config),
            Self::Unit(config) => Some(config.difference()),
            Self::Tangent => None,
        }
    }

    /// Returns whether units are perturbed, once per row, instead of parameters.
    pub fn perturbs_units(&self) -> bool {
        matches!(self, Self::Unit(_))
    }

    /// Returns the quantities that are propagated to the loss, and the points that are compared.
    pub fn form(&self) -> LossForm {
        LossForm {
            propagation: match self.difference().map(|config| config.arithmetic) {
                Some(Arithmetic::Plain) => Propagation::Values,
                Some(Arithmetic::CancellationFree) => Propagation::Changes,
                None => Propagation::Rates,
            },
            central: self.scheme() == Scheme::Central,
        }
    }

    /// Returns the form in which the l2 term is differentiated.
    pub fn penalty_propagation(&self) -> Propagation {
        if self.perturbs_units() {
            Propagation::Rates
        } else {
            self.form().propagation
        }
    }

    /// Returns the scheme; that of a rate of change is `Forward`.
    pub fn scheme(&self) -> Scheme {
        self.difference()
            .map_or(Scheme::Forward, |config| config.scheme)
    }

    /// Returns whether a unit's h depends on its θ.
    pub fn depends_on_theta(&self) -> bool {
        self.difference()
            .is_some_and(|config| config.increment.depends_on_theta(config.arithmetic))
    }

    /// Returns h of a unit whose largest |θ| is `largest`; 1 for rates of change. `measured` is the
    /// measured relative increment of [`super::Increment::Noise`].
    pub fn unit_increment<R: Real>(&self, largest: f64, measured: f64) -> R {
        match self.difference() {
            Some(config) => {
                let (scheme, arithmetic) = (config.scheme, config.arithmetic);
                (config.increment).for_unit(scheme, arithmetic, largest, measured)
            }
            None => R::ONE,
        }
    }

    /// Returns the evaluations and Jacobian-vector products of a gradient: N + 1 or 2N evaluations
    /// of a difference, 1 evaluation and N products of forward mode, U + 1 evaluations of node
    /// perturbation.
    pub fn evaluations(&self, layout: &Layout) -> Tally {
        let parameters = layout.len() as u64;
        let (evaluations, jacobian_vector_products) = match self {
            Self::Difference(config) => (config.scheme.evaluations(parameters), 0),
            Self::Tangent => (1, parameters),
            Self::Unit(_) => {
                let units: usize = layout.sizes()[1..].iter().sum();
                (Scheme::Forward.evaluations(units as u64), 0)
            }
        };
        Tally {
            evaluations,
            jacobian_vector_products,
            ..Tally::NONE
        }
    }
}
