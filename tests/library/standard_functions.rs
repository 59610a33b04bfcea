//! Verdicts and error estimates on the standard test functions of optimization, at many points and
//! noises: no right gradient is called wrong, planted mistakes that can be seen are named, what can be
//! seen is near what the best central difference shows, and estimates of errors hold.
//!
//! The thresholds were derived, and looked at on points 0 to 39 of each function; these tests use
//! others.

use std::ops::Range;

use crate::support::standard_functions::{
    StandardFunction, broyden_tridiagonal, extended_rosenbrock, standard_functions,
};
use nplus1::finite_difference::{
    Differences, GradientEstimate, Jacobian, Scheme, SparsityPattern, estimate, hessian_vector,
    jacobian, waiting,
};
use nplus1::gradient::Control;
use nplus1::gradient::finite_difference::Increment;
use nplus1::gradient::finite_difference::bounded::FALSE_ALARM;
use nplus1::gradient_check::ObjectiveCheck;
use nplus1::model::Function;
use nplus1::numeric::statistics::t_quantile;
use nplus1::parallel::Workers;
use nplus1::{Verdict, check_gradient};

/// Points of each function: with 31 functions and 5 noises 10,075 checks by central differences, and as
/// many by one-sided ones.
const POINTS: u64 = 65;
/// The number of the first point.
const FIRST_POINT: u64 = 2000;

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

/// The points of the tests.
fn points(function: &StandardFunction) -> Vec<Vec<f64>> {
    points_of(function, FIRST_POINT..FIRST_POINT + POINTS)
}

