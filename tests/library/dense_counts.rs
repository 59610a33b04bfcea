//! Every method has a plain form in the textbook: it computes the gradient, it performs the
//! operations that its closed form says, and its multiplications grow as the closed form says.

use crate::support::networks::{
    OUTPUTS_AND_LOSSES, inputs, network, relative_error, theta, weighted,
};
use crate::support::scalar_backprop::InputForm;
use nplus1::gradient::GradientConfig;
use nplus1::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, NodePerturbationConfig, Reuse, Scheme,
};
use nplus1::gradient::operation_counts::dense_formulas::{self, growth};
use nplus1::gradient::random_direction::{
    DirectionsConfig, Distribution, ForwardGradientConfig, PerturbedQuantity, SpsaConfig,
};
use nplus1::model::Network;
use nplus1::study::methods;
use nplus1::textbook::{Sample, Target, TextbookNetwork};

/// Hidden layers of networks with 1 to 5 weight layers.
const HIDDEN: [&[usize]; 6] = [&[], &[3], &[9], &[5, 4], &[4, 7, 5], &[4, 3, 5, 2]];
const FEATURES: usize = 6;
/// Targets of the rows of a regression.
static NUMBERS: [[f64; 3]; 3] = [[0.3, -1.2, 2.5], [-0.7, 0.1, 1.9], [1.4, 0.6, -0.8]];

fn difference(scheme: Scheme, reuse: Reuse, arithmetic: Arithmetic) -> GradientConfig {
    GradientConfig::Difference(DifferenceConfig {
        scheme,
        reuse,
        arithmetic,
        ..DifferenceConfig::TEXTBOOK
    })
}

fn full(scheme: Scheme) -> GradientConfig {
    difference(scheme, Reuse::Full, Arithmetic::Plain)
}

fn incremental() -> GradientConfig {
    difference(Scheme::Forward, Reuse::Incremental, Arithmetic::Plain)
}

fn node_perturbation(arithmetic: Arithmetic) -> GradientConfig {
    GradientConfig::NodePerturbation(NodePerturbationConfig {
        arithmetic,
        increment: None,
    })
}

/// Every method of the studies, and the variants that no study lists.
fn every_method() -> Vec<GradientConfig> {
    let directions = DirectionsConfig {
        count: 3,
        distribution: Distribution::Gaussian,
    };
    let forward_gradient = |perturbed| {
        GradientConfig::ForwardGradient(ForwardGradientConfig {
            directions,
            perturbed,
        })
    };
    let mut all: Vec<GradientConfig> = (methods::all().into_iter())
        .map(|method| method.gradient)
        .collect();
    all.extend([
        GradientConfig::ForwardMode(Reuse::Prefix),
        node_perturbation(Arithmetic::CancellationFree),
        forward_gradient(PerturbedQuantity::Weights),
        forward_gradient(PerturbedQuantity::Activations),
        GradientConfig::Spsa(SpsaConfig {
            directions,
            increment: None,
        }),
    ]);
    all
}

/// Visits networks of every depth and loss, with and without biases and class weights, and
/// mini-batches for them.
fn every_case(rows: &[usize], mut visit: impl FnMut(&Network, &[f64], &[Sample], &str)) {
    for hidden in HIDDEN {
        for outputs_and_loss in OUTPUTS_AND_LOSSES {
            let classes = if outputs_and_loss == OUTPUTS_AND_LOSSES[4] {
                2
            } else {
                3
            };
            for bias in [true, false] {
                let equal = network(FEATURES, hidden, bias, outputs_and_loss, 0.0);
                for network in [equal.clone(), weighted(equal)] {
                    let weights = &network.class_weights;
                    for &rows in rows {
                        let (inputs, labels) = inputs(InputForm::Numbers, rows, FEATURES, classes);
                        let batch: Vec<Sample> = inputs.into_iter().zip(labels).collect();
                        let case = format!(
                            "{hidden:?} {outputs_and_loss:?} bias {bias}, class weights {weights:?}, {rows} rows"
                        );
                        visit(&network, &theta(&network), &batch, &case);
                    }
                }
            }
        }
    }
}

