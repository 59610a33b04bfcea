//! Checks a gradient estimator against the exact gradient, one random direction at a time.
//!
//! An estimate is right only on average, so its elements cannot be checked one by one. But it
//! consists of derivatives along its directions: with a single direction v it equals s·v, and s =
//! ĝ·v/v·v must equal g·v within truncation and round-off. Together with E[v·vᵀ] = 1, this makes
//! the estimate right on average.
//!
//! If the estimator perturbs pre-activations, rows are checked one by one, without l2, and a
//! network without biases gets biases of 0. The gradient with respect to the biases is then s·v
//! over all units, and s must equal δ·v, where δ is backprop's gradient with respect to the biases.
//!
//! The tolerance τ for exact derivatives is 4·Σ bᵢ·|vᵢ| with the bounds bᵢ of backprop's elements,
//! which covers a sum in any order. SPSA adds the truncation and the noise of a central difference
//! along v, with L‴ bounded up to the ends of the increment, and the rounding of θ ± h·v, at most
//! u·(|θ| + 2h|v|) per element; noise and slopes are those of passes at θ ± h·v.

use std::sync::Arc;

use super::directional_taylor::DirectionalTaylor;
use super::directions::{DirectionCheck, DirectionsResult};
use super::number_format::NumberFormat;
use super::{CheckSubject, ReferencePoint, converted};
use crate::data::{Batch, Samples};
use crate::gradient::random_direction::direction::Direction;
use crate::gradient::random_direction::{
    DirectionSeed, DirectionsConfig, PerturbedQuantity, SpsaConfig,
};
use crate::gradient::{Control, GradientConfig, Stopped, TrainingEngine};
use crate::model::{Network, Parameters};
use crate::numeric::{Precision, Real};

