//! `Differences` differentiates any function of θ by exactly N + 1 or 2N evaluations, with the same
//! bits on any number of threads; where it cannot, the error names the parameter.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::networks::relative_error;
use crate::support::watchdog::time_limit;
use nplus1::error::Error;
use nplus1::gradient::Control;
use nplus1::gradient::finite_difference::failure::{EvaluationPoint, Failure};
use nplus1::gradient::finite_difference::{Differences, Increment, Scheme};
use nplus1::model::{Function, Objective};
use nplus1::parallel::{EvaluationThreads, Workers};

const U: f64 = f64::EPSILON / 2.0;

fn pool(threads: usize) -> Workers {
    Workers::exactly(threads).unwrap()
}

fn rosenbrock(x: &[f64]) -> f64 {
    x.windows(2)
        .map(|x| (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2))
        .sum()
}

fn rosenbrock_gradient(x: &[f64]) -> Vec<f64> {
    let mut gradient = vec![0.0; x.len()];
    for i in 0..x.len() - 1 {
        let bend = x[i + 1] - x[i] * x[i];
        gradient[i] += -2.0 * (1.0 - x[i]) - 400.0 * x[i] * bend;
        gradient[i + 1] += 200.0 * bend;
    }
    gradient
}

/// Returns a point without symmetries.
fn point(parameters: usize) -> Vec<f64> {
    (0..parameters)
        .map(|i| 1.5 * (1.7 * i as f64 + 0.3).sin())
        .collect()
}

#[test]
fn every_point_is_evaluated_once_and_theta_only_by_forward_differences() {
    let _limit = time_limit();
    let theta = point(9);
    for threads in [1, 2, 3] {
        for (scheme, levels, expected) in [
            (Scheme::Forward, 1, 10),
            (Scheme::Central, 1, 18),
            (Scheme::Forward, 2, 19),
            (Scheme::Central, 2, 36),
            (Scheme::Central, 4, 72),
        ] {
            let seen = Mutex::new(Vec::new());
            let objective = Function::new(9, |x: &[f64]| {
                seen.lock().unwrap().push(x.to_vec());
                rosenbrock(x)
            });
            let method = Differences {
                scheme,
                levels,
                ..Differences::FORWARD
            };
            let control = Control::default();
            let estimate = method
                .gradient_with_control(&objective, &theta, &pool(threads), &control)
                .unwrap();
            let seen = seen.into_inner().unwrap();
            assert_eq!(seen.len(), expected);
            assert_eq!(method.evaluations(9), expected as u64);
            assert_eq!(estimate.evaluations, expected as u64);
            assert_eq!(control.evaluations(), expected as u64);
            let at_theta = seen.iter().filter(|x| **x == theta).count();
            assert_eq!(at_theta, usize::from(scheme == Scheme::Forward));
            assert_eq!(estimate.value.is_some(), scheme == Scheme::Forward);
            let bits = |x: &Vec<f64>| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                seen.iter().map(bits).collect::<HashSet<_>>().len(),
                expected
            );
            for x in &seen {
                let changed = x.iter().zip(&theta).filter(|(a, b)| a != b).count();
                assert!(changed <= 1, "{changed} parameters are perturbed at once");
            }
        }
    }
}

#[test]
fn the_same_bits_on_any_number_of_threads() {
    let _limit = time_limit();
    let theta = point(37);
    let objective = Function::new(37, rosenbrock);
    for scheme in [Scheme::Forward, Scheme::Central] {
        for (increment, levels) in [
            (Increment::Auto, 1),
            (Increment::Auto, 3),
            (Increment::Noise, 1),
        ] {
            let method = Differences {
                scheme,
                increment,
                levels,
                errors: true,
            };
            let reference = method.gradient(&objective, &theta, &pool(1)).unwrap();
            for threads in [2, 3, 5, 8, 16, 64] {
                let estimate = method.gradient(&objective, &theta, &pool(threads)).unwrap();
                assert_eq!(reference, estimate, "{scheme:?}, {threads} threads");
            }
        }
    }
}

