//! What the gradient check sees: its expected round-off is the observed one, it raises no alarm on
//! hard networks, and it sees small errors. `just check-power` prints the table of
//! docs/design/gradient-check.md.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::check_problems::{Problem, mnist_30, random_problem, reference_problems};
use crate::support::networks::OUTPUTS_AND_LOSSES;
use nplus1::data::Features;
use nplus1::gradient::finite_difference::{Arithmetic, Increment, Reuse, Scheme, Summation};
use nplus1::gradient::{Control, GradientConfig};
use nplus1::gradient_check::{
    CheckedMethod, GradientComparison, Judgment, Outcome, adaptive_methods, methods,
};
use nplus1::model::Parameters;
use nplus1::numeric::Precision;
use nplus1::numeric::output_loss::OutputLoss;
use nplus1::parallel::Workers;

fn pool() -> Arc<Workers> {
    Arc::new(Workers::exactly(2).unwrap())
}

/// Returns the comparison of a method's gradient, unless its increment is lost.
fn compare(
    problem: &Problem,
    pool: &Arc<Workers>,
    method: &CheckedMethod,
) -> Option<GradientComparison> {
    match problem
        .subject(pool)
        .run(method, &Control::default())
        .unwrap()
    {
        Outcome::Compared(found) => Some(found),
        Outcome::Lost(_) => None,
    }
}

fn describe(method: &CheckedMethod) -> String {
    let precision = method.precision.name();
    match method.gradient.difference() {
        None => format!("{} {precision}", method.gradient.method()),
        Some(config) => format!(
            "{} {} {} {} {} {:?} {precision}",
            config.scheme.name(),
            config.reuse.name(),
            config.arithmetic.name(),
            config.summation.name(),
            config.extrapolation(),
            config.increment,
        ),
    }
}

/// Returns 60 ordinary networks: all outputs and losses, no to three hidden layers, 1 to 40 rows.
fn ordinary_networks() -> Vec<Problem> {
    let shapes: [&[usize]; 4] = [&[], &[8], &[10, 6], &[5, 7, 4]];
    (0..60)
        .map(|seed: usize| {
            let output = seed % 5;
            let classes = if output == 4 { 2 } else { 2 + seed % 3 };
            let scales = (
                0.5 + 0.1 * (seed % 11) as f64,
                0.4 + 0.2 * (seed % 7) as f64,
            );
            let l2 = if seed % 4 == 1 { 1e-2 } else { 0.0 };
            let rows = [1, 4, 10, 40][seed / 5 % 4];
            let hidden = shapes[seed / 20 + seed % 2];
            let inputs = 3 + seed * 7 % 23;
            random_problem(
                inputs,
                hidden,
                output,
                classes,
                rows,
                scales,
                l2,
                100 + seed as u64,
            )
        })
        .collect()
}

/// Returns the methods whose round-off is predicted: backprop in f32, and plain differences at an
/// increment where round-off exceeds truncation by far.
fn predicted_methods() -> Vec<CheckedMethod> {
    let mut selected = Vec::new();
    for summation in [Summation::Differences, Summation::Losses] {
        for method in methods(Increment::Absolute(2f64.powi(-14)), summation) {
            let wanted = match &method.gradient {
                GradientConfig::Backprop => true,
                GradientConfig::Difference(config) => {
                    config.arithmetic == Arithmetic::Plain
                        && config.reuse != Reuse::Prefix
                        && config.scheme == Scheme::Central
                        && method.precision == Precision::F32
                }
                _ => false,
            };
            if wanted && !selected.contains(&method) {
                selected.push(method);
            }
        }
    }
    selected
}

#[test]
fn the_expected_round_off_is_within_a_factor_of_2_of_the_observed_on_60_networks() {
    let pool = pool();
    // The logarithms of observed ÷ expected of each method.
    let mut ratios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for problem in ordinary_networks() {
        for method in predicted_methods() {
            let Some(found) = compare(&problem, &pool, &method) else {
                continue;
            };
            let ratio = found.whole.relative_error / found.whole.expected;
            println!("{} {}: {ratio:.2}", problem.name, describe(&method));
            ratios.entry(describe(&method)).or_default().push(ratio);
        }
    }
    for (method, ratios) in ratios {
        let squares: f64 = ratios.iter().map(|ratio| ratio * ratio).sum();
        let rms = (squares / ratios.len() as f64).sqrt();
        println!(
            "{method}: rms of observed ÷ expected {rms:.2} on {}",
            ratios.len()
        );
        assert!((0.5..=2.0).contains(&rms), "{method}: {rms}");
    }
}

