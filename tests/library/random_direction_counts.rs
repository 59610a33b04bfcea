//! Random-direction methods perform exactly the evaluations and operations that they report,
//! and their kernels have the bits of scalar code.

use std::sync::Arc;

use crate::support::kernel_number::KernelNumber;
use crate::support::networks::{
    OUTPUTS_AND_LOSSES, inputs, network, samples, theta, to_numbers, weighted,
};
use crate::support::scalar_backprop::{self, InputForm};
use crate::support::scalar_random_directions;
use nplus1::data::{Batch, Samples};
use nplus1::gradient::finite_difference::increment::for_direction;
use nplus1::gradient::random_direction::direction::Direction;
use nplus1::gradient::random_direction::{
    DirectionSeed, DirectionsConfig, Distribution, ForwardGradientConfig, PerturbedQuantity,
    SpsaConfig,
};
use nplus1::gradient::{Control, GradientConfig};
use nplus1::kernels::Isa;
use nplus1::kernels::panels::width;
use nplus1::model::{Network, Parameters};
use nplus1::numeric::Real;
use nplus1::numeric::tally::Tally;
use nplus1::parallel::Workers;
use nplus1::textbook::TextbookNetwork;
use nplus1::textbook::counting::{Counted, Number, count};

/// Hidden layers of networks with 1 to 4 weight layers; some are wider than a panel.
const HIDDEN: [&[usize]; 6] = [&[], &[3], &[18], &[5, 4], &[17, 3], &[6, 18, 5]];

const FEATURES: usize = 11;

const DIRECTION_SEED: DirectionSeed = DirectionSeed { seed: 5, step: 3 };

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

/// Runs an engine; returns the tally that it reports, the evaluations counted by its control, and
/// the gradient.
fn run<R: Real>(
    network: &Network,
    theta: &[f64],
    samples: &Samples<R>,
    rows: &[u32],
    config: &GradientConfig,
    pool: &Arc<Workers>,
) -> (Tally, u64, Vec<f64>) {
    let theta = theta.iter().map(|&x| R::from_f64(x)).collect();
    let theta = Parameters::from_flat(Arc::clone(&network.layout), theta);
    let poison = vec![R::from_f64(f64::NAN); network.layout.len()];
    let mut gradient = Parameters::from_flat(Arc::clone(&network.layout), poison);
    let mut engine = config.engine(network, pool, Isa::detect(), samples, rows.len());
    engine.set_direction_seed(DIRECTION_SEED);
    let control = Control::default();
    let batch = Batch { samples, rows };
    let evaluation = engine
        .gradient(&theta, batch, &mut gradient, &control)
        .unwrap();
    let found = gradient.flat().iter().map(|g| g.to_f64()).collect();
    (evaluation.tally, control.evaluations(), found)
}

/// Returns the gradient by the scalar twin of `config`'s engine.
fn twin<R: Real, N: Number>(
    net: &TextbookNetwork,
    theta: &[f64],
    config: &GradientConfig,
    batch: &scalar_backprop::Batch<'_>,
) -> Vec<N> {
    let (theta, width) = (to_numbers::<N>(theta), width::<R>());
    match config {
        GradientConfig::Spsa(config) => {
            let directions = draw_directions(config.directions, theta.len());
            let widest = net.sizes[..net.layers()].iter().max().unwrap();
            let h = config.increment.map_or(for_direction(*widest), R::from_f64);
            scalar_random_directions::spsa(net, &theta, &directions, h.to_f64(), batch, width)
        }
        GradientConfig::ForwardGradient(config) => match config.perturbed {
            PerturbedQuantity::Weights => {
                let directions = draw_directions(config.directions, theta.len());
                scalar_random_directions::perturbed_weights(net, &theta, &directions, batch, width)
            }
            PerturbedQuantity::Activations => {
                let units: usize = net.sizes[1..].iter().sum();
                let directions = draw_directions(config.directions, units * batch.inputs.len());
                scalar_random_directions::perturbed_activations(
                    net,
                    &theta,
                    &directions,
                    batch,
                    width,
                )
            }
        },
        _ => unreachable!("not a random-direction method"),
    }
}

