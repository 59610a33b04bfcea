//! Verdicts and error estimates on the standard test functions of optimization, at many points and
//! noises: no right gradient is called wrong (but for one known case), planted mistakes that can be
//! seen are named, and
//! estimates of errors hold.

use crate::support::standard_functions::{
    StandardFunction, broyden_tridiagonal, extended_rosenbrock, standard_functions,
};
use nplus1::finite_difference::{
    Differences, Jacobian, SparsityPattern, estimate, hessian_vector, jacobian, waiting,
};
use nplus1::gradient::Control;
use nplus1::gradient_check::ObjectiveCheck;
use nplus1::model::Function;
use nplus1::parallel::Workers;
use nplus1::{Verdict, check_gradient};

/// Points of each function.
const POINTS: u64 = 40;

/// The noises: relative sizes, and `None` for computation in single precision.
const NOISES: [Option<f64>; 5] = [Some(0.0), Some(1e-12), Some(1e-8), Some(1e-4), None];

/// A number in [0, 1) that depends on all bits of `state` and of `x`.
fn hash(mut state: u64, x: &[f64]) -> f64 {
    for x in x {
        state = (state ^ x.to_bits()).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state ^= state >> 29;
        state = state.wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 32;
    }
    (state >> 11) as f64 / (1u64 << 53) as f64
}

/// Points around the standard start, each element moved by up to half its size.
fn points(function: &StandardFunction) -> Vec<Vec<f64>> {
    let moved = |seed: u64| {
        let start = function.start.iter().enumerate();
        let move_one = |(i, x): (usize, &f64)| {
            x * (0.5 + hash(seed + 1, &[i as f64])) + 0.01 * hash(seed + 9, &[i as f64])
        };
        start.map(move_one).collect()
    };
    (0..POINTS).map(moved).collect()
}

/// The function with relative noise between −√3·size and √3·size: a deviation of `size`.
fn noisy(function: &StandardFunction, noise: Option<f64>) -> impl Fn(&[f64]) -> f64 + Sync + '_ {
    move |x: &[f64]| match noise {
        None => function.single_value(x),
        Some(0.0) => function.value(x),
        Some(size) => {
            let unit = 3f64.sqrt() * (2.0 * hash(7, x) - 1.0);
            function.value(x) * (1.0 + size * unit)
        }
    }
}

#[test]
fn no_right_gradient_is_called_wrong_and_visible_mistakes_are_named() {
    let workers = Workers::exactly(1).unwrap();
    let (mut checks, mut alarms) = (0, Vec::new());
    let (mut planted, mut named, mut called_right) = (0, 0, 0);
    for function in standard_functions() {
        for (point, theta) in points(&function).iter().enumerate() {
            let exact = function.gradient(theta);
            for noise in NOISES {
                let closure = Function::new(theta.len(), noisy(&function, noise));
                let check = ObjectiveCheck::new(&closure, theta, &exact, (&workers).into());
                let check = check.unwrap();
                let derivatives = check.derivatives().unwrap();
                checks += 1;
                if let Verdict::Wrong { worst, .. } = check.verdict(&derivatives) {
                    alarms.push((function.name, point, noise, worst));
                    continue;
                }
                // Mistakes above the visible size of their element.
                let at = point % theta.len();
                let other = (at + 1) % theta.len();
                let mut mistakes = Vec::new();
                let mut single = |value: f64| {
                    let mut wrong = exact.clone();
                    wrong[at] = value;
                    mistakes.push((wrong, vec![at]));
                };
                single(2.0 * exact[at]);
                single(-exact[at]);
                single(exact[at] + 2.1 * derivatives[at].bound + 1e-7 * exact[at].abs());
                let mut swapped = exact.clone();
                swapped.swap(at, other);
                mistakes.push((swapped, vec![at, other]));
                for (wrong, places) in mistakes {
                    let visible = |&i: &usize| {
                        (wrong[i] - exact[i]).abs()
                            > 2.0 * derivatives[i].bound + 4e-8 * wrong[i].abs().max(exact[i].abs())
                    };
                    if !places.iter().any(visible) {
                        continue;
                    }
                    planted += 1;
                    let check = ObjectiveCheck::new(&closure, theta, &wrong, (&workers).into());
                    match check.unwrap().verdict(&derivatives) {
                        Verdict::Wrong { elements, .. } => {
                            let seen = elements.iter().all(|e| places.contains(&e.index));
                            named += usize::from(seen);
                        }
                        Verdict::Right { .. } => called_right += 1,
                        Verdict::CannotTell { .. } => {}
                    }
                }
            }
        }
    }
    println!(
        "{checks} checks, {} alarms; {planted} mistakes, {named} named",
        alarms.len()
    );
    let mut places: Vec<_> = alarms
        .iter()
        .map(|(name, _, noise, _)| (name, noise))
        .collect();
    places.dedup();
    println!("{places:?}");
    assert!(checks >= 6000 && planted > 8_000, "{checks} {planted}");
    // Known: where a relative noise of 1e-4 grows with values that grow tenfold within the increment,
    // the noise at θ understates it (chebyquad). Elsewhere there is no alarm.
    let unknown = (alarms.iter()).filter(|alarm| (alarm.0, alarm.2) != ("chebyquad", Some(1e-4)));
    let unknown: Vec<_> = unknown.collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(
        alarms.len() * 1000 <= checks,
        "{} alarms: {alarms:?}",
        alarms.len()
    );
    assert!(
        named as f64 >= 0.995 * planted as f64,
        "{named} of {planted}"
    );
    assert_eq!(called_right, 0);
}

