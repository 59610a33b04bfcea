//! Random-direction methods perform exactly the evaluations and operations that they report,
//! and their kernels have the bits of scalar code.

use std::sync::Arc;

use crate::support::networks::{class_count, inputs};
use crate::support::scalar_random_directions;
use crate::support::twins::{
    DIRECTION_SEED, TwinProblem, Twinned, assert_equals_twin, every_network, penalized, varied,
};
use nplus1::gradient::GradientConfig;
use nplus1::gradient::finite_difference::increment::for_direction;
use nplus1::gradient::random_direction::direction::Direction;
use nplus1::gradient::random_direction::{
    DirectionsConfig, Distribution, ForwardGradientConfig, PerturbedQuantity, SpsaConfig,
};
use nplus1::model::Network;
use nplus1::numeric::Real;
use nplus1::parallel::Workers;
use nplus1::textbook::counting::Number;

/// Hidden layers of networks with 1 to 4 weight layers; some are wider than a panel.
const HIDDEN: [&[usize]; 6] = [&[], &[3], &[18], &[5, 4], &[17, 3], &[6, 18, 5]];

const FEATURES: usize = 11;

/// Returns every random-direction method with `count` directions of either distribution.
fn every_method(count: usize) -> Vec<GradientConfig> {
    let with_distribution = |distribution| {
        let directions = DirectionsConfig {
            count,
            distribution,
        };
        let forward = |perturbed| {
            GradientConfig::ForwardGradient(ForwardGradientConfig {
                directions,
                perturbed,
            })
        };
        let spsa = |increment| {
            GradientConfig::Spsa(SpsaConfig {
                directions,
                increment,
            })
        };
        [
            spsa(None),
            spsa(Some(1.0 / 128.0)),
            forward(PerturbedQuantity::Weights),
            forward(PerturbedQuantity::Activations),
        ]
    };
    [Distribution::Rademacher, Distribution::Gaussian]
        .map(with_distribution)
        .concat()
}

/// Returns the directions of the step, `(K, components)`.
fn draw_directions(directions: DirectionsConfig, components: usize) -> Vec<Vec<f64>> {
    (0..directions.count)
        .map(|number| {
            let direction = Direction {
                seed: DIRECTION_SEED,
                number,
                distribution: directions.distribution,
            };
            let mut values = direction.components();
            (0..components).map(|_| f64::from(values.step())).collect()
        })
        .collect()
}

/// A random-direction method.
struct Directed(GradientConfig);

impl Twinned for Directed {
    fn method(&self) -> GradientConfig {
        self.0
    }

    fn passes(&self, _: &Network) -> [u64; 2] {
        match self.0 {
            GradientConfig::Spsa(config) => [2 * config.directions.count as u64, 0],
            // One pass for the values, and one tangent pass for each direction.
            GradientConfig::ForwardGradient(config) => [1, config.directions.count as u64],
            _ => unreachable!("not a random-direction method"),
        }
    }

    fn gradient<R: Real, N: Number>(&self, problem: &TwinProblem<'_, N>) -> Vec<N> {
        let TwinProblem {
            net,
            theta,
            batch,
            width,
            ..
        } = *problem;
        match self.0 {
            GradientConfig::Spsa(config) => {
                let directions = draw_directions(config.directions, theta.len());
                let widest = net.sizes[..net.layers()].iter().max().unwrap();
                let h = config.increment.map_or(for_direction(*widest), R::from_f64);
                scalar_random_directions::spsa(net, theta, &directions, h.to_f64(), batch, width)
            }
            GradientConfig::ForwardGradient(config) => match config.perturbed {
                PerturbedQuantity::Weights => {
                    let directions = draw_directions(config.directions, theta.len());
                    scalar_random_directions::perturbed_weights(
                        net,
                        theta,
                        &directions,
                        batch,
                        width,
                    )
                }
                PerturbedQuantity::Activations => {
                    let units: usize = net.sizes[1..].iter().sum();
                    let directions = draw_directions(config.directions, units * batch.inputs.len());
                    scalar_random_directions::perturbed_activations(
                        net,
                        theta,
                        &directions,
                        batch,
                        width,
                    )
                }
            },
            _ => unreachable!("not a random-direction method"),
        }
    }
}

#[test]
fn slow_every_random_direction_method_has_the_counts_and_the_bits_of_its_scalar_twin() {
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let mut cases = 0;
    every_network(&HIDDEN, |hidden, outputs_and_loss, form| {
        for method in [every_method(1), every_method(3)].concat() {
            let (rows, penalty) = varied(cases);
            let network = penalized(FEATURES, hidden, outputs_and_loss, penalty);
            let (inputs, labels) = inputs(form, rows, FEATURES, class_count(&network));
            let (data, twinned) = ((&inputs[..], &labels[..]), Directed(method));
            assert_equals_twin::<f64>(&network, form, data, &twinned, &pool);
            assert_equals_twin::<f32>(&network, form, data, &twinned, &pool);
            cases += 1;
        }
    });
    assert_eq!(cases, 6 * 5 * 3 * 2 * 8);
}