/// Returns the numbers of evaluations and of Jacobian-vector products of a gradient.
fn passes(config: &GradientConfig) -> (u64, u64) {
    match config {
        GradientConfig::Spsa(config) => (2 * config.directions.count as u64, 0),
        // One pass for the values, and one tangent pass for each direction.
        GradientConfig::ForwardGradient(config) => (1, config.directions.count as u64),
        _ => unreachable!("not a random-direction method"),
    }
}

/// Compares the counts and the bits of an engine with those of its scalar twin.
fn assert_equals_twin<R: Real>(
    network: &Network,
    form: InputForm,
    rows: usize,
    config: &GradientConfig,
    pool: &Arc<Workers>,
) {
    let net = TextbookNetwork::from(network);
    let theta: Vec<f64> = theta(network)
        .iter()
        .map(|&x| R::from_f64(x).to_f64())
        .collect();
    let classes = if net.sizes.last() == Some(&1) { 2 } else { 3 };
    let (inputs, labels) = inputs(form, rows, FEATURES, classes);
    // Rounded to the precision of the network, as the samples are.
    let inputs: Vec<Vec<f64>> = (inputs.into_iter())
        .map(|row| row.into_iter().map(|x| R::from_f64(x).to_f64()).collect())
        .collect();
    let samples = samples::<R>(form, &inputs, &labels);
    let batch = scalar_backprop::Batch {
        form,
        inputs: &inputs,
        labels: &labels,
    };
    let case = format!(
        "{:?} {:?} bias {} l2 {} {form:?} {rows} rows {config:?} {}",
        net.sizes,
        net.output_loss,
        net.bias,
        net.l2,
        R::PRECISION.name()
    );
    let order: Vec<u32> = (0..rows as u32).collect();
    let (tally, evaluated, found) = run(network, &theta, &samples, &order, config, pool);

    let (evaluations, products) = passes(config);
    let (_, counted) = count(|| twin::<R, Counted>(&net, &theta, config, &batch));
    let counted = Tally {
        evaluations,
        jacobian_vector_products: products,
        ..counted
    };
    assert_eq!(tally, counted, "{case}");
    assert_eq!(evaluated, evaluations + products, "{case}");

    let twin = twin::<R, KernelNumber<R>>(&net, &theta, config, &batch);
    let twin: Vec<f64> = twin.iter().map(|g| g.value()).collect();
    assert!(twin.iter().any(|&g| g != 0.0), "{case}");
    assert_eq!(found, twin, "{case}");
}

#[test]
fn every_random_direction_method_has_the_counts_and_the_bits_of_its_scalar_twin() {
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let forms = [
        InputForm::Sparse,
        InputForm::Bytes { divisor: 255.0 },
        InputForm::Numbers,
    ];
    let mut cases = 0;
    for hidden in HIDDEN {
        for outputs_and_loss in OUTPUTS_AND_LOSSES {
            for form in forms {
                for directions in [1, 3] {
                    for config in every_method(directions) {
                        // The cases vary between 1 and 4 rows, with and without biases and l2.
                        let rows = 1 + (cases * 7 / 3) % 4;
                        let (bias, l2) = [(true, 0.0), (true, 0.25), (false, 0.0), (false, 0.125)]
                            [(cases * 5 / 7) % 4];
                        let network = network(FEATURES, hidden, bias, outputs_and_loss, l2);
                        let network = if l2 == 0.0 {
                            network
                        } else {
                            weighted(network)
                        };
                        assert_equals_twin::<f64>(&network, form, rows, &config, &pool);
                        assert_equals_twin::<f32>(&network, form, rows, &config, &pool);
                        cases += 1;
                    }
                }
            }
        }
    }
    assert_eq!(cases, 6 * 5 * 3 * 2 * 8);
}
