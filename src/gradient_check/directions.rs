//! A gradient checked along K random directions instead of N axes: the derivative v·∇L by two passes
//! against v·g.
//!
//! Directions are Gaussian, so an error e of the gradient shows along v as e·v, which is
//! N(0, ‖e‖²) whatever e is: a wrong element or a wrong layer are found alike. It is missed if
//! |e·v| stays within the tolerance τ, with round-off on its side within 2τ, along all K directions:
//!
//! ```text
//! P(missed) ≤ Π_k min(1, √(2/π)·2τ_k/‖e‖)
//! ```
//!
//! τ = truncation + 2·ε/d, with the derivatives L″ and L‴ along v (exact at θ, as means of absolute
//! values over the rows, doubled and grown by e^(h·|z′|) for the step's length) and ε of a pass that
//! rounds everything anew. h makes the two equal: h = 2√(ε/μ₂), or ∛(3·ε/μ₃).

use ndarray_rand::rand_distr::Distribution;

use super::directional_taylor::DirectionalTaylor;
use super::number_format::NumberFormat;
use super::{CheckSubject, ReferencePoint, converted};
use crate::data::{Batch, Samples};
use crate::gradient::finite_difference::Scheme;
use crate::gradient::finite_difference::directional::directional;
use crate::gradient::finite_difference::increment::power_of_two;
use crate::gradient::{Control, Stopped};
use crate::model::Parameters;
use crate::numeric::random::{Gaussian, Purpose, stream};
use crate::numeric::{Precision, Real};

/// What K directions told.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectionsResult {
    /// What found the derivatives, as configs spell it.
    pub by: &'static str,
    /// What it computed in.
    pub precision: Precision,
    /// h, where losses were compared.
    pub increment: Option<f64>,
    /// ‖g‖₂.
    pub norm: f64,
    /// One probe a direction.
    pub probes: Vec<DirectionCheck>,
}

/// One direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DirectionCheck {
    /// v·g, by backprop.
    pub exact: f64,
    /// The derivative along v, as it was found.
    pub found: f64,
    /// τ.
    pub allowed: f64,
}

impl DirectionsResult {
    /// Whether every direction is within its tolerance.
    pub fn passed(&self) -> bool {
        let within = |probe: &DirectionCheck| (probe.found - probe.exact).abs() <= probe.allowed;
        self.probes.iter().all(within)
    }

    /// √(Σ (found − v·g)²/K)/‖g‖: of an error of the gradient alone, ‖e‖/‖g‖ on average.
    pub fn relative_error(&self) -> f64 {
        self.relative(|probe| probe.found - probe.exact)
    }

    /// The same of the tolerances.
    pub fn allowed(&self) -> f64 {
        self.relative(|probe| probe.allowed)
    }

    /// The probability that a gradient with an error of `relative_error`·‖g‖ passes, along Gaussian
    /// directions: an upper bound.
    pub fn missed(&self, relative_error: f64) -> f64 {
        let size = relative_error * self.norm;
        let each = |probe: &DirectionCheck| {
            let within = (2.0 / std::f64::consts::PI).sqrt() * 2.0 * probe.allowed / size;
            within.min(1.0)
        };
        self.probes.iter().map(each).product()
    }

    fn relative(&self, of: impl Fn(&DirectionCheck) -> f64) -> f64 {
        let squares: f64 = self.probes.iter().map(|probe| of(probe).powi(2)).sum();
        let mean = squares / self.probes.len() as f64;
        if mean == 0.0 {
            0.0
        } else {
            mean.sqrt() / self.norm
        }
    }
}

