//! Numbers as targets and weights of classes: every gradient method agrees with PyTorch's float64
//! autograd (`tests/reference/targets_and_weights.json`), with the textbook, and bit by bit with
//! itself on any number of threads.

use std::sync::Arc;

use crate::support::networks::relative_error;
use crate::support::reference_cases::{Case, target_and_weight_cases};
use nplus1::data::Batch;
use nplus1::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, NodePerturbationConfig, Reuse, Scheme, Summation,
};
use nplus1::gradient::random_direction::direction::Direction;
use nplus1::gradient::random_direction::{
    DirectionSeed, DirectionsConfig, Distribution, ForwardGradientConfig, PerturbedQuantity,
    SpsaConfig,
};
use nplus1::gradient::{Control, GradientConfig, NumericBackpropConfig};
use nplus1::kernels::Isa;
use nplus1::model::{Network, Parameters};
use nplus1::numeric::Real;
use nplus1::parallel::{Split, Workers};
use nplus1::textbook::{Sample, Target, TextbookNetwork};

const SEED: DirectionSeed = DirectionSeed { seed: 9, step: 2 };

fn difference(scheme: Scheme, reuse: Reuse, arithmetic: Arithmetic) -> GradientConfig {
    GradientConfig::Difference(DifferenceConfig {
        scheme,
        reuse,
        arithmetic,
        summation: Summation::Differences,
        increment: Increment::Auto,
        extrapolate: false,
    })
}

/// Returns the methods without truncation error that matters: all but plain differences.
fn exact_methods() -> Vec<GradientConfig> {
    let node = NodePerturbationConfig {
        arithmetic: Arithmetic::CancellationFree,
        increment: None,
    };
    let free = |scheme| difference(scheme, Reuse::Incremental, Arithmetic::CancellationFree);
    vec![
        GradientConfig::Backprop,
        GradientConfig::ForwardMode(Reuse::Full),
        GradientConfig::ForwardMode(Reuse::Prefix),
        GradientConfig::ForwardMode(Reuse::Incremental),
        free(Scheme::Forward),
        free(Scheme::Central),
        GradientConfig::NodePerturbation(node),
    ]
}

/// Returns the methods whose quotients are rounded, and the error allowed of them in double
/// precision: that of `auto`, for losses and derivatives of the order of 10.
fn plain_methods() -> Vec<(GradientConfig, f64)> {
    let node = NodePerturbationConfig {
        arithmetic: Arithmetic::Plain,
        increment: None,
    };
    let mut methods = vec![
        (GradientConfig::NodePerturbation(node), 1e-6),
        (
            GradientConfig::NumericBackprop(NumericBackpropConfig { increment: None }),
            1e-6,
        ),
    ];
    for reuse in [Reuse::Full, Reuse::Prefix, Reuse::Incremental] {
        for (scheme, error) in [(Scheme::Forward, 1e-6), (Scheme::Central, 1e-8)] {
            methods.push((difference(scheme, reuse, Arithmetic::Plain), error));
        }
    }
    methods
}

/// Returns every random-direction method.
fn random_methods() -> Vec<GradientConfig> {
    let directions = DirectionsConfig {
        count: 3,
        distribution: Distribution::Gaussian,
    };
    let forward = |perturbed| {
        GradientConfig::ForwardGradient(ForwardGradientConfig {
            directions,
            perturbed,
        })
    };
    vec![
        forward(PerturbedQuantity::Weights),
        forward(PerturbedQuantity::Activations),
        GradientConfig::Spsa(SpsaConfig {
            directions,
            increment: None,
        }),
    ]
}

/// Computes the gradient of `case` by `method` with weights of `network`.
fn gradient<R: Real>(
    case: &Case,
    network: &Network,
    method: &GradientConfig,
    threads: usize,
    split: Option<Split>,
) -> (Vec<f64>, f64) {
    let samples = case.samples::<R>();
    let theta = case.parameters.iter().map(|&x| R::from_f64(x)).collect();
    let theta = Parameters::from_flat(Arc::clone(&network.layout), theta);
    let poison = vec![R::from_f64(f64::NAN); network.layout.len()];
    let mut gradient = Parameters::from_flat(Arc::clone(&network.layout), poison);
    let rows: Vec<u32> = (0..case.rows as u32).collect();
    let batch = Batch {
        samples: &samples,
        rows: &rows,
    };
    let pool = Arc::new(Workers::exactly(threads).unwrap());
    let mut engine = method.engine(network, &pool, Isa::detect(), &samples, case.rows);
    if let Some(split) = split {
        engine.set_split(split);
    }
    engine.set_direction_seed(SEED);
    let evaluation = engine
        .gradient(&theta, batch, &mut gradient, &Control::default())
        .unwrap();
    let gradient = gradient.flat().iter().map(|g| g.to_f64());
    (gradient.collect(), evaluation.loss)
}

fn penalty(case: &Case) -> f64 {
    let layout = &case.network.layout;
    let weights = (0..layout.layers()).flat_map(|layer| layout.weights(layer));
    weights
        .map(|index| case.parameters[index].powi(2) * case.network.l2 / 2.0)
        .sum()
}