#[test]
fn estimates_of_errors_hold_and_are_not_idle() {
    let method = Differences {
        levels: 3,
        ..Differences::CENTRAL
    };
    let (mut elements, mut within, mut ratios) = (0, 0, Vec::new());
    for function in standard_functions() {
        for theta in points(&function).iter().take(10) {
            let value = |x: &[f64]| function.value(x);
            let found = estimate(method, value, theta, waiting(1), &Control::default()).unwrap();
            let exact = function.gradient(theta);
            let errors = found.errors.unwrap();
            for ((g, exact), estimate) in found.gradient.iter().zip(&exact).zip(&errors) {
                let error = (g - exact).abs();
                elements += 1;
                within += usize::from(error <= *estimate);
                if error > 0.0 {
                    ratios.push(estimate / error);
                }
            }
        }
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!("{within} of {elements} within the estimate; median ratio {median}");
    assert!(
        within as f64 >= 0.99 * f64::from(elements),
        "{within} of {elements}"
    );
    assert!(median <= 100.0, "{median}");
}

#[test]
fn directions_find_one_wrong_element_of_many_by_tens_of_evaluations() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let n = 100_000;
    let theta: Vec<f64> = (0..n).map(|i| (1.7 * i as f64).sin()).collect();
    let value = |x: &[f64]| -> f64 { extended_rosenbrock(x).iter().map(|r| r * r).sum() };
    let mut gradient = vec![0.0; n];
    for (pair, slopes) in theta.chunks_exact(2).zip(gradient.chunks_exact_mut(2)) {
        let bend = pair[1] - pair[0] * pair[0];
        slopes[0] = -2.0 * (1.0 - pair[0]) - 400.0 * pair[0] * bend;
        slopes[1] = 200.0 * bend;
    }
    let workers = Workers::exactly(2).unwrap();
    let calls = AtomicU64::new(0);
    let objective = Function::new(n, |x: &[f64]| {
        calls.fetch_add(1, Ordering::Relaxed);
        value(x)
    });
    let right = ObjectiveCheck::new(&objective, &theta, &gradient, (&workers).into()).unwrap();
    let found = right.directions(20).unwrap();
    assert!(
        found.agrees() && found.complete && found.wrong.is_empty(),
        "{found:?}"
    );
    assert!(
        found.miss_probability(1e-2) < 1e-12,
        "{}",
        found.miss_probability(1e-2)
    );
    for index in [0, 54_321, n - 1] {
        let mut wrong = gradient.clone();
        wrong[index] = 2.0 * wrong[index] + 1.0;
        let before = calls.load(Ordering::Relaxed);
        let check = ObjectiveCheck::new(&objective, &theta, &wrong, (&workers).into()).unwrap();
        let found = check.directions(20).unwrap();
        let places: Vec<usize> = found.wrong.iter().map(|element| element.index).collect();
        assert_eq!(places, [index]);
        assert!(found.complete && !found.agrees());
        let spent = calls.load(Ordering::Relaxed) - before;
        assert!(spent < 500, "{spent} evaluations");
    }
    // Three at once.
    let mut wrong = gradient.clone();
    for index in [5, 70_000, 99_000] {
        wrong[index] -= 30.0;
    }
    let check = ObjectiveCheck::new(&objective, &theta, &wrong, (&workers).into()).unwrap();
    let found = check.directions(20).unwrap();
    let places: Vec<usize> = found.wrong.iter().map(|element| element.index).collect();
    assert_eq!(places, [5, 70_000, 99_000]);
}

