//! What an incremental walk sends from a parameter, or from a unit, to the loss.
//!
//! - A finite difference perturbs each parameter by h and divides what the loss makes of it by h.
//! - Its limit h → 0 carries rates of change instead, by the same stages: forward mode, a
//!   Jacobian-vector product along each axis of θ. It has no increment, no truncation and no
//!   cancellation.
//! - Node perturbation perturbs each unit's pre-activation, in every sample on its own: U quotients
//!   δ̂ = ΔL/h a sample, from which all weights follow, ∂Ŵ = Σ δ̂·aᵀ. The unit's own inputs are taken
//!   analytically, everything above it numerically. No pre-activation feels l2, whose derivative λ'w
//!   is added exactly.

use super::quotient::Scheme;
use super::{Arithmetic, DifferenceConfig};
use crate::kernels::divided_difference::formulas::{LossForm, Propagation};
use crate::model::Layout;
use crate::numeric::Real;
use crate::numeric::tally::Tally;

/// `method = "node-perturbation"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodePerturbationConfig {
    /// How a difference of losses is computed.
    pub arithmetic: Arithmetic,
    /// h; `None`: as a forward difference chooses it for the unit.
    pub increment: Option<f64>,
}

impl NodePerturbationConfig {
    /// The forward difference that each unit's bias would have.
    pub fn difference(&self) -> DifferenceConfig {
        DifferenceConfig::forward(self.arithmetic, self.increment)
    }
}

/// What is followed to the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Perturbation {
    /// From each parameter a perturbation, whose change of the loss is divided by h.
    Difference(DifferenceConfig),
    /// From each parameter a rate of change.
    Tangent,
    /// From each unit a perturbation.
    Unit(NodePerturbationConfig),
}

impl Perturbation {
    /// The difference that is taken, if one is.
    pub fn difference(&self) -> Option<DifferenceConfig> {
        match self {
            Self::Difference(config) => Some(*config),
            Self::Unit(config) => Some(config.difference()),
            Self::Tangent => None,
        }
    }

    /// Whether a unit is perturbed once a row, whatever its inputs are.
    pub fn is_of_units(&self) -> bool {
        matches!(self, Self::Unit(_))
    }

    /// What the stages of a tail carry.
    pub fn form(&self) -> LossForm {
        LossForm {
            carried: match self.difference().map(|config| config.arithmetic) {
                Some(Arithmetic::Plain) => Propagation::Values,
                Some(Arithmetic::CancellationFree) => Propagation::Changes,
                None => Propagation::Rates,
            },
            central: self.scheme() == Scheme::Central,
        }
    }

    /// What the derivative of the l2 term is found from.
    pub fn penalty(&self) -> Propagation {
        if self.is_of_units() {
            Propagation::Rates
        } else {
            self.form().carried
        }
    }

    /// One-sided or two-sided; a rate of change has one side.
    pub fn scheme(&self) -> Scheme {
        self.difference()
            .map_or(Scheme::Forward, |config| config.scheme)
    }

    /// Whether a unit's h depends on its θ.
    pub fn follows_theta(&self) -> bool {
        self.difference()
            .is_some_and(|config| config.increment.follows_theta(config.arithmetic))
    }

    /// h of a unit whose largest |θ| is `largest`, as [`super::Increment::of_unit`] has it; a rate is per 1.
    pub fn of_unit<R: Real>(&self, largest: f64, measured: f64) -> R {
        match self.difference() {
            Some(config) => {
                let (scheme, arithmetic) = (config.scheme, config.arithmetic);
                (config.increment).of_unit(scheme, arithmetic, largest, measured)
            }
            None => R::ONE,
        }
    }

    /// Losses evaluated, and derivatives along a direction, of a gradient: N, N + 1 or 2N of them, or
    /// U + 1 where one perturbation of a unit in all samples serves its weights.
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
