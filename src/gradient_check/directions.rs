//! Checks a gradient along K random directions instead of N axes: the derivative v·∇L by two passes
//! is compared with v·g.
//!
//! The directions are Gaussian, so an error e of the gradient appears along v as e·v, distributed
//! as N(0, ‖e‖²) for any e: a wrong element is detected as well as a wrong layer. The error is
//! missed if
//! |e·v| stays within the tolerance τ (within 2τ if round-off is opposite to it) along all K
//! directions:
//!
//! ```text
//! P(missed) ≤ Π_k min(1, √(2/π)·2τ_k/‖e‖)
//! ```
//!
//! τ = truncation + 2·ε/d + the error of v·g. The truncation uses the derivatives L″ and L‴ along
//! v: means over the rows of their absolute values, exact at θ, and multiplied by 2·e^(3h·|z′|) to
//! cover the whole increment. ε is the round-off of a pass with every parameter perturbed. The
//! increment minimizes truncation plus noise: h = 2√(ε/μ₂) for forward, ∛(3·ε/μ₃) for central
//! differences.

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

/// The result of a check along K directions.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectionsResult {
    /// The scheme or method that computed the derivatives, spelled as in a config.
    pub method: &'static str,
    /// The precision of that method.
    pub precision: Precision,
    /// h, if the method is a difference.
    pub increment: Option<f64>,
    /// ‖g‖₂.
    pub norm: f64,
    /// The check of each direction.
    pub checks: Vec<DirectionCheck>,
}

/// The check along one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DirectionCheck {
    /// v·g, by backprop.
    pub exact: f64,
    /// The derivative along v, as computed by the checked method.
    pub found: f64,
    /// The tolerance τ.
    pub allowed: f64,
}

impl DirectionsResult {
    /// Returns whether every direction is within its tolerance.
    pub fn passed(&self) -> bool {
        let within = |check: &DirectionCheck| (check.found - check.exact).abs() <= check.allowed;
        self.checks.iter().all(within)
    }

    /// Returns √(Σ (found − v·g)²/K)/‖g‖, which estimates ‖e‖/‖g‖ if the gradient's error e
    /// dominates.
    pub fn relative_error(&self) -> f64 {
        self.relative(|check| check.found - check.exact)
    }

    /// Returns √(Σ τ²/K)/‖g‖, the relative error that the tolerances allow.
    pub fn allowed(&self) -> f64 {
        self.relative(|check| check.allowed)
    }

    /// Bounds the probability that a gradient with an error of `relative_error`·‖g‖ passes along
    /// Gaussian directions.
    pub fn miss_probability(&self, relative_error: f64) -> f64 {
        let size = relative_error * self.norm;
        let miss_bound = |check: &DirectionCheck| {
            let within = (2.0 / std::f64::consts::PI).sqrt() * 2.0 * check.allowed / size;
            within.min(1.0)
        };
        self.checks.iter().map(miss_bound).product()
    }

    fn relative(&self, of: impl Fn(&DirectionCheck) -> f64) -> f64 {
        let squares: f64 = self.checks.iter().map(|check| of(check).powi(2)).sum();
        let mean = squares / self.checks.len() as f64;
        if mean == 0.0 {
            0.0
        } else {
            mean.sqrt() / self.norm
        }
    }
}

