//! Thousands of gradient estimates from random directions have the statistics that theory
//! predicts: their mean is the gradient, their norm grows with √N, and their angle to the gradient
//! approaches 90°.
//!
//! The seed is fixed, so each test passes always or never. The standard deviation of ‖ĝ‖² is about
//! √2 times its mean, that of the mean of 20,000 estimates 1 %; the tests allow 5 %.

use std::sync::Arc;

use crate::support::networks::{OUTPUTS_AND_LOSSES, inputs, network, samples, theta};
use crate::support::scalar_backprop::InputForm;
use nplus1::data::{Batch, Samples};
use nplus1::gradient::random_direction::direction::Direction;
use nplus1::gradient::random_direction::{
    DirectionSeed, DirectionsConfig, Distribution, ForwardGradientConfig, PerturbedQuantity,
    SpsaConfig,
};
use nplus1::gradient::{Backprop, Control, GradientConfig, GradientEngine};
use nplus1::kernels::Isa;
use nplus1::model::{Network, Parameters};
use nplus1::parallel::Workers;

const DRAWS: u64 = 20_000;
const SEED: u64 = 11;
const FEATURES: usize = 6;

/// A network, a mini-batch, and its exact gradient.
struct Problem {
    network: Network,
    pool: Arc<Workers>,
    samples: Samples<f64>,
    rows: Vec<u32>,
    theta: Parameters<f64>,
    gradient: Vec<f64>,
}

impl Problem {
    fn new(network: Network, form: InputForm, rows: usize) -> Self {
        let classes = if network.layout.sizes().last() == Some(&1) {
            2
        } else {
            3
        };
        let (inputs, labels) = inputs(form, rows, network.layout.sizes()[0], classes);
        let theta = Parameters::from_flat(Arc::clone(&network.layout), theta(&network));
        let mut problem = Self {
            pool: Arc::new(Workers::exactly(1).unwrap()),
            samples: samples(form, &inputs, &labels),
            rows: (0..rows as u32).collect(),
            gradient: Vec::new(),
            network,
            theta,
        };
        let (network, pool) = (&problem.network, &problem.pool);
        let mut engine = Backprop::new(network, pool, Isa::detect(), rows);
        problem.gradient = problem.gradient_by(&mut engine);
        problem
    }

    fn gradient_by<E: GradientEngine<f64> + ?Sized>(&self, engine: &mut E) -> Vec<f64> {
        let mut gradient = Parameters::zeros(Arc::clone(&self.network.layout));
        let batch = Batch {
            samples: &self.samples,
            rows: &self.rows,
        };
        engine
            .gradient(&self.theta, batch, &mut gradient, &Control::default())
            .unwrap();
        gradient.flat().to_vec()
    }

