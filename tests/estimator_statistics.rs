//! What theory says of estimates from random directions, held against thousands of them: their mean
//! is the gradient, their length grows with √N, their angle to the gradient tends to a right one.
//!
//! Every test has its seed, so each passes always or never. ‖ĝ‖² varies by about √2 of its mean, so
//! the mean of 20,000 by 1 %; the statements are to 5 %.

mod support;

use std::sync::Arc;

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
use support::networks::{OUTPUTS_AND_LOSSES, inputs, network, samples, theta};
use support::scalar_backprop::InputForm;

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
            pool: Arc::new(Workers::new(Some(1)).unwrap()),
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

    /// Calls `visit` with the estimates of steps 0 to `draws`.
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

const KINDS: [Distribution; 2] = [Distribution::Rademacher, Distribution::Gaussian];

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

/// E‖ĝ‖²/‖g‖² of K directions in n dimensions: 1 + (n ± 1)/K; with K = 1 n, or n + 2.
fn expected_square(n: usize, count: usize, distribution: Distribution) -> f64 {
    let n = n as f64;
    let varies = match distribution {
        Distribution::Rademacher => n - 1.0,
        Distribution::Gaussian => n + 1.0,
    };
    1.0 + varies / count as f64
}

#[track_caller]
fn assert_within(found: f64, expected: f64, tolerance: f64, case: &str) {
    let error = found / expected - 1.0;
    assert!(
        error.abs() <= tolerance,
        "{case}: {found}, expected {expected}"
    );
}

/// (mean of ‖ĝ‖²/‖g‖², mean of |cos(ĝ, g)|) over the elements in `of`, and holds the mean of all
/// estimates to the gradient.
fn moments(
    problem: &Problem,
    config: &GradientConfig,
    of: &dyn Fn(&[f64]) -> Vec<f64>,
) -> (f64, f64) {
    let exact = of(&problem.gradient);
    let square = dot(&exact, &exact);
    let (mut squares, mut cosines, mut spread) = (0.0, 0.0, 0.0);
    let mut mean = vec![0.0; problem.gradient.len()];
    problem.estimates(config, DRAWS, |_, estimate| {
        for ((mean, found), exact) in mean.iter_mut().zip(estimate).zip(&problem.gradient) {
            *mean += found / DRAWS as f64;
            spread += (found - exact).powi(2) / DRAWS as f64;
        }
        let found = of(estimate);
        let length = dot(&found, &found);
        squares += length / square;
        cosines += (dot(&found, &exact) / (length * square).sqrt()).abs();
    });
    // ‖mean − g‖² is the spread over the draws on average, and varies by about √(2/n) of it.
    let off: f64 = (mean.iter().zip(&problem.gradient))
        .map(|(mean, exact)| (mean - exact).powi(2))
        .sum();
    let draws = DRAWS as f64;
    assert!(
        off <= 2.0 * spread / draws,
        "{config:?}: the mean is {off} off"
    );
    (squares / draws, cosines / draws)
}

#[test]
fn estimates_by_weights_are_as_long_and_as_far_off_as_theory_says() {
    let problem = Problem::new(
        network(FEATURES, &[5], true, OUTPUTS_AND_LOSSES[3], 0.25),
        InputForm::Numbers,
        4,
    );
    let n = problem.network.layout.len();
    assert_eq!(n, 53);
    let all = |gradient: &[f64]| gradient.to_vec();
    for distribution in KINDS {
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

/// With one row the gradients of the biases are δ itself.
#[test]
fn estimates_by_activations_grow_with_the_units_and_not_with_the_weights() {
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
    for distribution in KINDS {
        for count in [1, 4] {
            let config = forward(PerturbedQuantity::Activations, count, distribution);
            let (square, cosine) = moments(&problem, &config, &biases);
            let case = format!("{config:?}");
            let expected = expected_square(units, count, distribution);
            assert_within(square, expected, 0.05, &case);
            // Signs are as far off only where no element is much larger than the others.
            if count == 1 && distribution == Distribution::Gaussian {
                let expected = (2.0 / (std::f64::consts::PI * units as f64)).sqrt();
                assert_within(cosine, expected, 0.05, &case);
            }
        }
    }
}

#[test]
fn the_mean_over_many_rows_perturbed_apart_is_the_gradient_too() {
    let l2 = 0.25;
    let problem = Problem::new(
        network(FEATURES, &[4, 3], true, OUTPUTS_AND_LOSSES[0], l2),
        InputForm::Sparse,
        5,
    );
    for distribution in KINDS {
        let config = forward(PerturbedQuantity::Activations, 1, distribution);
        moments(&problem, &config, &|gradient| gradient.to_vec());
    }
}

/// (g·v)·v of every kind of network and inputs, with g by backprop.
#[test]
fn an_estimate_along_one_direction_is_the_gradient_s_projection_on_it() {
    for hidden in [&[][..], &[5], &[4, 18, 3]] {
        for head in OUTPUTS_AND_LOSSES {
            for form in [
                InputForm::Sparse,
                InputForm::Bytes { divisor: 255.0 },
                InputForm::Numbers,
            ] {
                for l2 in [0.0, 0.25] {
                    let network = network(FEATURES, hidden, true, head, l2);
                    let problem = Problem::new(network, form, 7);
                    for distribution in KINDS {
                        holds_projection(&problem, distribution);
                    }
                }
            }
        }
    }
}

fn holds_projection(problem: &Problem, distribution: Distribution) {
    let norm = |x: &[f64]| dot(x, x).sqrt();
    for (config, allowed) in [
        // Chains of at most 18 terms, four layers of them: some hundred roundings of each term.
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
            let off: Vec<f64> = (estimate.iter().zip(&v))
                .map(|(found, v)| found - slope * v)
                .collect();
            let error = norm(&off) / (norm(&problem.gradient) * dot(&v, &v));
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