/// Visits networks of every depth that predict numbers, with and without biases, and mini-batches
/// of three rows.
fn every_regression(mut visit: impl FnMut(&Network, &[f64], &[Sample<&'static [f64]>], &str)) {
    for hidden in HIDDEN {
        for bias in [true, false] {
            let network = network(FEATURES, hidden, bias, OUTPUTS_AND_LOSSES[1], 0.0);
            let (inputs, _) = inputs(InputForm::Numbers, 3, FEATURES, 3);
            let targets = NUMBERS.iter().map(|row| &row[..]);
            let batch: Vec<Sample<&'static [f64]>> = inputs.into_iter().zip(targets).collect();
            let case = format!("{hidden:?} numbers, bias {bias}");
            visit(&network, &theta(&network), &batch, &case);
        }
    }
}

/// Compares every closed form with the operations counted; returns the number of comparisons.
fn compare_counts(
    network: &Network,
    methods: &[GradientConfig],
    theta: &[f64],
    batch: &[Sample<impl Target>],
    case: &str,
) -> usize {
    let rows = batch.len() as u64;
    assert_eq!(
        dense_formulas::evaluation(network, rows),
        dense_formulas::counted_evaluation(network, theta, batch),
        "{case}"
    );
    for method in methods {
        let predicted = dense_formulas::gradient(network, method, rows);
        let counted = dense_formulas::counted(network, method, theta, batch);
        assert_eq!(predicted, counted, "{method:?} {case}");
        assert!(predicted.is_some(), "{method:?}");
    }
    methods.len()
}

#[test]
fn every_formula_equals_the_operations_counted_in_a_plain_implementation() {
    let methods = every_method();
    let mut cases = 0;
    every_case(&[1, 2, 3], |network, theta, batch, case| {
        cases += compare_counts(network, &methods, theta, batch, case);
    });
    assert_eq!(cases, 6 * 5 * 2 * 2 * 3 * methods.len());
}

#[test]
fn every_formula_equals_the_operations_counted_for_numbers_as_targets() {
    let methods = every_method();
    let mut cases = 0;
    every_regression(|network, theta, batch, case| {
        cases += compare_counts(network, &methods, theta, batch, case);
    });
    assert_eq!(cases, 6 * 2 * methods.len());
}

#[test]
fn class_weights_cost_one_factor_of_each_loss_change_or_error() {
    let equal = network(FEATURES, &[5], true, OUTPUTS_AND_LOSSES[0], 0.0);
    let (n, u, outputs, rows) = (equal.layout.len() as u64, 5 + 3, 3, 10);
    let class_weights = weighted(equal.clone());
    for method in every_method() {
        let tally = |network| dense_formulas::gradient(network, &method, rows).unwrap();
        let factors = match &method {
            GradientConfig::Difference(config) => match (config.reuse, config.scheme) {
                (Reuse::Incremental, _) => n,
                (_, Scheme::Forward) => n + 1,
                (_, Scheme::Central) => 2 * n,
            },
            GradientConfig::NodePerturbation(_) => u,
            GradientConfig::Spsa(config) => 2 * config.directions.count as u64,
            _ => 1 + outputs,
        };
        let mut expected = tally(&equal);
        expected.multiplications += factors * rows;
        assert_eq!(tally(&class_weights), expected, "{method:?}");
    }
}

#[test]
fn passes_and_products_are_counted_beside_operations() {
    let network = network(FEATURES, &[5], true, OUTPUTS_AND_LOSSES[0], 0.0);
    let (n, u) = (network.layout.len() as u64, 5 + 3);
    for method in methods::all() {
        let tally = dense_formulas::gradient(&network, &method.gradient, 10).unwrap();
        let found = (tally.evaluations, tally.jacobian_vector_products);
        let expected = match method.name() {
            "backprop" | "numeric-backprop" => (1, 0),
            "node-perturbation" => (u + 1, 0),
            "spsa" => (2, 0),
            "forward-gradient" => (1, 1),
            "forward-mode" => (1, n),
            "forward-difference" => (n + 1, 0),
            "central-difference" => (2 * n, 0),
            other => panic!("{other} is not in this table"),
        };
        assert_eq!(found, expected, "{}", method.label);
    }
}

/// A form's name, its gradient, and the largest relative error that it may have.
type PlainForm = (&'static str, Vec<f64>, f64);

/// Returns the gradient by each form of one value per parameter.
fn plain_forms(
    net: &TextbookNetwork,
    theta: &[f64],
    batch: &[Sample<impl Target>],
) -> Vec<PlainForm> {
    let (h, tiny) = (1e-6, 1e-12);
    vec![
        ("forward", net.forward_differences(theta, batch, h), 1e-4),
        ("central", net.central_differences(theta, batch, h), 1e-7),
        (
            "prefix",
            net.prefix_forward_differences(theta, batch, h),
            1e-4,
        ),
        (
            "prefix central",
            net.prefix_central_differences(theta, batch, h),
            1e-7,
        ),
        (
            "incremental",
            net.incremental_differences(theta, batch, h),
            1e-4,
        ),
        (
            "incremental central",
            net.incremental_central_differences(theta, batch, h),
            1e-7,
        ),
        ("node", net.node_perturbation(theta, batch, h), 1e-4),
        (
            "cancellation-free",
            net.cancellation_free_differences(theta, batch, tiny),
            1e-10,
        ),
        (
            "cancellation-free central",
            net.cancellation_free_central_differences(theta, batch, tiny),
            1e-10,
        ),
        (
            "cancellation-free node",
            net.cancellation_free_node_perturbation(theta, batch, tiny),
            1e-10,
        ),
        ("forward mode", net.forward_mode(theta, batch), 1e-13),
        (
            "prefix forward mode",
            net.prefix_forward_mode(theta, batch),
            1e-13,
        ),
        (
            "incremental forward mode",
            net.incremental_forward_mode(theta, batch),
            1e-13,
        ),
        (
            "numeric backprop",
            net.numeric_backprop(theta, batch, h).1,
            1e-4,
        ),
    ]
}

/// The errors are those of differences: h²-terms of central, h-terms of forward differences, and
/// round-off over h.
#[test]
fn every_plain_form_computes_the_gradient() {
    every_case(&[3], compare_forms);
    every_regression(compare_forms);
}

fn compare_forms(network: &Network, theta: &[f64], batch: &[Sample<impl Target>], case: &str) {
    let net = TextbookNetwork::from(network);
    let (loss, gradient) = net.gradient::<f64>(theta, batch);
    assert!(gradient.iter().any(|&g| g != 0.0), "{case}");
    for (form, found, tolerance) in plain_forms(&net, theta, batch) {
        let error = relative_error(&found, &gradient);
        assert!(error <= tolerance, "{form} {case}: {error:e}");
    }
    let (numeric, _) = net.numeric_backprop::<f64>(theta, batch, 1e-6);
    assert!((numeric - loss).abs() <= 1e-14 * loss.abs(), "{case}");
}

#[test]
fn every_plain_estimate_is_the_derivative_along_its_directions() {
    every_case(&[3], compare_estimates);
    every_regression(compare_estimates);
}

fn compare_estimates(network: &Network, theta: &[f64], batch: &[Sample<impl Target>], case: &str) {
    let net = TextbookNetwork::from(network);
    let (_, gradient) = net.gradient::<f64>(theta, batch);
    let directions = [1.0, 3.0].map(|frequency| {
        (0..theta.len())
            .map(|k| (frequency * k as f64).cos())
            .collect::<Vec<f64>>()
    });
    // (g·v)·v, averaged over the directions.
    let mut expected = vec![0.0; theta.len()];
    for v in &directions {
        let rate: f64 = gradient.iter().zip(v).map(|(g, v)| g * v).sum();
        for (sum, v) in expected.iter_mut().zip(v) {
            *sum += 0.5 * rate * v;
        }
    }
    let exact = net.forward_gradient(theta, batch, &directions);
    let error = relative_error(&exact, &expected);
    assert!(error <= 1e-12, "forward gradient {case}: {error:e}");
    let error = relative_error(&net.spsa(theta, batch, &directions, 1e-6), &expected);
    assert!(error <= 1e-6, "spsa {case}: {error:e}");
    // With one axis of the pre-activations as the only direction, δ of that unit remains.
    let units: usize = net.sizes[1..].iter().sum();
    let mut sum = vec![0.0; theta.len()];
    for unit in 0..units {
        let mut axis = vec![0.0; units];
        axis[unit] = 1.0;
        let part = net.activity_forward_gradient::<f64>(theta, batch, &[axis]);
        for (sum, part) in sum.iter_mut().zip(part) {
            *sum += part;
        }
    }
    let error = relative_error(&sum, &gradient);
    assert!(error <= 1e-13, "activities {case}: {error:e}");
}

/// Returns 784-w-…-w-10 with quadratic loss of sigmoid outputs.
fn digits(width: usize, depth: usize) -> Network {
    plain(&[&[784], &vec![width; depth][..], &[10]].concat())
}

fn plain(sizes: &[usize]) -> Network {
    let (output, loss) = OUTPUTS_AND_LOSSES[0];
    Network::new(sizes, true, output, loss, 0.0).unwrap()
}

fn multiplications(network: &Network, method: &GradientConfig, rows: u64) -> f64 {
    let tally = dense_formulas::gradient(network, method, rows).unwrap();
    tally.multiplications as f64
}

/// Returns the exponent of N in the multiplications between two networks.
fn exponent(networks: [&Network; 2], method: &GradientConfig, rows: u64) -> f64 {
    let [first, last] = networks.map(|network| {
        (
            (network.layout.len() as f64).ln(),
            multiplications(network, method, rows).ln(),
        )
    });
    (last.1 - first.1) / (last.0 - first.0)
}

#[test]
fn local_exponents_of_incremental_differences_fall_toward_their_limit() {
    // 784-w-w-10 from w/2 to w: inputs and outputs stay as they are.
    for (width, expected) in [(32, 1.90), (512, 1.52), (8192, 1.07)] {
        let networks = [width / 2, width].map(|width| digits(width, 2));
        let found = exponent([&networks[0], &networks[1]], &incremental(), 10);
        assert!((found - expected).abs() < 0.006, "{width}: {found}");
    }
    let ratio = |width| {
        let network = digits(width, 2);
        multiplications(&network, &incremental(), 10)
            / multiplications(&network, &GradientConfig::Backprop, 10)
    };
    // ((n_0 + 1)(1 + n_L) + 2n_L + 1)/(3 + 1/B).
    let limit = (785.0 * 11.0 + 21.0) / 3.1;
    assert!((ratio(1 << 22) / limit - 1.0).abs() < 1e-3, "{limit}");
    assert!(ratio(512) < 0.6 * limit);
    // With inputs and outputs that grow as well, the factor grows as N.
    let scaled = |scale: usize| plain(&[7 * scale, 3 * scale, 3 * scale, scale]);
    let found = exponent([&scaled(256), &scaled(257)], &incremental(), 10);
    assert!((found - 2.0).abs() < 0.02, "{found}");
}

#[test]
fn exponents_approach_their_limits_for_every_method_depth_and_family() {
    for depth in 0..=4 {
        for method in every_method() {
            for all in [false, true] {
                let mut degrees = vec![1; depth + 2];
                if !all {
                    (degrees[0], degrees[depth + 1]) = (0, 0);
                }
                let Some(limit) = growth::limit(&method, &degrees) else {
                    assert!(depth == 0 && !all);
                    continue;
                };
                // Small enough inputs and outputs that the largest power wins early, and sizes
                // whose tallies fit 64 bits.
                let network = |width: usize| {
                    let sizes: Vec<usize> = degrees
                        .iter()
                        .map(|&degree| if degree == 1 { width } else { 2 })
                        .collect();
                    plain(&sizes)
                };
                let networks = [1 << 11, 1 << 12].map(network);
                let found = exponent([&networks[0], &networks[1]], &method, 1);
                assert!(
                    (found - limit).abs() < 0.03,
                    "{method:?}, {depth} hidden, all {all}: {found} for {limit}"
                );
            }
        }
    }
}

#[test]
fn backprop_takes_two_to_three_forward_passes_and_one_over_the_batch() {
    let mut largest = 0.0_f64;
    for sizes in [
        &[784, 30, 10][..],
        &[784, 512, 512, 10],
        &[784, 512, 512, 512, 512, 512, 10],
        &[100, 1000, 1000, 1000, 1000, 1000, 100],
        &[4, 2000, 3],
        &[2000, 2000],
    ] {
        let network = plain(sizes);
        for rows in [1, 10, 128] {
            let backprop = multiplications(&network, &GradientConfig::Backprop, rows);
            let forward = dense_formulas::evaluation(&network, rows).multiplications as f64;
            let ratio = backprop / forward;
            let bound = 3.0 + 1.0 / rows as f64;
            assert!(2.0 < ratio && ratio < bound, "{sizes:?}, {rows}: {ratio}");
            largest = largest.max(ratio / bound);
        }
    }
    // The bound is reached: 784-30-10 is far from it.
    assert!(largest > 0.99, "{largest}");
    let ratio = |sizes: &[usize], rows| {
        let network = plain(sizes);
        multiplications(&network, &GradientConfig::Backprop, rows)
            / dense_formulas::evaluation(&network, rows).multiplications as f64
    };
    for (sizes, rows, expected) in [
        (&[784, 30, 10][..], 1, 3.02),
        (&[784, 30, 10], 10, 2.12),
        (&[784, 30, 10], 128, 2.02),
        (&[784, 512, 512, 10], 10, 2.50),
    ] {
        let found = ratio(sizes, rows);
        assert!((found - expected).abs() < 0.006, "{sizes:?}: {found}");
    }
}

#[test]
fn the_table_of_known_networks_is_reproduced() {
    // Ratios of multiplications for 1000 rows: backprop to forward pass; then full differences,
    // incremental differences and node perturbation to backprop.
    let table: [(&[usize], [f64; 4]); 4] = [
        (&[784, 30, 10], [2.02, 11_830.0, 10.3, 1.005]),
        (&[784, 100, 10], [2.02, 39_440.0, 10.3, 1.005]),
        (&[784, 30, 30, 10], [2.05, 12_070.0, 158.0, 1.19]),
        (&[784, 512, 512, 10], [2.40, 278_600.0, 1414.0, 2.64]),
    ];
    for (sizes, expected) in table {
        let network = plain(sizes);
        let backprop = multiplications(&network, &GradientConfig::Backprop, 1000);
        let forward = dense_formulas::evaluation(&network, 1000).multiplications as f64;
        let found = [
            backprop / forward,
            multiplications(&network, &full(Scheme::Forward), 1000) / backprop,
            multiplications(&network, &incremental(), 1000) / backprop,
            multiplications(&network, &node_perturbation(Arithmetic::Plain), 1000) / backprop,
        ];
        for (found, expected) in found.into_iter().zip(expected) {
            // The table has three or four digits.
            assert!(
                (found / expected - 1.0).abs() < 5e-3,
                "{sizes:?}: {found} for {expected}"
            );
        }
    }
}