impl CheckSubject<'_> {
    /// Checks the estimator `config` in `precision` along `count` directions, drawn as training
    /// from `seed` would draw them. Returns `None` for a method that is no estimator.
    ///
    /// Cost: 2 passes per direction.
    ///
    /// # Errors
    /// Returns [`Stopped::Interrupted`] if `control` requested a stop, [`Stopped::Vanished`] if the
    /// increment is lost in θ.
    pub fn estimate(
        &self,
        config: &GradientConfig,
        precision: Precision,
        count: usize,
        seed: u64,
        control: &Control,
    ) -> Result<Option<DirectionsResult>, Stopped> {
        let Some(single) = config.with_directions(1) else {
            return Ok(None);
        };
        let drawn = EstimatorDirection {
            config: single,
            count,
            seed,
            control,
        };
        Ok(Some(match precision {
            Precision::F32 => self.estimate_in(&self.single, &self.rounded, &drawn)?,
            Precision::F64 => self.estimate_in(&self.double, &self.exact, &drawn)?,
        }))
    }

    fn estimate_in<R: Real>(
        &self,
        samples: &Samples<R>,
        point: &ReferencePoint<'_>,
        drawn: &EstimatorDirection<'_>,
    ) -> Result<DirectionsResult, Stopped> {
        let checks = match &drawn.config {
            GradientConfig::ForwardGradient(config)
                if config.perturbed == PerturbedQuantity::Activations =>
            {
                self.check_activations(samples, point, config.directions, drawn)?
            }
            GradientConfig::ForwardGradient(config) => {
                self.check_weights(samples, point, config.directions, None, drawn)?
            }
            GradientConfig::Spsa(config) => {
                self.check_weights(samples, point, config.directions, Some(config), drawn)?
            }
            _ => unreachable!("what has directions is an estimator"),
        };
        let increment = match &drawn.config {
            GradientConfig::Spsa(config) => {
                Some(config.increment_of::<R>(&self.network.layout).to_f64())
            }
            _ => None,
        };
        let norms = checks.iter().map(|(norm, _)| norm * norm);
        Ok(DirectionsResult {
            method: drawn.config.method(),
            precision: R::PRECISION,
            increment,
            norm: (norms.sum::<f64>() / checks.len() as f64).sqrt(),
            checks: checks.into_iter().map(|(_, check)| check).collect(),
        })
    }

    /// Checks the estimator along directions of θ; with `spsa`, by SPSA's quotients. Returns each
    /// check with the norm of the gradient.
    fn check_weights<R: Real>(
        &self,
        samples: &Samples<R>,
        point: &ReferencePoint<'_>,
        directions: DirectionsConfig,
        spsa: Option<&SpsaConfig>,
        drawn: &EstimatorDirection<'_>,
    ) -> Result<Vec<(f64, DirectionCheck)>, Stopped> {
        let layout = &self.network.layout;
        let theta = converted::<f64, R>(&point.theta);
        let bounds = bounds::<R>(point);
        let exact = point.gradient.flat();
        let mut engine = self.engine(self.network, samples, self.rows.len(), drawn);
        (0..drawn.count)
            .map(|step| {
                let v = drawn.direction(directions, step, layout.len());
                let estimate = drawn.run(&mut *engine, &theta, samples, self.rows, step)?;
                let mut allowed = 4.0 * weighted_bound(&bounds, &v);
                if let Some(config) = spsa {
                    let h = config.increment_of::<R>(layout).to_f64();
                    let v = Parameters::from_flat(Arc::clone(layout), v.clone());
                    allowed += truncation(h, &point.bounds.directional_taylor(&v));
                    for h in [h, -h] {
                        allowed += R::UNIT_ROUNDOFF * self.rounded_at(point, h, &v, drawn)?;
                    }
                }
                Ok((norm(exact), check_direction(&estimate, exact, &v, allowed)))
            })
            .collect()
    }

    /// Bounds the round-off, in u, of a loss at θ + h·v and of θ + h·v itself, divided by |h|. The
    /// loss there may be larger and steeper than at θ.
    fn rounded_at(
        &self,
        point: &ReferencePoint<'_>,
        h: f64,
        v: &Parameters<f64>,
        drawn: &EstimatorDirection<'_>,
    ) -> Result<f64, Stopped> {
        let (network, workers, isa) = (self.network, self.workers, self.isa);
        let mut theta = point.theta.clone();
        for (theta, v) in theta.flat_mut().iter_mut().zip(v.flat()) {
            *theta += h * v;
        }
        let control = drawn.control.with_new_counter();
        let perturbed = ReferencePoint::new(
            network,
            &theta,
            &self.double,
            self.rows,
            workers,
            isa,
            &control,
        )?;
        let steepest = (perturbed.gradient.flat().iter().zip(point.gradient.flat()))
            .map(|(there, here)| there.abs().max(here.abs()));
        let stepped = (steepest.zip(point.theta.flat()).zip(v.flat()))
            .map(|((g, theta), v)| g * (theta.abs() + 2.0 * (h * v).abs()));
        let noise = perturbed.bounds.whole_pass_roundoff();
        let noise = noise.max(point.bounds.whole_pass_roundoff());
        Ok((noise + stepped.sum::<f64>()) / h.abs())
    }

    /// Checks the estimator along directions of the pre-activations of one row each. Returns each
    /// check with the norm of that row's δ.
    fn check_activations<R: Real>(
        &self,
        samples: &Samples<R>,
        point: &ReferencePoint<'_>,
        directions: DirectionsConfig,
        drawn: &EstimatorDirection<'_>,
    ) -> Result<Vec<(f64, DirectionCheck)>, Stopped> {
        let (network, theta) = biased(self.network, &point.theta);
        let layout = &network.layout;
        let deltas = |flat: &[f64]| -> Vec<f64> {
            let indices = (0..layout.layers()).flat_map(|layer| layout.biases(layer));
            indices.map(|index| flat[index]).collect()
        };
        let mut engine = self.engine(&network, samples, 1, drawn);
        (0..drawn.count)
            .map(|step| {
                let at = step % self.rows.len();
                let rows = &self.rows[at..=at];
                let (workers, isa, control) = (self.workers, self.isa, drawn.control);
                let point = ReferencePoint::new(
                    &network,
                    &theta,
                    &self.double,
                    rows,
                    workers,
                    isa,
                    control,
                )?;
                let exact = deltas(point.gradient.flat());
                let v = drawn.direction(directions, step, exact.len());
                let theta = converted::<f64, R>(&theta);
                let estimate = drawn.run(&mut *engine, &theta, samples, rows, step)?;
                let allowed = 4.0 * weighted_bound(&deltas(&bounds::<R>(&point)), &v);
                let check = check_direction(&deltas(&estimate), &exact, &v, allowed);
                Ok((norm(&exact), check))
            })
            .collect()
    }

    fn engine<R: Real>(
        &self,
        network: &Network,
        samples: &Samples<R>,
        capacity: usize,
        drawn: &EstimatorDirection<'_>,
    ) -> Box<dyn TrainingEngine<R>> {
        drawn
            .config
            .engine(network, self.workers, self.isa, samples, capacity)
    }
}