impl CheckSubject<'_> {
    /// The exact gradient against differences of `scheme` in `precision`, along `count` directions
    /// drawn from `seed`: 2 evaluations each.
    ///
    /// # Errors
    /// [`Stopped::Interrupted`] if `control` asked for it.
    pub fn directions(
        &self,
        scheme: Scheme,
        precision: Precision,
        count: usize,
        seed: u64,
        control: &Control,
    ) -> Result<DirectionsResult, Stopped> {
        let gradient = match precision {
            Precision::F32 => &self.rounded.gradient,
            Precision::F64 => &self.exact.gradient,
        };
        self.directions_of(gradient, scheme, precision, count, seed, control)
    }

    /// The same for a gradient that may be wrong.
    ///
    /// # Errors
    /// [`Stopped::Interrupted`] if `control` asked for it.
    pub fn directions_of(
        &self,
        gradient: &Parameters<f64>,
        scheme: Scheme,
        precision: Precision,
        count: usize,
        seed: u64,
        control: &Control,
    ) -> Result<DirectionsResult, Stopped> {
        match precision {
            Precision::F32 => {
                let plan = (&self.single, &*self.rounded);
                self.probe(gradient, scheme, plan, count, seed, control)
            }
            Precision::F64 => {
                let plan = (&self.double, &*self.exact);
                self.probe(gradient, scheme, plan, count, seed, control)
            }
        }
    }

    fn probe<R: Real>(
        &self,
        gradient: &Parameters<f64>,
        scheme: Scheme,
        (samples, point): (&Samples<R>, &ReferencePoint<'_>),
        count: usize,
        seed: u64,
        control: &Control,
    ) -> Result<DirectionsResult, Stopped> {
        let layout = &self.network.layout;
        let mut random = stream(seed, Purpose::Directions);
        let directions: Vec<Parameters<f64>> = (0..count)
            .map(|_| {
                let numbers = (0..layout.len()).map(|_| Gaussian.sample(&mut random));
                Parameters::from_flat(std::sync::Arc::clone(layout), numbers.collect())
            })
            .collect();
        let along = self
            .team
            .map(count, |k| point.tolerance.along(&directions[k]));
        let noise = R::UNIT_ROUNDOFF * point.tolerance.noise_of_a_pass();
        let h = increment::<R>(scheme, noise, &along);
        // Errors of g, and of what the losses' own z and a make of it.
        let mut bounds = point.tolerance.backprop(NumberFormat::of(R::PRECISION));
        for (bound, own) in bounds.iter_mut().zip(&point.own) {
            *bound += own;
        }
        let mut penalties = vec![0.0; layout.len()];
        for index in (0..layout.layers()).flat_map(|layer| layout.weights(layer)) {
            penalties[index] = self.network.l2 * point.theta.flat()[index];
        }
        let theta = converted::<f64, R>(&point.theta);
        let probes = self.team.map(count, |k| {
            let batch = Batch {
                samples,
                rows: self.rows,
            };
            let direction = directions[k].flat();
            let found = directional(
                self.network,
                self.isa,
                &theta,
                batch,
                direction,
                h,
                scheme,
                control,
            )?;
            // The direction as it was stepped, and the loss without its l2 term.
            let mut exact = 0.0;
            let mut own: f64 = 0.0;
            for (index, (step, bound)) in found.stepped.iter().zip(&bounds).enumerate() {
                exact += (gradient.flat()[index] - penalties[index]) * step;
                // Squares of a saturated network's bounds underflow.
                own = own.hypot(bound * step);
            }
            Ok(DirectionCheck {
                exact,
                found: found.derivative,
                allowed: tolerance(scheme, h, noise, &along[k]) + 4.0 * own,
            })
        });
        Ok(DirectionsResult {
            by: scheme.name(),
            precision: R::PRECISION,
            increment: Some(h),
            norm: gradient.flat().iter().map(|g| g * g).sum::<f64>().sqrt(),
            probes: probes.into_iter().collect::<Result<_, Stopped>>()?,
        })
    }
}

/// One h for all directions: a power of two between u and 1/8 of the fastest unit's scale.
fn increment<R: Real>(scheme: Scheme, noise: f64, along: &[DirectionalTaylor]) -> f64 {
    let mean =
        |of: fn(&DirectionalTaylor) -> f64| along.iter().map(of).sum::<f64>() / along.len() as f64;
    let (second, third) = (mean(|along| along.second), mean(|along| along.third));
    let fastest = along
        .iter()
        .fold(1.0, |most: f64, along| most.max(along.fastest));
    let best = match scheme {
        Scheme::Forward => 2.0 * (noise / second).sqrt(),
        Scheme::Central => (3.0 * noise / third).cbrt(),
    };
    // A loss without curvature leaves the choice to the step's length.
    let longest = 0.125 / fastest;
    power_of_two(best.min(longest).max(R::UNIT_ROUNDOFF))
}

fn tolerance(scheme: Scheme, h: f64, noise: f64, along: &DirectionalTaylor) -> f64 {
    let growth = 2.0 * (3.0 * h * along.fastest).exp();
    match scheme {
        Scheme::Forward => {
            let left_out = along.second * h / 2.0 + along.third * h * h / 6.0;
            growth * left_out + 2.0 * noise / h
        }
        Scheme::Central => {
            let left_out = along.third * h * h / 6.0 + along.second * h.powi(3) / 24.0;
            growth * left_out + noise / h
        }
    }
}
