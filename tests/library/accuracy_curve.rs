//! `check` predicts the error of a finite difference: the best increment within a factor 2 and the
//! error there within a factor 3 of the measured ones, on five networks in f32 and f64.

use std::sync::Arc;

use crate::support::check_problems::{Problem, mnist_30, random_problem, reference_problems};
use crate::support::networks::OUTPUTS_AND_LOSSES;
use nplus1::gradient::finite_difference::{Arithmetic, Increment, Reuse, Summation};
use nplus1::gradient::{Control, GradientConfig};
use nplus1::gradient_check::{CheckedMethod, Minimum, Outcome, methods};
use nplus1::model::Parameters;
use nplus1::numeric::Precision;
use nplus1::parallel::Workers;

/// The range in which the best increment is searched, in quarters of a decade.
const RANGE: [f64; 2] = [1e-14, 1.0];

/// Returns networks with one or two hidden layers, every loss, with and without l2, and 7 to 16
/// rows.
fn networks() -> Vec<Problem> {
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

/// Returns plain differences by whole passes with both summations, and incremental ones in both
/// arithmetics.
fn quotients() -> Vec<CheckedMethod> {
    let summations = [Summation::Differences, Summation::Losses];
    let mut selected: Vec<CheckedMethod> = Vec::new();
    for method in summations
        .into_iter()
        .flat_map(|summation| methods(Increment::Auto, summation))
    {
        let is_wanted = method
            .gradient
            .difference()
            .is_some_and(|config| config.reuse != Reuse::Prefix);
        if is_wanted && !selected.contains(&method) {
            selected.push(method);
        }
    }
    selected
}

/// Measures the pairs (increment, relative error) of a method over the range.
fn measure(problem: &Problem, method: &CheckedMethod, pool: &Arc<Workers>) -> Vec<(f64, f64)> {
    let subject = problem.subject(pool);
    let GradientConfig::Difference(config) = method.gradient else {
        panic!("a difference");
    };
    let mut points = Vec::new();
    for quarter in 0..=56 {
        let h = RANGE[1] * 10f64.powf(-f64::from(quarter) / 4.0);
        let mut config = config;
        config.increment = Increment::Absolute(h);
        let method = CheckedMethod {
            gradient: GradientConfig::Difference(config),
            ..*method
        };
        match subject.run(&method, &Control::default()).unwrap() {
            Outcome::Compared(found) => points.push((h, found.whole.relative_error)),
            Outcome::Lost(_) => {
                let predicted = subject.predict(&method, &[config.increment]);
                assert_eq!(
                    predicted,
                    [None],
                    "{h:e} is lost, but an error is predicted"
                );
            }
        }
    }
    points
}

#[test]
fn slow_the_best_increment_is_predicted_within_a_factor_of_2_and_the_error_there_within_3() {
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let (mut seen, mut wrong) = (0, Vec::new());
    for problem in networks() {
        let subject = problem.subject(&pool);
        for method in quotients() {
            let config = *method.gradient.difference().unwrap();
            let large = problem.network.layout.len() > 10_000;
            if large && config.reuse == Reuse::Full {
                continue;
            }
            let points = measure(&problem, &method, &pool);
            let measured = Minimum::of(&points, config.arithmetic).unwrap();
            let predicted = subject
                .predict_minimum(&method, RANGE[0], RANGE[1])
                .unwrap();
            let of = |h: Option<f64>| h.map_or("no V".to_owned(), |h| format!("{h:.1e}"));
            let line = format!(
                "{:42} {:18} {:11} {:17} {:11} {}: best h {} predicted {}, floor {:.1e} predicted {:.1e}",
                problem.name,
                config.scheme.name(),
                config.reuse.name(),
                config.arithmetic.name(),
                config.summation.name(),
                method.precision.name(),
                of(measured.increment),
                of(predicted.increment),
                measured.floor,
                predicted.floor,
            );
            println!("{line}");
            let best = match (measured.increment, predicted.increment) {
                (Some(measured), Some(predicted)) => predicted / measured,
                (None, None) => 1.0,
                _ => f64::NAN,
            };
            let floor = measured.floor / predicted.floor;
            let within = |ratio: f64, factor: f64| 1.0 / factor <= ratio && ratio <= factor;
            if !(within(best, 2.0) && within(floor, 3.0)) {
                wrong.push(line);
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(seen, 4 * 16 + 8);
}

/// This tests a point of the curve beside its minimum, where neither round-off nor the fourth
/// derivative matters.
#[test]
fn where_truncation_dominates_the_error_is_predicted_to_1_percent() {
    let pool = Arc::new(Workers::exactly(2).unwrap());
    for problem in networks() {
        let subject = problem.subject(&pool);
        for method in quotients() {
            let config = *method.gradient.difference().unwrap();
            if config.reuse != Reuse::Incremental || method.precision == Precision::F32 {
                continue;
            }
            // Two decades above the increments at which round-off of f64 matters.
            let increment = Increment::Absolute(1e-3);
            let mut config = config;
            config.increment = increment;
            let method = CheckedMethod {
                gradient: GradientConfig::Difference(config),
                ..method
            };
            let predicted = subject.predict(&method, &[increment])[0].unwrap();
            let Outcome::Compared(found) = subject.run(&method, &Control::default()).unwrap()
            else {
                panic!("an incremental increment is never lost");
            };
            let ratio = found.whole.relative_error / predicted;
            assert!(
                (ratio - 1.0).abs() < 0.01,
                "{} {method:?}: {ratio}",
                problem.name
            );
        }
    }
}

/// Compares with differences of exact gradients at θ ± h·eᵢ, (g₊ − g₋)/2h and (g₊ − 2g + g₋)/h²,
/// whose errors are h² times a derivative two orders higher, and u/h or u/h².
#[test]
fn second_and_third_derivatives_are_the_differences_of_exact_gradients() {
    let pool = Arc::new(Workers::exactly(1).unwrap());
    for output_index in 0..OUTPUTS_AND_LOSSES.len() {
        for hidden in [&[] as &[usize], &[3], &[3, 4]] {
            let classes = if output_index == 4 { 2 } else { 3 };
            let problem = random_problem(3, hidden, output_index, classes, 4, (1.0, 1.0), 0.1, 5);
            let subject = problem.subject(&pool);
            let derivatives = subject.derivatives(Precision::F64).clone();
            let gradient = subject.gradient().flat();
            let h = 1e-3;
            for (index, &g) in gradient.iter().enumerate() {
                let partial = |increment: f64| {
                    let mut flat = problem.theta.flat().to_vec();
                    flat[index] += increment;
                    let theta = Parameters::from_flat(Arc::clone(problem.theta.layout()), flat);
                    problem.subject_at(&theta, &pool).gradient().flat()[index]
                };
                let (above, below) = (partial(h), partial(-h));
                let second = (above - below) / (2.0 * h);
                let third = (above - 2.0 * g + below) / (h * h);
                let close = |found: f64, expected: f64| {
                    (found - expected).abs() < 1e-5 * (1.0 + expected.abs())
                };
                let name = format!("{} parameter {index}", problem.name);
                assert!((derivatives.first[index] - g).abs() < 1e-14, "{name}");
                assert!(close(derivatives.second[index], second), "{name}: {second}");
                assert!(close(derivatives.third[index], third), "{name}: {third}");
            }
            assert!(derivatives.second.iter().any(|&second| second.abs() > 0.01));
            assert!(
                output_index != 0 || derivatives.third.iter().any(|&third| third.abs() > 0.001)
            );
        }
    }
}

/// Without cancellation the error falls as long as h falls; only the error at the smallest h is
/// reported.
#[test]
fn without_cancellation_there_is_no_best_increment() {
    let points = [(1e-1, 1e-2), (1e-2, 1e-3), (1e-3, 2e-3)];
    let plain = Minimum::of(&points, Arithmetic::Plain).unwrap();
    assert_eq!((plain.increment, plain.floor), (Some(1e-2), 1e-3));
    let free = Minimum::of(&points, Arithmetic::CancellationFree).unwrap();
    assert_eq!((free.increment, free.floor), (None, 2e-3));
    assert_eq!(Minimum::of(&[], Arithmetic::Plain), None);
}