/// Returns 60 networks on which bounds are hard: saturated, with huge or tiny weights and inputs,
/// deep, with large margins, with a large l2 term, and with rows or units that are equal.
fn adversarial_networks() -> Vec<Problem> {
    let mut problems = Vec::new();
    for output in 0..OUTPUTS_AND_LOSSES.len() {
        let classes = if output == 4 { 2 } else { 3 };
        let make = |hidden: &[usize], scales, l2, name: &str| {
            let seed = 40 + output as u64;
            let mut problem = random_problem(6, hidden, output, classes, 8, scales, l2, seed);
            problem.name = format!("{} {name}", problem.name);
            problem
        };
        problems.push(make(&[5], (100.0, 1.0), 0.0, "weights × 100"));
        problems.push(make(&[5, 4], (1000.0, 1.0), 0.0, "weights × 1,000"));
        problems.push(make(&[5], (1e-20, 1.0), 0.0, "weights × 1e-20"));
        problems.push(make(&[5], (1.0, 1e18), 0.0, "inputs × 1e18"));
        problems.push(make(
            &[5],
            (1e-18, 1e18),
            0.0,
            "inputs × 1e18, weights × 1e-18",
        ));
        problems.push(make(&[5], (1.0, 1e-310), 0.0, "inputs × 1e-310"));
        problems.push(make(&[4; 10], (1.0, 1.0), 0.0, "10 layers"));
        problems.push(make(&[5], (1.0, 1.0), 1e3, "l2 = 1e3"));
        for (margin, name) in [(50.0, "margins 50 right"), (-50.0, "margins 50 wrong")] {
            let mut problem = make(&[5], (0.5, 1.0), 0.0, name);
            let sizes = problem.network.layout.sizes().to_vec();
            let biases = problem.network.layout.biases(sizes.len() - 2);
            // All rows of class 0, whose output is far above the others or below them.
            let dataset = Arc::get_mut(&mut problem.dataset).unwrap();
            dataset.labels.fill(if output == 4 { 1 } else { 0 });
            if let Some(bias) = problem.theta.flat_mut()[biases].first_mut() {
                *bias += margin;
            }
            problems.push(problem);
        }
        let mut problem = make(&[16], (1.0, 1.0), 0.0, "equal units");
        for layer in 0..2 {
            let range = problem.network.layout.weights(layer);
            let first = problem.theta.flat()[range.start];
            problem.theta.flat_mut()[range].fill(first);
        }
        problems.push(problem);
        let mut problem = random_problem(
            6,
            &[5],
            output,
            classes,
            200,
            (1.0, 1.0),
            0.0,
            40 + output as u64,
        );
        problem.name.push_str(" equal rows");
        let dataset = Arc::get_mut(&mut problem.dataset).unwrap();
        dataset.labels.fill(1);
        let Features::Reals(features) = &mut dataset.features else {
            panic!("random inputs are numbers");
        };
        let first = features.row(0).to_owned();
        features
            .outer_iter_mut()
            .for_each(|mut row| row.assign(&first));
        problems.push(problem);
    }
    problems
}