/// The error of a partial derivative is truncation, μ₂h/2 or μ₃h²/6, plus round-off: the error
/// c·u·f of the value, divided by h. c = 20 covers the 4 roundings of each of the 9 terms, and
/// their sum.
#[test]
fn rosenbrocks_gradient_errs_by_truncation_and_round_off_alone() {
    let _limit = time_limit();
    let theta = point(10);
    let exact = rosenbrock_gradient(&theta);
    let objective = Function::new(10, rosenbrock);
    let value = rosenbrock(&theta);
    for (method, h) in [
        (Differences::FORWARD, 2f64.powi(-26)),
        (Differences::CENTRAL, 2f64.powi(-18)),
    ] {
        let estimate = method.gradient(&objective, &theta, &pool(2)).unwrap();
        for (i, (&found, &exact)) in estimate.gradient.iter().zip(&exact).enumerate() {
            // |θ| ≤ 1.5: ∂²f/∂xᵢ² ≤ 202 + 1200x² + 400|x'|, ∂³f/∂xᵢ³ ≤ 2400|x|.
            let truncation = match method.scheme {
                Scheme::Forward => 0.5 * h * (202.0 + 1200.0 * 2.25 + 600.0),
                Scheme::Central => h * h / 6.0 * 3600.0,
            };
            let allowed = truncation + 20.0 * U * value / h;
            assert!(
                (found - exact).abs() <= allowed,
                "{method:?} θ[{i}]: {found} for {exact}"
            );
        }
    }
}

/// θ + h is rounded by up to half the spacing of numbers at θ, here 7e-12. Dividing by (θ + h) − θ
/// removes this error.
#[test]
fn the_quotient_divides_by_the_realized_increment() {
    let _limit = time_limit();
    let identity = Function::new(1, |x: &[f64]| x[0]);
    for scheme in [Scheme::Forward, Scheme::Central] {
        let method = Differences {
            scheme,
            increment: Increment::Absolute(1e-10),
            ..Differences::FORWARD
        };
        let estimate = method.gradient(&identity, &[1e5 + 0.1], &pool(1)).unwrap();
        assert_eq!(estimate.gradient, [1.0], "{scheme:?}");
    }
}

/// GradBench measured this on its `llsq`, f(x) = ½ Σᵢ (sign(tᵢ) − Σⱼ xⱼ tᵢʲ)²; here multiplications
/// are counted.
#[test]
fn central_differences_cost_2n_times_the_least_squares_objective_itself() {
    let _limit = time_limit();
    const N: usize = 128;
    const ROWS: usize = 64;
    let multiplications = AtomicU64::new(0);
    let t = |row: usize| -1.0 + 2.0 * row as f64 / (ROWS - 1) as f64;
    let residual = |x: &[f64], row: usize| {
        let polynomial = x.iter().rev().fold(0.0, |sum, x| sum * t(row) + x);
        t(row).signum() - polynomial
    };
    let llsq = Function::new(N, |x: &[f64]| {
        multiplications.fetch_add((ROWS * (x.len() + 2)) as u64, Ordering::Relaxed);
        (0..ROWS).map(|row| 0.5 * residual(x, row).powi(2)).sum()
    });
    let theta: Vec<f64> = point(N).iter().map(|x| x / 10.0).collect();
    let value = llsq.value(&theta);
    let primal = multiplications.swap(0, Ordering::Relaxed);
    let estimate = Differences::CENTRAL
        .gradient(&llsq, &theta, &pool(2))
        .unwrap();
    let derivative = multiplications.swap(0, Ordering::Relaxed);
    assert_eq!(derivative as f64 / primal as f64, 256.0);
    assert_eq!(estimate.evaluations, 2 * N as u64);
    // A quadratic function has no third derivative: the error is round-off alone, divided by h =
    // 2^-18.
    let mut exact = vec![0.0; N];
    for row in 0..ROWS {
        let mut power = 1.0;
        for partial in &mut exact {
            *partial -= residual(&theta, row) * power;
            power *= t(row);
        }
    }
    for (found, exact) in estimate.gradient.iter().zip(&exact) {
        let allowed = (N + ROWS) as f64 * U * value * 2f64.powi(18);
        assert!((found - exact).abs() < allowed, "{found} for {exact}");
    }
}

#[test]
fn evaluations_that_wait_run_on_threads_of_their_own_at_once() {
    let _limit = time_limit();
    let [running, largest, total] = [(); 3].map(|()| AtomicU64::new(0));
    let slow = Function::new(11, |x: &[f64]| {
        largest.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        running.fetch_sub(1, Ordering::SeqCst);
        total.fetch_add(1, Ordering::SeqCst);
        rosenbrock(x)
    });
    Differences::FORWARD
        .gradient(&slow, &point(11), EvaluationThreads::Waiting(4))
        .unwrap();
    assert_eq!(largest.into_inner(), 4);
    assert_eq!(total.into_inner(), 12);
}