#[test]
fn jacobians_take_the_evaluations_of_a_gradient_and_patterns_fewer() {
    let control = Control::default();
    for function in standard_functions() {
        let theta = &points(&function)[3];
        let n = theta.len();
        let residuals = |x: &[f64]| function.residuals(x);
        let by = Jacobian::CENTRAL
            .dense(residuals, theta, waiting(2), &control)
            .unwrap();
        assert_eq!(by.evaluations, 2 * n as u64);
        let at = function.residuals(theta);
        let exact = function.gradient(theta);
        for (column, exact) in exact.iter().enumerate() {
            let products = (0..at.len()).map(|row| 2.0 * at[row] * by.jacobian[(row, column)]);
            let (found, scale) = products.fold((0.0, 0.0), |(sum, scale), p: f64| {
                (sum + p, scale + p.abs())
            });
            let allowed = 1e-5 * scale.max(exact.abs());
            assert!((found - exact).abs() <= allowed, "{}", function.name);
        }
        let forward = Jacobian::FORWARD
            .dense(residuals, theta, waiting(1), &control)
            .unwrap();
        assert_eq!(forward.evaluations, n as u64 + 1);
        assert_eq!(forward.outputs, Some(at));
    }
    let n = 10_000;
    let theta = vec![-1.0; n];
    let pattern = SparsityPattern::band(n, 1, 1);
    let tridiagonal = |x: &[f64]| broyden_tridiagonal(x);
    let method = Jacobian::FORWARD;
    let found = method
        .sparse(tridiagonal, &theta, &pattern, waiting(2), &control)
        .unwrap();
    assert_eq!(found.evaluations, 4);
    for i in 1..n - 1 {
        // 3 − 4x on the diagonal, −1 below, −2 above.
        for (column, exact) in [(i - 1, -1.0), (i, 7.0), (i + 1, -2.0)] {
            assert!((found.jacobian.get(i, column) - exact).abs() < 1e-6);
        }
    }
    let small: Vec<f64> = vec![0.3; 12];
    let pattern = SparsityPattern::band(12, 1, 1);
    let sparse = method
        .sparse(tridiagonal, &small, &pattern, waiting(1), &control)
        .unwrap();
    assert_eq!(
        sparse.jacobian.to_dense(),
        jacobian(tridiagonal, &small).unwrap()
    );
}

#[test]
fn the_product_with_the_hessian_agrees_with_differences_of_exact_gradients() {
    for function in standard_functions() {
        let theta = &points(&function)[5];
        let v: Vec<f64> = (0..theta.len()).map(|i| (1.0 + i as f64).sin()).collect();
        let gradient = |x: &[f64]| function.gradient(x);
        let product = hessian_vector(gradient, theta, &v).unwrap();
        // vᵀHw = wᵀHv.
        let w: Vec<f64> = (0..theta.len()).map(|i| (2.0 + i as f64).cos()).collect();
        let other = hessian_vector(gradient, theta, &w).unwrap();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let scale: f64 = product.iter().map(|p| p.abs()).sum::<f64>() + 1e-300;
        let apart = (dot(&product, &w) - dot(&other, &v)).abs();
        assert!(
            apart < 1e-4 * scale,
            "{}: {apart} of {scale}",
            function.name
        );
    }
    assert!(hessian_vector(|_: &[f64]| vec![1.0], &[1.0, 2.0], &[1.0, 0.0]).is_err());
}

#[test]
fn a_constant_offset_or_scale_changes_no_verdict() {
    let f = |x: &[f64]| 1e6 + 1e-3 * x[0].sin() * x[1];
    let theta: [f64; 2] = [0.3, 2.0];
    let exact = [1e-3 * theta[0].cos() * theta[1], 1e-3 * theta[0].sin()];
    let verdict = check_gradient(f, &exact, &theta).unwrap();
    assert!(!matches!(verdict, Verdict::Wrong { .. }), "{verdict}");
    let verdict = check_gradient(f, &[-exact[0], exact[1]], &theta).unwrap();
    assert!(matches!(verdict, Verdict::Wrong { worst, .. } if worst.index == 0));
}