impl CheckSubject<'_> {
    /// Checks the exact gradient with differences of `scheme` in `precision` along `count`
    /// directions drawn from `seed`.
    ///
    /// Cost: 2 evaluations per direction.
    ///
    /// # Errors
    /// Returns [`Stopped::Interrupted`] if `control` requested a stop.
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

    /// Checks `gradient`, which may be wrong, as [`CheckSubject::directions`] checks the exact one.
    ///
    /// # Errors
    /// Returns [`Stopped::Interrupted`] if `control` requested a stop.
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
                let reference = (&self.single, &*self.rounded);
                self.check_directions(gradient, scheme, reference, count, seed, control)
            }
            Precision::F64 => {
                let reference = (&self.double, &*self.exact);
                self.check_directions(gradient, scheme, reference, count, seed, control)
            }
        }
    }

    fn check_directions<R: Real>(
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
        let taylors = self
            .workers
            .map(count, |k| point.bounds.directional_taylor(&directions[k]));
        let noise = R::UNIT_ROUNDOFF * point.bounds.whole_pass_roundoff();
        let h = increment::<R>(scheme, noise, &taylors);
        // Errors of g, and of the z and a from which the losses are computed.
        let mut bounds = point.bounds.backprop(NumberFormat::of(R::PRECISION));
        for (bound, error) in bounds.iter_mut().zip(&point.reference_error) {
            *bound += error;
        }
        let mut penalties = vec![0.0; layout.len()];
        for index in (0..layout.layers()).flat_map(|layer| layout.weights(layer)) {
            penalties[index] = self.network.l2 * point.theta.flat()[index];
        }
        let theta = converted::<f64, R>(&point.theta);
        let checks = self.workers.map(count, |k| {
            let batch = Batch {
                samples,
                rows: self.rows,
            };
            let direction = directions[k].flat();
            let difference = directional(
                self.network,
                self.isa,
                &theta,
                batch,
                direction,
                h,
                scheme,
                control,
            )?;
            // The direction after rounding, and the loss without its l2 term.
            let mut exact = 0.0;
            let mut gradient_roundoff: f64 = 0.0;
            for (index, (step, bound)) in
                difference.rounded_direction.iter().zip(&bounds).enumerate()
            {
                exact += (gradient.flat()[index] - penalties[index]) * step;
                // `hypot`, because squares of a saturated network's bounds underflow.
                gradient_roundoff = gradient_roundoff.hypot(bound * step);
            }
            Ok(DirectionCheck {
                exact,
                found: difference.derivative,
                allowed: tolerance(scheme, h, noise, &taylors[k]) + 4.0 * gradient_roundoff,
            })
        });
        Ok(DirectionsResult {
            method: scheme.name(),
            precision: R::PRECISION,
            increment: Some(h),
            norm: gradient.flat().iter().map(|g| g * g).sum::<f64>().sqrt(),
            checks: checks.into_iter().collect::<Result<_, Stopped>>()?,
        })
    }
}

/// Chooses one h for all directions: a power of two from u to 1/8 of the scale of the unit with the
/// largest |z′|.
fn increment<R: Real>(scheme: Scheme, noise: f64, taylors: &[DirectionalTaylor]) -> f64 {
    let mean = |of: fn(&DirectionalTaylor) -> f64| {
        taylors.iter().map(of).sum::<f64>() / taylors.len() as f64
    };
    let (second, third) = (mean(|taylor| taylor.second), mean(|taylor| taylor.third));
    let fastest = taylors
        .iter()
        .fold(1.0, |most: f64, taylor| most.max(taylor.fastest));
    let best = match scheme {
        Scheme::Forward => 2.0 * (noise / second).sqrt(),
        Scheme::Central => (3.0 * noise / third).cbrt(),
    };
    // Without curvature the optimum is infinite, and the longest increment applies.
    let longest = 0.125 / fastest;
    power_of_two(best.min(longest).max(R::UNIT_ROUNDOFF))
}

fn tolerance(scheme: Scheme, h: f64, noise: f64, taylor: &DirectionalTaylor) -> f64 {
    let growth = 2.0 * (3.0 * h * taylor.fastest).exp();
    match scheme {
        Scheme::Forward => {
            let truncation = taylor.second * h / 2.0 + taylor.third * h * h / 6.0;
            growth * truncation + 2.0 * noise / h
        }
        Scheme::Central => {
            let truncation = taylor.third * h * h / 6.0 + taylor.second * h.powi(3) / 24.0;
            growth * truncation + noise / h
        }
    }
}