#[test]
fn methods_without_truncation_agree_with_pytorch_to_1e_12() {
    for case in target_and_weight_cases() {
        for method in exact_methods() {
            for split in [Split::Rows, Split::Units] {
                let (found, loss) = gradient::<f64>(&case, &case.network, &method, 2, Some(split));
                let error = relative_error(&found, &case.gradient);
                let loss_error = (loss + penalty(&case) - case.loss).abs() / case.loss;
                println!("{:45} {method:?} {error:.1e} {loss_error:.1e}", case.name);
                assert!(error <= 1e-12, "{} {method:?}: {error:e}", case.name);
                assert!(
                    loss_error <= 1e-12,
                    "{} {method:?}: {loss_error:e}",
                    case.name
                );
            }
            let (found, _) = gradient::<f32>(&case, &case.network, &method, 2, None);
            let error = relative_error(&found, &case.gradient);
            assert!(error <= 5e-6, "{} {method:?} f32: {error:e}", case.name);
        }
    }
}

#[test]
fn plain_differences_agree_with_pytorch_up_to_truncation_and_round_off() {
    for case in target_and_weight_cases() {
        for (method, allowed) in plain_methods() {
            let (found, _) = gradient::<f64>(&case, &case.network, &method, 2, None);
            let error = relative_error(&found, &case.gradient);
            println!("{:45} {method:?} {error:.1e}", case.name);
            assert!(error <= allowed, "{} {method:?}: {error:e}", case.name);
        }
    }
}

/// (g·v)·v for each direction v, on average.
#[test]
fn random_directions_of_theta_project_pytorch_s_gradient() {
    for case in target_and_weight_cases() {
        let directions: Vec<Vec<f64>> = (0..3)
            .map(|number| {
                let direction = Direction {
                    seed: SEED,
                    number,
                    distribution: Distribution::Gaussian,
                };
                let mut components = direction.components();
                (case.parameters.iter())
                    .map(|_| f64::from(components.step()))
                    .collect()
            })
            .collect();
        let mut expected = vec![0.0; case.parameters.len()];
        for v in &directions {
            let derivative: f64 = v.iter().zip(&case.gradient).map(|(v, g)| v * g).sum();
            for (sum, v) in expected.iter_mut().zip(v) {
                *sum += derivative * v / 3.0;
            }
        }
        let [weights, _, spsa] = random_methods().try_into().unwrap();
        for (method, allowed) in [(weights, 1e-12), (spsa, 1e-5)] {
            let (found, _) = gradient::<f64>(&case, &case.network, &method, 2, None);
            let error = relative_error(&found, &expected);
            assert!(error <= allowed, "{} {method:?}: {error:e}", case.name);
        }
    }
}

#[test]
fn the_textbook_agrees_with_pytorch_to_1e_12() {
    fn compare<T: Target>(case: &Case, batch: &[Sample<T>]) {
        let net = TextbookNetwork::from(&case.network);
        let (_, found) = net.gradient::<f64>(&case.parameters, batch);
        let error = relative_error(&found, &case.gradient);
        assert!(error <= 1e-12, "{}: {error:e}", case.name);
        let loss = net.objective::<f64>(&case.parameters, batch);
        assert!(
            (loss - case.loss).abs() <= 1e-12 * case.loss,
            "{}",
            case.name
        );
        if case.network.l2 == 0.0 {
            let found = net.forward_differences::<f64>(&case.parameters, batch, 1e-7);
            let error = relative_error(&found, &case.gradient);
            assert!(error <= 1e-5, "{}: {error:e}", case.name);
        }
    }
    let mut regressions = 0;
    for case in target_and_weight_cases() {
        match &case.dataset.targets {
            None => compare(&case, &case.batch()),
            Some(targets) => {
                regressions += 1;
                let rows: Vec<Vec<f64>> = (targets.values.outer_iter())
                    .map(|row| row.to_vec())
                    .collect();
                let samples = case.batch().into_iter().zip(&rows);
                let batch: Vec<Sample<&[f64]>> = samples
                    .map(|((inputs, _), row)| (inputs, row.as_slice()))
                    .collect();
                compare(&case, &batch);
            }
        }
    }
    assert_eq!(regressions, 4);
}

fn every_method() -> impl Iterator<Item = GradientConfig> {
    let plain = plain_methods().into_iter().map(|(method, _)| method);
    exact_methods()
        .into_iter()
        .chain(plain)
        .chain(random_methods())
}

#[test]
fn slow_the_bits_do_not_depend_on_threads_or_split() {
    fn compare<R: Real>(case: &Case, method: &GradientConfig) {
        let expected = gradient::<R>(case, &case.network, method, 1, None);
        for threads in [2, 3, 8] {
            for split in [Split::Rows, Split::Units] {
                let found = gradient::<R>(case, &case.network, method, threads, Some(split));
                assert_eq!(found, expected, "{} {method:?} {threads}", case.name);
            }
        }
    }
    for case in target_and_weight_cases() {
        for method in every_method() {
            compare::<f64>(&case, &method);
            compare::<f32>(&case, &method);
        }
    }
}

#[test]
fn weights_of_1_give_the_bits_of_no_weights() {
    fn compare<R: Real>(case: &Case, method: &GradientConfig) {
        let without = Network {
            class_weights: Vec::new(),
            ..case.network.clone()
        };
        let ones = Network {
            class_weights: vec![1.0; case.dataset.class_count()],
            ..case.network.clone()
        };
        let expected = gradient::<R>(case, &without, method, 2, None);
        let found = gradient::<R>(case, &ones, method, 2, None);
        assert_eq!(found, expected, "{} {method:?}", case.name);
        let weighted = gradient::<R>(case, &case.network, method, 2, None);
        assert_ne!(weighted, expected, "{} {method:?}", case.name);
    }
    let mut cases = 0;
    for case in target_and_weight_cases() {
        if case.network.class_weights.is_empty() {
            continue;
        }
        for method in every_method() {
            compare::<f64>(&case, &method);
            compare::<f32>(&case, &method);
        }
        cases += 1;
    }
    assert_eq!(cases, 6);
}