/// An estimator with a single direction, and the directions to draw for it.
struct EstimatorDirection<'a> {
    config: GradientConfig,
    count: usize,
    seed: u64,
    control: &'a Control,
}

impl EstimatorDirection<'_> {
    fn draw(&self, step: usize) -> DirectionSeed {
        DirectionSeed {
            seed: self.seed,
            step: step as u64,
        }
    }

    /// Returns the components of the direction of training step `step`.
    fn direction(&self, directions: DirectionsConfig, step: usize, count: usize) -> Vec<f64> {
        let direction = Direction {
            seed: self.draw(step),
            number: 0,
            distribution: directions.distribution,
        };
        let mut components = direction.components();
        (0..count).map(|_| f64::from(components.step())).collect()
    }

    /// Computes the estimate of training step `step`.
    fn run<R: Real>(
        &self,
        engine: &mut dyn TrainingEngine<R>,
        theta: &Parameters<R>,
        samples: &Samples<R>,
        rows: &[u32],
        step: usize,
    ) -> Result<Vec<f64>, Stopped> {
        let mut estimate = Parameters::zeros(Arc::clone(theta.layout()));
        engine.set_direction_seed(self.draw(step));
        engine.gradient(theta, Batch { samples, rows }, &mut estimate, self.control)?;
        Ok(estimate.flat().iter().map(|g| g.to_f64()).collect())
    }
}

/// Compares s = ĝ·v/v·v with g·v.
fn check_direction(estimate: &[f64], exact: &[f64], v: &[f64], allowed: f64) -> DirectionCheck {
    DirectionCheck {
        exact: dot(exact, v),
        found: dot(estimate, v) / dot(v, v),
        // A bound that overflowed admits any error.
        allowed: if allowed.is_nan() {
            f64::INFINITY
        } else {
            allowed
        },
    }
}

/// Bounds the errors of backprop in R and of the reference gradient, added, `(N,)`.
fn bounds<R: Real>(point: &ReferencePoint<'_>) -> Vec<f64> {
    let bounds = point.bounds.backprop(NumberFormat::of(R::PRECISION));
    (bounds.iter().zip(&point.reference_error))
        .map(|(bound, error)| bound + error)
        .collect()
}

/// Computes Σ bᵢ·|vᵢ|.
fn weighted_bound(bounds: &[f64], v: &[f64]) -> f64 {
    bounds.iter().zip(v).map(|(bound, v)| bound * v.abs()).sum()
}

/// Bounds the truncation h²/6·L‴, with L‴ at its largest over the increment, for any h.
fn truncation(h: f64, taylor: &DirectionalTaylor) -> f64 {
    let reach = h * taylor.fastest;
    let third = taylor.third + reach * (taylor.third + taylor.fastest * taylor.second);
    2.0 * (3.0 * reach).exp() * third * h * h / 6.0
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// Returns the network with biases and without l2, and θ with biases of 0 if it had none.
fn biased(network: &Network, theta: &Parameters<f64>) -> (Network, Parameters<f64>) {
    let (output, loss) = (network.output, network.loss);
    let biased = Network::new(network.layout.sizes(), true, output, loss, 0.0)
        .expect("a network that is may have biases");
    let mut wider = Parameters::zeros(Arc::clone(&biased.layout));
    for layer in 0..biased.layout.layers() {
        let (from, to) = (theta.layout(), &biased.layout);
        wider.flat_mut()[to.weights(layer)].copy_from_slice(&theta.flat()[from.weights(layer)]);
        if from.has_bias() {
            wider.flat_mut()[to.biases(layer)].copy_from_slice(&theta.flat()[from.biases(layer)]);
        }
    }
    (biased, wider)
}