/// Points around the standard start, each element moved by up to half its size.
fn points_of(function: &StandardFunction, numbers: Range<u64>) -> Vec<Vec<f64>> {
    let moved = |seed: u64| {
        let start = function.start.iter().enumerate();
        let move_one = |(i, x): (usize, &f64)| {
            x * (0.5 + hash(seed + 1, &[i as f64])) + 0.01 * hash(seed + 9, &[i as f64])
        };
        start.map(move_one).collect()
    };
    numbers.map(moved).collect()
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

/// The number of mistakes planted, and what became of them.
#[derive(Debug, Default)]
struct Planted {
    mistakes: usize,
    named: usize,
    called_right: usize,
}

impl Planted {
    /// Plants a factor 2, a sign, one error of 1.01 times the visible size, and a swap; judges those
    /// that are visible.
    fn plant(
        &mut self,
        check: impl Fn(&[f64]) -> Verdict,
        exact: &[f64],
        visible: &[f64],
        at: usize,
    ) {
        let other = (at + 1) % exact.len();
        let mut mistakes = Vec::new();
        for value in [
            2.0 * exact[at],
            -exact[at],
            exact[at] + 1.01 * visible[at],
            exact[at] - 1.01 * visible[at],
        ] {
            let mut wrong = exact.to_vec();
            wrong[at] = value;
            mistakes.push((wrong, vec![at]));
        }
        let mut swapped = exact.to_vec();
        swapped.swap(at, other);
        mistakes.push((swapped, vec![at, other]));
        for (wrong, places) in mistakes {
            let seen = |&i: &usize| (wrong[i] - exact[i]).abs() > visible[i];
            if !places.iter().any(seen) {
                continue;
            }
            self.mistakes += 1;
            match check(&wrong) {
                Verdict::Wrong { elements, .. } => {
                    let named = elements.iter().all(|e| places.contains(&e.index));
                    self.named += usize::from(named);
                }
                Verdict::Right { .. } => self.called_right += 1,
                Verdict::CannotTell { .. } => {}
            }
        }
    }
}

/// Returns the size of the mistake that a central difference at the best h shows: truncation by the
/// exact third derivative, and the noise of the two values, of relative size `noise`, within which
/// all but one in 10⁵ mistakes go beyond a bound that fails once in a million checks of N elements. h is
/// at most half of max(1, |θ|), as far as the check goes.
fn best_central(function: &StandardFunction, theta: &[f64], index: usize, noise: f64) -> f64 {
    let scale = theta[index].abs().max(1.0);
    let moved = |distance: f64| {
        let mut moved = theta.to_vec();
        moved[index] += distance;
        moved
    };
    let slope = |distance: f64| function.gradient(&moved(distance))[index];
    let step = 1e-4 * scale;
    let third = (slope(step) - 2.0 * slope(0.0) + slope(-step)).abs() / (step * step);
    let deviations = t_quantile(1.0 - FALSE_ALARM / theta.len() as f64, 300) + 4.265;
    let at = |halvings: i32| {
        let h = scale * 0.5f64.powi(halvings);
        let values = function.value(&moved(h)).hypot(function.value(&moved(-h)));
        third * h * h / 6.0 + deviations * noise * values / (2.0 * h)
    };
    (1..60).map(at).fold(f64::INFINITY, f64::min)
}

/// Returns the root mean square of the relative error of values in single precision near `theta`.
fn single_noise(function: &StandardFunction, theta: &[f64]) -> f64 {
    let mut squares = 0.0;
    for seed in 0..40 {
        let moved = |(i, x): (usize, &f64)| x + 1e-3 * x * (hash(seed, &[i as f64]) - 0.5);
        let x: Vec<f64> = theta.iter().enumerate().map(moved).collect();
        let exact = function.value(&x);
        squares += ((function.single_value(&x) - exact) / exact).powi(2);
    }
    (squares / 40.0).sqrt().max(2e-8)
}

/// Returns the share of `ratios` up to 10.
fn within_ten(ratios: &[f64]) -> f64 {
    ratios.iter().filter(|&&ratio| ratio <= 10.0).count() as f64 / ratios.len() as f64
}

#[test]
fn slow_no_right_gradient_is_called_wrong_and_visible_mistakes_are_named() {
    let workers = Workers::exactly(1).unwrap();
    let (mut checks, mut alarms, mut told) = (0, Vec::new(), 0);
    let mut planted = Planted::default();
    let mut ratios = vec![Vec::new(); NOISES.len()];
    for function in standard_functions() {
        for (point, theta) in points(&function).iter().enumerate() {
            let exact = function.gradient(theta);
            let single = single_noise(&function, theta);
            for (noise, ratios) in NOISES.into_iter().zip(&mut ratios) {
                let closure = Function::new(theta.len(), noisy(&function, noise));
                let check = ObjectiveCheck::new(&closure, theta, &exact, (&workers).into());
                let check = check.unwrap();
                let one_sided = check.one_sided_derivatives().unwrap();
                checks += 1;
                if let Verdict::Wrong { worst, .. } = check.verdict(&one_sided) {
                    alarms.push((function.name, point, noise, worst));
                }
                let derivatives = check.derivatives().unwrap();
                checks += 1;
                match check.verdict(&derivatives) {
                    Verdict::Wrong { worst, .. } => {
                        alarms.push((function.name, point, noise, worst));
                        continue;
                    }
                    Verdict::Right { .. } => told += 1,
                    Verdict::CannotTell { .. } => {}
                }
                // What is allowed for the gradient's own round-off counts on either side.
                let allowed = |i: usize| 1.2e-10 * exact[i].abs();
                let visible: Vec<f64> = (derivatives.iter().enumerate())
                    .map(|(i, derivative)| derivative.visible + allowed(i))
                    .collect();
                let verdict = |wrong: &[f64]| {
                    let check = ObjectiveCheck::new(&closure, theta, wrong, (&workers).into());
                    check.unwrap().verdict(&derivatives)
                };
                planted.plant(verdict, &exact, &visible, point % theta.len());
                if point % 5 > 0 {
                    continue;
                }
                let noise = noise.map_or(single, |size| size.max(single * 2f64.powi(-29)));
                for (index, visible) in visible.iter().enumerate() {
                    let best = best_central(&function, theta, index, noise);
                    ratios.push(visible / best.max(allowed(index)));
                }
            }
        }
    }
    println!(
        "{checks} checks: {told} right, {} alarms; {planted:?}",
        alarms.len()
    );
    for (noise, ratios) in NOISES.iter().zip(&mut ratios) {
        ratios.sort_by(f64::total_cmp);
        println!(
            "noise {noise:?}: visible ÷ best central: median {:.2}, within 10: {:.3} of {}",
            ratios[ratios.len() / 2],
            within_ten(ratios),
            ratios.len()
        );
        assert!(within_ten(ratios) >= 0.9, "{noise:?}");
    }
    // 0 of n means at most 3/n with 95 % confidence.
    assert!(
        checks >= 10_000 && planted.mistakes > 30_000,
        "{checks} {planted:?}"
    );
    assert!(alarms.is_empty(), "{alarms:?}");
    assert!(
        told as f64 >= 0.42 * f64::from(checks),
        "{told} of {checks}"
    );
    let share = planted.named as f64 / planted.mistakes as f64;
    assert!(share >= 0.995 && planted.called_right == 0, "{planted:?}");
}

/// More points, without mistakes.
#[test]
fn slow_no_right_gradient_is_called_wrong_at_further_points() {
    let workers = Workers::exactly(1).unwrap();
    let (mut checks, mut alarms) = (0, [Vec::new(), Vec::new()]);
    for function in standard_functions() {
        for theta in points_of(&function, 5000..5200) {
            let exact = function.gradient(&theta);
            for noise in NOISES {
                let closure = Function::new(theta.len(), noisy(&function, noise));
                let check = ObjectiveCheck::new(&closure, &theta, &exact, (&workers).into());
                let check = check.unwrap();
                checks += 1;
                for (derivatives, alarms) in [check.derivatives(), check.one_sided_derivatives()]
                    .into_iter()
                    .zip(&mut alarms)
                {
                    if let Verdict::Wrong { worst, .. } = check.verdict(&derivatives.unwrap()) {
                        alarms.push((function.name, noise, worst));
                    }
                }
            }
        }
    }
    let [two_sided, one_sided] = &alarms;
    println!(
        "{checks} checks: {} alarms, {} from one side",
        two_sided.len(),
        one_sided.len()
    );
    assert!(two_sided.is_empty() && one_sided.is_empty(), "{alarms:?}");
}

/// Along random directions, a right gradient is not called wrong either.
#[test]
fn slow_directions_call_no_right_gradient_wrong() {
    let workers = Workers::exactly(1).unwrap();
    let mut checks = 0;
    for function in standard_functions() {
        for theta in points(&function).iter().take(20) {
            let exact = function.gradient(theta);
            for noise in NOISES {
                let closure = Function::new(theta.len(), noisy(&function, noise));
                let check = ObjectiveCheck::new(&closure, theta, &exact, (&workers).into());
                let found = check.unwrap().directions(5).unwrap();
                checks += 1;
                assert!(
                    found.agrees() && found.complete && found.wrong.is_empty(),
                    "{} {noise:?} at {theta:?}: {found:?}",
                    function.name
                );
            }
        }
    }
    println!("{checks} checks");
}

/// The names of the functions that scale.
const SCALING: [&str; 6] = [
    "extended_rosenbrock",
    "extended_powell",
    "broyden_tridiagonal",
    "broyden_banded",
    "discrete_boundary",
    "variably_dimensioned",
];

/// Checks functions of `parameters` numbers; returns the number of checks, and of those that told.
fn check_scaled(parameters: usize, noises: &[Option<f64>]) -> (usize, usize) {
    let workers = Workers::exactly(2).unwrap();
    let (mut checks, mut told) = (0, 0);
    let scaling = |function: &StandardFunction| SCALING.contains(&function.name);
    for function in standard_functions().into_iter().filter(scaling) {
        let function = function.of_size(parameters);
        let theta = &points(&function)[0];
        let exact = function.gradient(theta);
        for &noise in noises {
            let closure = Function::new(parameters, noisy(&function, noise));
            let check = ObjectiveCheck::new(&closure, theta, &exact, (&workers).into()).unwrap();
            let derivatives = check.derivatives().unwrap();
            let verdict = check.verdict(&derivatives);
            assert!(
                !matches!(verdict, Verdict::Wrong { .. }),
                "{} of {parameters}, {noise:?}: {verdict:?}",
                function.name
            );
            checks += 1;
            told += usize::from(matches!(verdict, Verdict::Right { .. }));
            let at = parameters / 3;
            let mut wrong = exact.clone();
            wrong[at] += 1.01 * derivatives[at].visible + 1.3e-10 * exact[at].abs();
            let check = ObjectiveCheck::new(&closure, theta, &wrong, (&workers).into()).unwrap();
            match check.verdict(&derivatives) {
                Verdict::Wrong { elements, .. } => assert_eq!(
                    elements.iter().map(|e| e.index).collect::<Vec<_>>(),
                    [at],
                    "{} of {parameters}, {noise:?}",
                    function.name
                ),
                verdict => panic!("{} of {parameters}, {noise:?}: {verdict:?}", function.name),
            }
        }
    }
    (checks, told)
}

#[test]
fn slow_verdicts_hold_for_hundreds_of_parameters() {
    for parameters in [40, 400] {
        let (checks, told) = check_scaled(parameters, &NOISES);
        println!("{parameters} parameters: {checks} checks, {told} told");
        assert_eq!(checks, SCALING.len() * NOISES.len());
    }
}

/// Run by `just verdicts`.
#[test]
#[ignore = "minutes"]
fn slow_verdicts_hold_for_ten_thousand_parameters() {
    let (checks, told) = check_scaled(10_000, &[Some(0.0), Some(1e-8), None]);
    println!("10,000 parameters: {checks} checks, {told} told");
}

/// What became of the estimates of errors.
#[derive(Default)]
struct Estimates {
    elements: usize,
    /// The elements whose error is within its estimate.
    within: usize,
    /// Estimate ÷ error.
    ratios: Vec<f64>,
    /// The gradients whose increment could not be measured.
    unmeasured: usize,
}

impl Estimates {
    /// Differentiates every function at 40 points.
    fn of(method: Differences, noise: Option<f64>) -> Self {
        let mut found = Self::default();
        for function in standard_functions() {
            for theta in points(&function).iter().take(40) {
                let value = noisy(&function, noise);
                let estimate = estimate(method, value, theta, waiting(1), &Control::default());
                // Near a minimum of 0 the noise cannot be told from the changes: no increment.
                match estimate {
                    Ok(estimate) => found.add(&estimate, &function.gradient(theta)),
                    Err(_) => found.unmeasured += 1,
                }
            }
        }
        found.ratios.sort_by(f64::total_cmp);
        found
    }

    fn add(&mut self, estimate: &GradientEstimate, exact: &[f64]) {
        let errors = estimate.errors.as_ref().unwrap();
        for ((g, exact), estimate) in estimate.gradient.iter().zip(exact).zip(errors) {
            let error = (g - exact).abs();
            self.elements += 1;
            self.within += usize::from(error <= *estimate);
            if error > 0.0 {
                self.ratios.push(estimate / error);
            }
        }
    }
}

/// A forward difference of three levels on a function without noise errs by O(h³), but is estimated by
/// its difference from entries that err by O(h²): its estimates are larger.
#[test]
fn estimates_of_errors_hold_and_are_not_idle() {
    let mut missed = Vec::new();
    for noise in NOISES {
        for scheme in [Scheme::Forward, Scheme::Central] {
            for increment in [Increment::Auto, Increment::Noise] {
                let method = Differences {
                    scheme,
                    increment,
                    levels: 3,
                    errors: true,
                };
                let found = Estimates::of(method, noise);
                let median = found.ratios[found.ratios.len() / 2];
                let share = found.within as f64 / found.elements as f64;
                let what = format!(
                    "noise {noise:?}, {scheme:?}, {increment:?}: {} of {} within ({share:.4}), median ratio {median:.1}, {} without an increment",
                    found.within, found.elements, found.unmeasured
                );
                println!("{what}");
                let largest = match (noise, scheme, increment) {
                    (Some(0.0), Scheme::Forward, Increment::Auto) => 1000.0,
                    _ => 100.0,
                };
                if share < 0.99 || median > largest || found.unmeasured > 200 {
                    missed.push(what);
                }
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn slow_directions_find_one_wrong_element_of_many_by_tens_of_evaluations() {
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
    let all = calls.load(Ordering::Relaxed);
    for index in [0, 54_321, n - 1] {
        let mut wrong = gradient.clone();
        wrong[index] = 2.0 * wrong[index] + 1.0;
        let before = calls.load(Ordering::Relaxed);
        let check = ObjectiveCheck::new(&objective, &theta, &wrong, (&workers).into()).unwrap();
        let found = check.directions(20).unwrap();
        let places: Vec<usize> = found.wrong.iter().map(|element| element.index).collect();
        assert_eq!(places, [index], "{found:?}");
        assert!(found.complete && !found.agrees());
        let spent = calls.load(Ordering::Relaxed) - before;
        println!("one of {n}: {spent} evaluations; a right gradient: {all}");
        assert!(spent < 100, "{spent} evaluations");
    }
    // Several at once, near each other and far apart.
    for places in [
        &[5, 70_000, 99_000][..],
        &[7, 8],
        &[1, 2, 3, 60_001, 60_003, 99_999],
    ] {
        let mut wrong = gradient.clone();
        for &index in places {
            wrong[index] -= 30.0;
        }
        let before = calls.load(Ordering::Relaxed);
        let check = ObjectiveCheck::new(&objective, &theta, &wrong, (&workers).into()).unwrap();
        let found = check.directions(20).unwrap();
        let found: Vec<usize> = found.wrong.iter().map(|element| element.index).collect();
        assert_eq!(found, places);
        let spent = calls.load(Ordering::Relaxed) - before;
        println!("{} of {n}: {spent} evaluations", places.len());
        assert!(spent < 60 + 60 * places.len() as u64, "{spent} evaluations");
    }
}

/// A noise of 1e-8 hides a small error of one element of 10⁵, and not a large one.
#[test]
fn directions_find_a_wrong_element_in_noise() {
    let n = 10_000;
    let theta: Vec<f64> = (0..n).map(|i| (1.7 * i as f64).sin()).collect();
    let objective = Function::new(n, |x: &[f64]| {
        let value: f64 = extended_rosenbrock(x).iter().map(|r| r * r).sum();
        value * (1.0 + 1e-8 * (2.0 * hash(3, x) - 1.0))
    });
    let mut gradient = vec![0.0; n];
    for (pair, slopes) in theta.chunks_exact(2).zip(gradient.chunks_exact_mut(2)) {
        let bend = pair[1] - pair[0] * pair[0];
        slopes[0] = -2.0 * (1.0 - pair[0]) - 400.0 * pair[0] * bend;
        slopes[1] = 200.0 * bend;
    }
    let workers = Workers::exactly(2).unwrap();
    let check = ObjectiveCheck::new(&objective, &theta, &gradient, (&workers).into()).unwrap();
    let found = check.directions(20).unwrap();
    assert!(found.agrees() && found.wrong.is_empty(), "{found:?}");
    gradient[1234] += 300.0;
    let check = ObjectiveCheck::new(&objective, &theta, &gradient, (&workers).into()).unwrap();
    let found = check.directions(20).unwrap();
    let places: Vec<usize> = found.wrong.iter().map(|element| element.index).collect();
    assert_eq!(places, [1234], "{found:?}");
}

/// The remainder falls as the square of the distance if the gradient is right, else as the distance.
#[test]
fn taylors_remainder_tells_right_from_wrong() {
    let workers = Workers::exactly(1).unwrap();
    let (mut right, mut wrong, mut all) = (0, 0, 0);
    for function in standard_functions() {
        for theta in points(&function).iter().take(5) {
            let exact = function.gradient(theta);
            let closure = Function::new(theta.len(), noisy(&function, Some(0.0)));
            let last = |gradient: &[f64]| {
                let check = ObjectiveCheck::new(&closure, theta, gradient, (&workers).into());
                let remainders = check.unwrap().taylor_remainders().unwrap();
                assert_eq!(remainders.remainders.len(), 4);
                remainders.orders().last().copied()
            };
            all += 1;
            right += usize::from(last(&exact).is_none_or(|order| order > 1.6));
            let twice: Vec<f64> = exact.iter().map(|g| 2.0 * g).collect();
            wrong += usize::from(last(&twice).is_some_and(|order| order < 1.4));
        }
    }
    println!("{right} and {wrong} of {all}");
    assert!(10 * right >= 9 * all && 10 * wrong >= 9 * all);
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