/// Tests every method at the increments of its rule and at others, and a gradient in f32 by a
/// program that sums in other orders and subtracts where this one does not.
#[test]
fn slow_no_adversarial_network_raises_an_alarm() {
    let pool = pool();
    let increments = [
        Increment::Auto,
        Increment::Absolute(1e-2),
        Increment::Absolute(1e-6),
    ];
    let (mut alarms, mut seen, mut largest) = (Vec::new(), 0, 0f64);
    let problems = adversarial_networks();
    assert_eq!(problems.len(), 60);
    for problem in problems.iter().chain(&ordinary_networks()) {
        let subject = problem.subject(&pool);
        let mut all: Vec<CheckedMethod> = Vec::new();
        for increment in increments {
            all.extend(methods(increment, Summation::Differences));
            all.extend(methods(increment, Summation::Losses));
            all.extend(adaptive_methods(increment));
        }
        let mut judge = |name: String, found: &GradientComparison| {
            seen += 1;
            let bounded = name.starts_with("backprop") || name.starts_with("another");
            if bounded {
                largest = largest.max(found.whole.deviations);
            }
            if found.whole.deviations > 5.0 {
                println!(
                    "{}, {name}: {:.1} deviations",
                    problem.name, found.whole.deviations
                );
            }
            if found.is_wrong() {
                alarms.push(format!("{}, {name}: {:?}", problem.name, found.whole));
            }
        };
        for method in &all {
            if let Outcome::Compared(found) = subject.run(method, &Control::default()).unwrap() {
                judge(describe(method), &found);
            }
        }
        for order in [Order::Forward, Order::Backward, Order::Pairwise] {
            if let Some(gradient) = foreign_gradient(problem, order) {
                let found = subject.compare_external(&gradient, Precision::F32);
                judge(format!("another program, {order:?}"), &found);
            }
        }
    }
    println!("{seen} gradients; backprop in f32 at most {largest:.1} deviations off");
    assert!(largest < 8.0, "{largest}");
    assert!(alarms.is_empty(), "{} alarms: {alarms:#?}", alarms.len());
    assert!(seen > 10_000, "{seen}");
}

/// The order in which the other program sums.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Forward,
    Backward,
    Pairwise,
}

impl Order {
    fn sum(self, terms: &[f32]) -> f32 {
        match self {
            Self::Forward => terms.iter().fold(0.0, |sum, term| sum + term),
            Self::Backward => terms.iter().rev().fold(0.0, |sum, term| sum + term),
            Self::Pairwise if terms.len() > 2 => {
                let (left, right) = terms.split_at(terms.len() / 2);
                self.sum(left) + self.sum(right)
            }
            Self::Pairwise => terms.iter().sum(),
        }
    }
}

/// Computes the gradient in f32 as a program of a few lines does: σ′ = a·(1 − a), δ = a − y. `None`
/// where such a program overflows.
fn foreign_gradient(problem: &Problem, order: Order) -> Option<Parameters<f64>> {
    let network = &problem.network;
    let layout = &network.layout;
    let layers = layout.layers();
    let theta: Vec<f32> = problem.theta.flat().iter().map(|&x| x as f32).collect();
    let Features::Reals(features) = &problem.dataset.features else {
        panic!("random inputs are numbers");
    };
    let fan_in = |layer: usize| layout.sizes()[layer];
    let weight = |layer: usize, j: usize, i: usize| {
        theta[layout.weights(layer).start + j * fan_in(layer) + i]
    };
    let mut products: Vec<Vec<f32>> = vec![Vec::new(); theta.len()];
    for &row in &problem.rows {
        let label = usize::from(problem.dataset.labels[row as usize]);
        let mut a = vec![
            features
                .row(row as usize)
                .iter()
                .map(|&x| x as f32)
                .collect::<Vec<_>>(),
        ];
        for layer in 0..layers {
            let z: Vec<f32> = (0..fan_in(layer + 1))
                .map(|j| {
                    let mut terms: Vec<f32> = (0..fan_in(layer))
                        .map(|i| weight(layer, j, i) * a[layer][i])
                        .collect();
                    terms.extend(theta[layout.biases(layer)].get(j));
                    order.sum(&terms)
                })
                .collect();
            let sigmoid = |z: &f32| 1.0 / (1.0 + (-z).exp());
            a.push(if layer + 1 == layers {
                z
            } else {
                z.iter().map(sigmoid).collect()
            });
        }
        let z = &a[layers];
        let target = |j: usize| f32::from(u8::from(j == label));
        let sigmoid = |z: f32| 1.0 / (1.0 + (-z).exp());
        let largest = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> = z.iter().map(|z| (z - largest).exp()).collect();
        let mut delta: Vec<f32> = (0..z.len())
            .map(|j| match network.output_loss() {
                OutputLoss::SigmoidQuadratic => {
                    let y = sigmoid(z[j]);
                    (y - target(j)) * (y * (1.0 - y))
                }
                OutputLoss::LinearQuadratic => z[j] - target(j),
                OutputLoss::SigmoidCrossEntropy => sigmoid(z[j]) - target(j),
                OutputLoss::SoftmaxCrossEntropy => powers[j] / order.sum(&powers) - target(j),
                OutputLoss::Logistic if label == 1 => -sigmoid(-z[j]),
                OutputLoss::Logistic => sigmoid(z[j]),
            })
            .collect();
        for layer in (0..layers).rev() {
            for (j, delta) in delta.iter().enumerate() {
                for (i, a) in a[layer].iter().enumerate() {
                    products[layout.weights(layer).start + j * fan_in(layer) + i].push(delta * a);
                }
                if layout.has_bias() {
                    products[layout.biases(layer).start + j].push(*delta);
                }
            }
            if layer > 0 {
                delta = (0..fan_in(layer))
                    .map(|i| {
                        let terms: Vec<f32> = delta
                            .iter()
                            .enumerate()
                            .map(|(j, d)| d * weight(layer, j, i))
                            .collect();
                        order.sum(&terms) * (a[layer][i] * (1.0 - a[layer][i]))
                    })
                    .collect();
            }
        }
    }
    let mut gradient = Vec::new();
    for (index, products) in products.iter().enumerate() {
        let mean = order.sum(products) / problem.rows.len() as f32;
        let is_weight = (0..layers).any(|layer| layout.weights(layer).contains(&index));
        let penalty = if is_weight {
            network.l2 as f32 * theta[index]
        } else {
            0.0
        };
        gradient.push(f64::from(mean + penalty));
    }
    let finite = gradient.iter().all(|g| g.is_finite());
    finite.then(|| Parameters::from_flat(Arc::clone(problem.theta.layout()), gradient))
}