#[test]
fn a_value_that_is_not_finite_names_the_first_parameter_on_any_number_of_threads() {
    let _limit = time_limit();
    let theta = point(20);
    let objective = Function::new(20, |x: &[f64]| {
        // The first parameter is evaluated more slowly than the later one.
        if x[3] > theta[3] {
            std::thread::sleep(Duration::from_millis(10));
            return f64::NAN;
        }
        if x[7] > theta[7] {
            f64::INFINITY
        } else {
            rosenbrock(x)
        }
    });
    for threads in [1, 2, 7, 16] {
        let failure = Differences::FORWARD
            .gradient(&objective, &theta, &pool(threads))
            .unwrap_err();
        let Failure::NotFinite { value, place } = &failure else {
            panic!("{failure}");
        };
        assert!(value.is_nan(), "{threads} threads: {failure}");
        assert_eq!(
            *place,
            EvaluationPoint::Perturbed {
                parameter: "θ[3]".to_owned(),
                value: theta[3],
                increment: 2f64.powi(-26),
            }
        );
        let error = Error::from(failure);
        assert_eq!(error.exit_code(), 4);
        for part in [
            "NaN",
            "θ[3]",
            &format!("{:?}", theta[3]),
            "1.4901161193847656e-8",
            "help",
        ] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
    }
}

#[test]
fn a_value_that_is_not_finite_at_theta_or_below_it_is_reported_as_such() {
    let _limit = time_limit();
    let logarithm = Function::new(1, |x: &[f64]| x[0].ln());
    let failure = Differences::FORWARD
        .gradient(&logarithm, &[-1.0], &pool(1))
        .unwrap_err();
    assert!(failure.to_string().contains("at θ itself"), "{failure}");
    let failure = Differences::CENTRAL
        .gradient(&logarithm, &[1e-9], &pool(1))
        .unwrap_err();
    let text = failure.to_string();
    assert!(
        text.contains("where θ[0] is 1e-9 − 3.814697265625e-6"),
        "{text}"
    );
    assert!(text.contains("forward differences"), "{text}");
}

#[test]
fn unusable_increments_parameters_and_levels_are_refused_before_the_first_evaluation() {
    let _limit = time_limit();
    struct Named(AtomicU64);
    impl Objective for Named {
        fn parameters(&self) -> usize {
            2
        }
        fn value(&self, theta: &[f64]) -> f64 {
            self.0.fetch_add(1, Ordering::Relaxed);
            theta[0] + theta[1]
        }
        fn name(&self, index: usize) -> String {
            ["rate", "delay"][index].to_owned()
        }
    }
    let objective = Named(AtomicU64::new(0));
    let refused = |increment, theta: &[f64]| {
        let method = Differences {
            increment,
            ..Differences::CENTRAL
        };
        let failure = method.gradient(&objective, theta, &pool(1)).unwrap_err();
        assert_eq!(Error::from(failure.clone()).exit_code(), 2, "{failure}");
        failure.to_string()
    };
    for h in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX] {
        let text = refused(Increment::Absolute(h), &[1.0, f64::MAX / 2.0]);
        assert!(
            text.contains(&format!("is {h:?}: allowed are positive")),
            "{text}"
        );
    }
    let text = refused(Increment::Absolute(1.0), &[0.5, -1e17]);
    for part in ["delay = -1e17", "1.0", "16.0 is the least", "`auto`"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // The smallest increment named by the error works.
    let method = Differences {
        increment: Increment::Absolute(16.0),
        ..Differences::CENTRAL
    };
    method
        .gradient(&objective, &[0.5, -1e17], &pool(1))
        .unwrap();
    assert_eq!(objective.0.swap(0, Ordering::Relaxed), 4);

    // −1 + u is representable, −1 − u is not.
    let text = refused(Increment::Absolute(U), &[0.5, -1.0]);
    assert!(text.contains("delay = -1.0 does not change"), "{text}");

    let text = refused(Increment::Relative(1e-17), &[0.5, 3.0]);
    assert!(text.contains("rate = 0.5 does not change"), "{text}");
    let text = refused(Increment::Auto, &[0.5]);
    assert!(
        text.contains("θ has length 1, but the objective takes 2 parameters"),
        "{text}"
    );
    let text = refused(Increment::Auto, &[0.5, f64::NAN]);
    assert!(text.contains("delay is NaN"), "{text}");
    let method = Differences {
        levels: 0,
        ..Differences::FORWARD
    };
    let text = method
        .gradient(&objective, &[0.0; 2], &pool(1))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("0 levels of extrapolation: allowed are 1 (none) to 10"),
        "{text}"
    );
    assert_eq!(objective.0.into_inner(), 0, "evaluations after a refusal");
}

#[test]
fn a_stop_flag_prevents_the_next_evaluation() {
    let _limit = time_limit();
    for threads in [1, 3] {
        let stop = Arc::new(AtomicBool::new(false));
        let control = Control::new(&stop);
        let objective = Function::new(100, |x: &[f64]| {
            if control.evaluations() >= 5 {
                stop.store(true, Ordering::Relaxed);
            }
            rosenbrock(x)
        });
        let failure = Differences::FORWARD
            .gradient_with_control(&objective, &point(100), &pool(threads), &control)
            .unwrap_err();
        let evaluations = control.evaluations();
        assert_eq!(
            failure,
            Failure::Stopped {
                evaluations,
                planned: 101
            }
        );
        // Each thread finishes its evaluation, and may have started the next one already.
        assert!(
            (6..=5 + 2 * threads as u64).contains(&evaluations),
            "{evaluations} evaluations"
        );
        assert_eq!(Error::from(failure).exit_code(), 130);
    }
}