    /// Calls `visit` with the estimates of steps 0 to `draws` − 1.
    fn estimates(&self, config: &GradientConfig, draws: u64, mut visit: impl FnMut(u64, &[f64])) {
        let mut engine = config.engine(
            &self.network,
            &self.pool,
            Isa::detect(),
            &self.samples,
            self.rows.len(),
        );
        for step in 0..draws {
            engine.set_direction_seed(DirectionSeed { seed: SEED, step });
            visit(step, &self.gradient_by(&mut *engine));
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

const DISTRIBUTIONS: [Distribution; 2] = [Distribution::Rademacher, Distribution::Gaussian];

fn spsa(count: usize, distribution: Distribution) -> GradientConfig {
    GradientConfig::Spsa(SpsaConfig {
        directions: DirectionsConfig {
            count,
            distribution,
        },
        increment: None,
    })
}

fn forward(
    perturbed: PerturbedQuantity,
    count: usize,
    distribution: Distribution,
) -> GradientConfig {
    GradientConfig::ForwardGradient(ForwardGradientConfig {
        directions: DirectionsConfig {
            count,
            distribution,
        },
        perturbed,
    })
}

/// Returns E‖ĝ‖²/‖g‖² for K directions in n dimensions: 1 + (n − 1)/K for Rademacher and 1 + (n +
/// 1)/K for Gaussian directions.
fn expected_square(n: usize, count: usize, distribution: Distribution) -> f64 {
    let n = n as f64;
    let variance = match distribution {
        Distribution::Rademacher => n - 1.0,
        Distribution::Gaussian => n + 1.0,
    };
    1.0 + variance / count as f64
}

#[track_caller]
fn assert_within(found: f64, expected: f64, tolerance: f64, case: &str) {
    let error = found / expected - 1.0;
    assert!(
        error.abs() <= tolerance,
        "{case}: {found}, expected {expected}"
    );
}

/// Returns the means of ‖ĝ‖²/‖g‖² and of |cos(ĝ, g)| over the elements that `select` returns, and
/// checks that the mean of all estimates is the gradient.
fn moments(
    problem: &Problem,
    config: &GradientConfig,
    select: &dyn Fn(&[f64]) -> Vec<f64>,
) -> (f64, f64) {
    let exact = select(&problem.gradient);
    let square = dot(&exact, &exact);
    let (mut squares, mut cosines, mut spread) = (0.0, 0.0, 0.0);
    let mut mean = vec![0.0; problem.gradient.len()];
    problem.estimates(config, DRAWS, |_, estimate| {
        for ((mean, found), exact) in mean.iter_mut().zip(estimate).zip(&problem.gradient) {
            *mean += found / DRAWS as f64;
            spread += (found - exact).powi(2) / DRAWS as f64;
        }
        let found = select(estimate);
        let length = dot(&found, &found);
        squares += length / square;
        cosines += (dot(&found, &exact) / (length * square).sqrt()).abs();
    });
    // The expectation of ‖mean − g‖² is spread/draws, its relative standard deviation about √(2/n).
    let squared_error: f64 = (mean.iter().zip(&problem.gradient))
        .map(|(mean, exact)| (mean - exact).powi(2))
        .sum();
    let draws = DRAWS as f64;
    assert!(
        squared_error <= 2.0 * spread / draws,
        "{config:?}: the squared error of the mean is {squared_error}"
    );
    (squares / draws, cosines / draws)
}

#[test]
fn slow_estimates_by_weights_have_the_norm_and_the_angle_of_theory() {
    let problem = Problem::new(
        network(FEATURES, &[5], true, OUTPUTS_AND_LOSSES[3], 0.25),
        InputForm::Numbers,
        4,
    );
    let n = problem.network.layout.len();
    assert_eq!(n, 53);
    let all = |gradient: &[f64]| gradient.to_vec();
    for distribution in DISTRIBUTIONS {
        for count in [1, 4] {
            for config in [
                spsa(count, distribution),
                forward(PerturbedQuantity::Weights, count, distribution),
            ] {
                let (square, cosine) = moments(&problem, &config, &all);
                let case = format!("{config:?}");
                let expected = expected_square(n, count, distribution);
                assert_within(square, expected, 0.05, &case);
                if count == 1 {
                    let expected = (2.0 / (std::f64::consts::PI * n as f64)).sqrt();
                    assert_within(cosine, expected, 0.05, &case);
                }
            }
        }
    }
}

/// With one row the gradient of a bias is the δ of its unit.
#[test]
fn the_norm_of_estimates_by_activations_grows_with_the_units_not_the_weights() {
    let problem = Problem::new(
        network(FEATURES, &[20], true, OUTPUTS_AND_LOSSES[3], 0.0),
        InputForm::Numbers,
        1,
    );
    let layout = Arc::clone(&problem.network.layout);
    let units = 23;
    let biases = move |gradient: &[f64]| {
        let all = (0..layout.layers()).flat_map(|layer| layout.biases(layer));
        all.map(|index| gradient[index]).collect::<Vec<f64>>()
    };
    assert_eq!(biases(&problem.gradient).len(), units);
    for distribution in DISTRIBUTIONS {
        for count in [1, 4] {
            let config = forward(PerturbedQuantity::Activations, count, distribution);
            let (square, cosine) = moments(&problem, &config, &biases);
            let case = format!("{config:?}");
            let expected = expected_square(units, count, distribution);
            assert_within(square, expected, 0.05, &case);
            // For Rademacher directions this angle needs a gradient without a dominant element.
            if count == 1 && distribution == Distribution::Gaussian {
                let expected = (2.0 / (std::f64::consts::PI * units as f64)).sqrt();
                assert_within(cosine, expected, 0.05, &case);
            }
        }
    }
}

#[test]
fn the_mean_is_the_gradient_when_many_rows_are_perturbed_independently() {
    let l2 = 0.25;
    let problem = Problem::new(
        network(FEATURES, &[4, 3], true, OUTPUTS_AND_LOSSES[0], l2),
        InputForm::Sparse,
        5,
    );
    for distribution in DISTRIBUTIONS {
        let config = forward(PerturbedQuantity::Activations, 1, distribution);
        moments(&problem, &config, &|gradient| gradient.to_vec());
    }
}

/// Compares with (g·v)·v for every kind of network and inputs, with g by backprop.
#[test]
fn an_estimate_along_one_direction_is_the_gradient_s_projection_times_the_direction() {
    for hidden in [&[][..], &[5], &[4, 18, 3]] {
        for outputs_and_loss in OUTPUTS_AND_LOSSES {
            for form in [
                InputForm::Sparse,
                InputForm::Bytes { divisor: 255.0 },
                InputForm::Numbers,
            ] {
                for l2 in [0.0, 0.25] {
                    let network = network(FEATURES, hidden, true, outputs_and_loss, l2);
                    let problem = Problem::new(network, form, 7);
                    for distribution in DISTRIBUTIONS {
                        assert_is_projection(&problem, distribution);
                    }
                }
            }
        }
    }
}

/// Compares estimates along one direction v with (g·v)·v.
fn assert_is_projection(problem: &Problem, distribution: Distribution) {
    let norm = |x: &[f64]| dot(x, x).sqrt();
    for (config, allowed) in [
        // Chains of at most 18 terms in each of four layers have some hundred roundings.
        (forward(PerturbedQuantity::Weights, 1, distribution), 1e-13),
        // Sparse inputs are bytes up to 255: h·v·x reaches 255·√6·h = 6e-4 in z. Truncation
        // (h·z′)²/6 = 6e-8 and round-off 1e-16/h = 4e-11, relative to a derivative of order 1.
        (spsa(1, distribution), 1e-6),
    ] {
        problem.estimates(&config, 3, |step, estimate| {
            let direction = Direction {
                seed: DirectionSeed { seed: SEED, step },
                number: 0,
                distribution,
            };
            let mut components = direction.components();
            let v: Vec<f64> = (0..estimate.len())
                .map(|_| f64::from(components.step()))
                .collect();
            let slope = dot(&problem.gradient, &v);
            let differences: Vec<f64> = (estimate.iter().zip(&v))
                .map(|(found, v)| found - slope * v)
                .collect();
            let error = norm(&differences) / (norm(&problem.gradient) * dot(&v, &v));
            let network = &problem.network;
            assert!(
                error <= allowed,
                "{:?} {:?} {config:?}: {error:e}",
                network.layout.sizes(),
                network.output_loss()
            );
        });
    }
}