/// Returns the five networks of the table.
fn table_networks() -> Vec<Problem> {
    let digits = "64-10-10 quadratic on the first 8 digits";
    let digits = reference_problems()
        .into_iter()
        .find(|case| case.name == digits);
    vec![
        mnist_30(10),
        digits.unwrap(),
        random_problem(6, &[5, 4], 0, 3, 7, (1.0, 1.0), 1e-3, 5),
        random_problem(8, &[16, 16], 3, 4, 16, (1.0, 1.0), 0.0, 5),
        random_problem(20, &[8], 4, 2, 16, (1.0, 1.0), 0.0, 5),
    ]
}

/// Prints the relative error of the whole gradient that each method's bounds allow: a larger one is
/// seen for certain.
#[test]
fn slow_the_table_of_power_has_no_alarm_and_backprop_shows_errors_of_3e_5() {
    let pool = pool();
    let mut table: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for problem in table_networks() {
        let large = problem.network.layout.len() > 10_000;
        for method in methods(Increment::Auto, Summation::Differences) {
            if large
                && method
                    .reuse()
                    .is_some_and(|reuse| reuse != Reuse::Incremental)
            {
                continue;
            }
            let Some(found) = compare(&problem, &pool, &method) else {
                continue;
            };
            let name = describe(&method);
            assert!(
                !found.is_wrong(),
                "{}, {name}: {:?}",
                problem.name,
                found.whole
            );
            let limit = match (&method.gradient, method.precision) {
                (GradientConfig::Backprop, _) => 3e-5,
                // Plain differences in f32 may be too inaccurate for a verdict.
                (_, Precision::F32) => f64::INFINITY,
                (_, Precision::F64) => 1e-3,
            };
            let allowed = found.whole.allowed;
            assert!(allowed < limit, "{}, {name}: {allowed:e}", problem.name);
            let judgment = if allowed <= 0.1 {
                Judgment::Right
            } else {
                Judgment::CannotTell
            };
            assert_eq!(found.judgment(), judgment, "{}, {name}", problem.name);
            table.entry(name).or_default().push(found.whole.allowed);
        }
    }
    for (method, allowed) in table {
        let cells: Vec<String> = allowed.iter().map(|error| format!("{error:.1e}")).collect();
        println!("| {method} | {} |", cells.join(" | "));
    }
}