#[test]
fn a_panic_in_the_objective_stops_further_evaluations_and_reaches_the_caller() {
    let _limit = time_limit();
    for threads in [1, 3] {
        let started = AtomicU64::new(0);
        let objective = Function::new(1000, |x: &[f64]| {
            assert!(started.fetch_add(1, Ordering::Relaxed) != 4, "the fifth");
            std::thread::sleep(Duration::from_millis(1));
            rosenbrock(x)
        });
        let pool = pool(threads);
        let method = Differences::FORWARD;
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
            method.gradient(&objective, &point(1000), &pool)
        }));
        assert!(outcome.is_err());
        assert!(started.load(Ordering::Relaxed) < 500);
    }
}

/// Returns Σ softplus(xᵢ·θ), which has derivatives of every order.
fn smooth(x: &[f64]) -> f64 {
    (0..12)
        .map(|row| {
            let z: f64 = x.iter().zip(inputs(row)).map(|(x, input)| x * input).sum();
            z.max(0.0) + (-z.abs()).exp().ln_1p()
        })
        .sum()
}

fn smooth_gradient(x: &[f64]) -> Vec<f64> {
    let mut gradient = vec![0.0; x.len()];
    for row in 0..12 {
        let z: f64 = x.iter().zip(inputs(row)).map(|(x, input)| x * input).sum();
        for (partial, input) in gradient.iter_mut().zip(inputs(row)) {
            *partial += input / (1.0 + (-z).exp());
        }
    }
    gradient
}

fn inputs(row: usize) -> impl Iterator<Item = f64> {
    (0..8).map(move |column| (2.1 * row as f64 + 3.7 * column as f64).sin())
}

#[test]
fn extrapolation_reaches_smaller_errors_than_any_increment_without_it() {
    let _limit = time_limit();
    let theta = point(8);
    let exact = smooth_gradient(&theta);
    let objective = Function::new(8, smooth);
    let pool = pool(2);
    let error = |scheme, increment, levels| {
        let method = Differences {
            scheme,
            increment,
            levels,
            errors: false,
        };
        let estimate = method.gradient(&objective, &theta, &pool).unwrap();
        relative_error(&estimate.gradient, &exact)
    };
    let best = |scheme, levels| {
        (0..32)
            .map(|exponent| error(scheme, Increment::Absolute(0.5f64.powi(exponent)), levels))
            .fold(f64::MAX, f64::min)
    };
    for scheme in [Scheme::Forward, Scheme::Central] {
        let (plain, two, three) = (best(scheme, 1), best(scheme, 2), best(scheme, 3));
        println!("{scheme:?}: best {plain:.1e}, {two:.1e} (2 levels), {three:.1e} (3)");
        assert!(two < plain / 10.0, "{scheme:?}: {two:e}, {plain:e}");
        assert!(three < two, "{scheme:?}: {three:e}, {two:e}");
        let auto = |levels| error(scheme, Increment::Auto, levels);
        println!("  auto: {:.1e}, {:.1e}, {:.1e}", auto(1), auto(2), auto(3));
        assert!(auto(1) < 10.0 * plain);
        // With extrapolation, `auto` is better than any increment without it.
        assert!(auto(2) < plain / 5.0, "{scheme:?}: {:e}", auto(2));
        assert!(auto(3) < plain / 10.0, "{scheme:?}: {:e}", auto(3));
    }
}

#[test]
fn extrapolation_estimates_its_error() {
    let _limit = time_limit();
    let theta = point(8);
    let exact = smooth_gradient(&theta);
    let objective = Function::new(8, smooth);
    for (scheme, levels) in [
        (Scheme::Forward, 2),
        (Scheme::Central, 2),
        (Scheme::Central, 4),
    ] {
        let method = Differences {
            scheme,
            increment: Increment::Absolute(0.125),
            levels,
            errors: true,
        };
        let estimate = method.gradient(&objective, &theta, &pool(2)).unwrap();
        for ((found, exact), estimated) in estimate
            .gradient
            .iter()
            .zip(&exact)
            .zip(estimate.errors.unwrap())
        {
            let error = (found - exact).abs();
            assert!(
                error <= estimated,
                "{scheme:?}: {error:e} beyond {estimated:e}"
            );
            assert!(estimated < 0.05, "{scheme:?}: {estimated:e} is too wide");
        }
    }
}
