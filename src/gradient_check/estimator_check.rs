//! An estimator of the gradient held to it, one random direction at a time.
//!
//! An estimate is right on average only, so none of its elements can be wrong. But it is made of
//! derivatives along its directions: with one of them, v, it is s·v, and s = ĝ·v/v·v must be g·v within
//! what truncation and round-off allow. That, and E[v·vᵀ] = 1, make it right on average.
//!
//! Where pre-activations are moved, rows are taken one by one, biases of 0 given to a network without,
//! l2 left out: then the gradient by the biases is s·v over all units, and s must be δ·v, where δ are
//! backprop's biases.
//!
//! τ of exact derivatives: the bounds bᵢ of backprop's elements, 4·Σ bᵢ·|vᵢ|, as no sum of theirs in
//! another order is worse. SPSA adds the truncation and the noise of a central difference along v,
//! L‴ grown to the ends of the step, and θ ± h·v, each rounded by u·(|θ| + 2h|v|); noise and slopes are
//! those of passes at θ ± h·v.

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
    /// The estimator `config`, in `precision`, along `count` directions as training from `seed` would
    /// draw them; `None` of a method that estimates nothing. 2 passes a direction.
    ///
    /// # Errors
    /// [`Stopped::Interrupted`] if `control` asked for it, [`Stopped::Vanished`] if the increment is lost
    /// in θ.
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
        let probing = EstimatorDirection {
            config: single,
            count,
            seed,
            control,
        };
        Ok(Some(match precision {
            Precision::F32 => self.estimate_in(&self.single, &self.rounded, &probing)?,
            Precision::F64 => self.estimate_in(&self.double, &self.exact, &probing)?,
        }))
    }

    fn estimate_in<R: Real>(
        &self,
        samples: &Samples<R>,
        point: &ReferencePoint<'_>,
        probing: &EstimatorDirection<'_>,
    ) -> Result<DirectionsResult, Stopped> {
        let probes = match &probing.config {
            GradientConfig::ForwardGradient(config)
                if config.perturbed == PerturbedQuantity::Activations =>
            {
                self.probe_activations(samples, point, config.directions, probing)?
            }
            GradientConfig::ForwardGradient(config) => {
                self.probe_weights(samples, point, config.directions, None, probing)?
            }
            GradientConfig::Spsa(config) => {
                self.probe_weights(samples, point, config.directions, Some(config), probing)?
            }
            _ => unreachable!("what has directions is an estimator"),
        };
        let increment = match &probing.config {
            GradientConfig::Spsa(config) => {
                Some(config.increment_of::<R>(&self.network.layout).to_f64())
            }
            _ => None,
        };
        let norms = probes.iter().map(|(norm, _)| norm * norm);
        Ok(DirectionsResult {
            by: probing.config.method(),
            precision: R::PRECISION,
            increment,
            norm: (norms.sum::<f64>() / probes.len() as f64).sqrt(),
            probes: probes.into_iter().map(|(_, probe)| probe).collect(),
        })
    }

    /// Probes along directions of θ, each with the gradient's norm; with `spsa` by its quotients.
    fn probe_weights<R: Real>(
        &self,
        samples: &Samples<R>,
        point: &ReferencePoint<'_>,
        directions: DirectionsConfig,
        spsa: Option<&SpsaConfig>,
        probing: &EstimatorDirection<'_>,
    ) -> Result<Vec<(f64, DirectionCheck)>, Stopped> {
        let layout = &self.network.layout;
        let theta = converted::<f64, R>(&point.theta);
        let bounds = bounds::<R>(point);
        let exact = point.gradient.flat();
        let mut engine = self.engine(self.network, samples, self.rows.len(), probing);
        (0..probing.count)
            .map(|step| {
                let v = probing.direction(directions, step, layout.len());
                let estimate = probing.run(&mut *engine, &theta, samples, self.rows, step)?;
                let mut allowed = 4.0 * along(&bounds, &v);
                if let Some(config) = spsa {
                    let h = config.increment_of::<R>(layout).to_f64();
                    let v = Parameters::from_flat(Arc::clone(layout), v.clone());
                    allowed += truncation(h, &point.tolerance.along(&v));
                    for h in [h, -h] {
                        allowed += R::UNIT_ROUNDOFF * self.rounded_at(point, h, &v, probing)?;
                    }
                }
                Ok((norm(exact), probe(&estimate, exact, &v, allowed)))
            })
            .collect()
    }

    /// What a loss at θ + h·v and the step to it round, in u, divided by |h|: a loss there may be larger
    /// and steeper than at θ.
    fn rounded_at(
        &self,
        point: &ReferencePoint<'_>,
        h: f64,
        v: &Parameters<f64>,
        probing: &EstimatorDirection<'_>,
    ) -> Result<f64, Stopped> {
        let (network, team, isa) = (self.network, self.team, self.isa);
        let mut theta = point.theta.clone();
        for (theta, v) in theta.flat_mut().iter_mut().zip(v.flat()) {
            *theta += h * v;
        }
        let control = probing.control.uncounted();
        let side = ReferencePoint::new(
            network,
            &theta,
            &self.double,
            self.rows,
            team,
            isa,
            &control,
        )?;
        let steepest = (side.gradient.flat().iter().zip(point.gradient.flat()))
            .map(|(there, here)| there.abs().max(here.abs()));
        let stepped = (steepest.zip(point.theta.flat()).zip(v.flat()))
            .map(|((g, theta), v)| g * (theta.abs() + 2.0 * (h * v).abs()));
        let noise = side.tolerance.noise_of_a_pass();
        let noise = noise.max(point.tolerance.noise_of_a_pass());
        Ok((noise + stepped.sum::<f64>()) / h.abs())
    }

    /// Probes along directions of the pre-activations of one row each, with the norm of its δ.
    fn probe_activations<R: Real>(
        &self,
        samples: &Samples<R>,
        point: &ReferencePoint<'_>,
        directions: DirectionsConfig,
        probing: &EstimatorDirection<'_>,
    ) -> Result<Vec<(f64, DirectionCheck)>, Stopped> {
        let (network, theta) = biased(self.network, &point.theta);
        let layout = &network.layout;
        let deltas = |flat: &[f64]| -> Vec<f64> {
            let all = (0..layout.layers()).flat_map(|layer| layout.biases(layer));
            all.map(|index| flat[index]).collect()
        };
        let mut engine = self.engine(&network, samples, 1, probing);
        (0..probing.count)
            .map(|step| {
                let at = step % self.rows.len();
                let rows = &self.rows[at..=at];
                let (team, isa, control) = (self.team, self.isa, probing.control);
                let point =
                    ReferencePoint::new(&network, &theta, &self.double, rows, team, isa, control)?;
                let exact = deltas(point.gradient.flat());
                let v = probing.direction(directions, step, exact.len());
                let theta = converted::<f64, R>(&theta);
                let estimate = probing.run(&mut *engine, &theta, samples, rows, step)?;
                let allowed = 4.0 * along(&deltas(&bounds::<R>(&point)), &v);
                let probe = probe(&deltas(&estimate), &exact, &v, allowed);
                Ok((norm(&exact), probe))
            })
            .collect()
    }

    fn engine<R: Real>(
        &self,
        network: &Network,
        samples: &Samples<R>,
        capacity: usize,
        probing: &EstimatorDirection<'_>,
    ) -> Box<dyn TrainingEngine<R>> {
        probing
            .config
            .engine(network, self.team, self.isa, samples, capacity)
    }
}

/// An estimator with one direction, and how often it is asked.
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

    /// The components of the direction of `step`.
    fn direction(&self, directions: DirectionsConfig, step: usize, count: usize) -> Vec<f64> {
        let direction = Direction {
            draw: self.draw(step),
            number: 0,
            distribution: directions.distribution,
        };
        let mut components = direction.components();
        (0..count).map(|_| f64::from(components.step())).collect()
    }

    /// The estimate of `step`.
    fn run<R: Real>(
        &self,
        engine: &mut dyn TrainingEngine<R>,
        theta: &Parameters<R>,
        samples: &Samples<R>,
        rows: &[u32],
        step: usize,
    ) -> Result<Vec<f64>, Stopped> {
        let mut estimate = Parameters::zeros(Arc::clone(theta.layout()));
        engine.set_draw(self.draw(step));
        engine.gradient(theta, Batch { samples, rows }, &mut estimate, self.control)?;
        Ok(estimate.flat().iter().map(|g| g.to_f64()).collect())
    }
}

/// s = ĝ·v/v·v against g·v.
fn probe(estimate: &[f64], exact: &[f64], v: &[f64], allowed: f64) -> DirectionCheck {
    DirectionCheck {
        exact: dot(exact, v),
        found: dot(estimate, v) / dot(v, v),
        // An overflow of a bound allows everything.
        allowed: if allowed.is_nan() {
            f64::INFINITY
        } else {
            allowed
        },
    }
}

/// Bounds of the elements of a gradient in R, and of the exact one's.
fn bounds<R: Real>(point: &ReferencePoint<'_>) -> Vec<f64> {
    let bounds = point.tolerance.backprop(NumberFormat::of(R::PRECISION));
    (bounds.iter().zip(&point.own))
        .map(|(bound, own)| bound + own)
        .collect()
}

/// Σ bᵢ·|vᵢ|.
fn along(bounds: &[f64], v: &[f64]) -> f64 {
    bounds.iter().zip(v).map(|(bound, v)| bound * v.abs()).sum()
}

/// h²/6·L‴ where it is largest on the step, whatever its length.
fn truncation(h: f64, along: &DirectionalTaylor) -> f64 {
    let reach = h * along.fastest;
    let third = along.third + reach * (along.third + along.fastest * along.second);
    2.0 * (3.0 * reach).exp() * third * h * h / 6.0
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// The network with biases and without l2, and θ with biases of 0 where it has none.
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
