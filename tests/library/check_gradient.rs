//! `check_gradient` finds planted mistakes, raises no false alarm, and says when it cannot tell; the
//! gradients of closures are those of `Differences`, in either precision.

use nplus1::error::{Error, InputError};
use nplus1::finite_difference::failure::{EvaluationPoint, Failure};
use nplus1::finite_difference::{Differences, central, differentiate, forward};
use nplus1::model::Function;
use nplus1::parallel::Workers;
use nplus1::{Verdict, check_gradient};

use ndarray::{Array1, array};

type Gradient = Vec<f64>;
/// A name, a function and its gradient.
type Case = (&'static str, fn(&[f64]) -> f64, fn(&[f64]) -> Gradient);

fn rosenbrock(x: &[f64]) -> f64 {
    x.windows(2)
        .map(|x| (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2))
        .sum()
}

fn rosenbrock_gradient(x: &[f64]) -> Gradient {
    let mut gradient = vec![0.0; x.len()];
    for i in 0..x.len() - 1 {
        let bend = x[i + 1] - x[i] * x[i];
        gradient[i] += -2.0 * (1.0 - x[i]) - 400.0 * x[i] * bend;
        gradient[i + 1] += 200.0 * bend;
    }
    gradient
}

/// ½ Σ aᵢ xᵢ² with aᵢ from 1 to 10⁴.
fn quadratic(x: &[f64]) -> f64 {
    let terms = x.iter().enumerate();
    terms.map(|(i, x)| 0.5 * curvature(i) * x * x).sum()
}

fn quadratic_gradient(x: &[f64]) -> Gradient {
    let terms = x.iter().enumerate();
    terms.map(|(i, x)| curvature(i) * x).collect()
}

fn curvature(i: usize) -> f64 {
    10f64.powi(i as i32 % 5)
}

fn exponentials(x: &[f64]) -> f64 {
    x.iter().map(|x| x.exp()).sum()
}

fn exponentials_gradient(x: &[f64]) -> Gradient {
    x.iter().map(|x| x.exp()).collect()
}

/// Defined for positive numbers only.
fn logarithms(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x.ln()).sum()
}

fn logarithms_gradient(x: &[f64]) -> Gradient {
    x.iter().map(|x| x.ln() + 1.0).collect()
}

fn log_sum_exp(x: &[f64]) -> f64 {
    exponentials(x).ln()
}

fn log_sum_exp_gradient(x: &[f64]) -> Gradient {
    let sum = exponentials(x);
    x.iter().map(|x| x.exp() / sum).collect()
}

/// Oscillates within 1e-3 of θ.
fn waves(x: &[f64]) -> f64 {
    x.iter().map(|x| (1e3 * x).sin()).sum()
}

fn waves_gradient(x: &[f64]) -> Gradient {
    x.iter().map(|x| 1e3 * (1e3 * x).cos()).collect()
}

/// A relative noise of `size`, between −size and size, which depends on all bits of θ.
fn noise(x: &[f64], size: f64) -> f64 {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for x in x {
        state = (state ^ x.to_bits()).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state ^= state >> 29;
        state = state.wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 32;
    }
    size * (2.0 * (state >> 11) as f64 / (1u64 << 53) as f64 - 1.0)
}

const FUNCTIONS: [Case; 6] = [
    ("rosenbrock", rosenbrock, rosenbrock_gradient),
    ("quadratic", quadratic, quadratic_gradient),
    ("exponentials", exponentials, exponentials_gradient),
    ("logarithms", logarithms, logarithms_gradient),
    ("log-sum-exp", log_sum_exp, log_sum_exp_gradient),
    ("waves", waves, waves_gradient),
];

/// Points of positive numbers, some close to 0, some large.
fn points() -> Vec<Vec<f64>> {
    let wave = |i: usize, shift: f64| 1.2 + (1.7 * i as f64 + shift).sin();
    let mut points: Vec<Vec<f64>> = (0..20)
        .map(|shift| (0..8).map(|i| wave(i, f64::from(shift))).collect())
        .collect();
    points.push(vec![1e-3, 0.5, 2.0, 1e-6]);
    points.push(vec![30.0, 1.0, 4.0]);
    points.push(vec![1.0; 5]);
    points
}

#[test]
fn the_gradient_of_every_function_is_right_at_every_point() {
    for (name, function, gradient) in FUNCTIONS {
        for theta in points() {
            let verdict = check_gradient(function, &gradient(&theta), &theta).unwrap();
            assert!(
                matches!(verdict, Verdict::Right { .. }),
                "{name} at {theta:?}: {verdict} {verdict:?}"
            );
        }
    }
}

#[test]
fn a_minimum_of_zero_is_right_and_so_is_a_constant() {
    let verdict = check_gradient(rosenbrock, &[0.0, 0.0], &[1.0, 1.0]).unwrap();
    assert!(matches!(verdict, Verdict::Right { .. }), "{verdict:?}");
    let verdict = check_gradient(quadratic, &[0.0; 3], &[0.0; 3]).unwrap();
    assert!(matches!(verdict, Verdict::Right { .. }), "{verdict:?}");
    let verdict = check_gradient(|_: &[f64]| 5.0, &[0.0; 3], &[1.0; 3]).unwrap();
    assert!(matches!(verdict, Verdict::Right { .. }), "{verdict:?}");
}

/// A factor of 2, a sign, two elements swapped, a relative error of 1e-4: each at each place.
#[test]
fn every_planted_mistake_is_found_at_its_place() {
    for (name, function, gradient) in FUNCTIONS {
        let theta = points().swap_remove(3);
        let exact = gradient(&theta);
        for index in 0..theta.len() {
            for factor in [2.0, -1.0, 0.0, 1.0001] {
                let mut planted = exact.clone();
                planted[index] *= factor;
                match check_gradient(function, &planted, &theta).unwrap() {
                    Verdict::Wrong {
                        worst,
                        wrong,
                        elements,
                    } => {
                        assert_eq!((worst.index, wrong), (index, 1), "{name} × {factor}");
                        assert_eq!(worst.theirs, planted[index]);
                        assert!((worst.ours - exact[index]).abs() <= worst.bound);
                        assert!(worst.bounds() > 1.0);
                        assert_eq!(elements, [worst]);
                    }
                    verdict => panic!("{name}, θ[{index}] × {factor}: {verdict:?}"),
                }
            }
            let other = (index + 1) % theta.len();
            let mut planted = exact.clone();
            planted.swap(index, other);
            match check_gradient(function, &planted, &theta).unwrap() {
                Verdict::Wrong { worst, wrong, .. } => {
                    assert!(worst.index == index || worst.index == other, "{name}");
                    assert_eq!(wrong, 2, "{name}");
                }
                verdict => panic!("{name}, θ[{index}] and θ[{other}] swapped: {verdict:?}"),
            }
        }
        let mut planted = exact;
        planted[2] = f64::NAN;
        let verdict = check_gradient(function, &planted, &theta).unwrap();
        assert!(
            matches!(verdict, Verdict::Wrong { worst, wrong: 1, .. } if worst.index == 2),
            "{verdict:?}"
        );
    }
}

#[test]
fn noise_raises_no_alarm_and_does_not_hide_large_mistakes() {
    let noisy = |x: &[f64]| rosenbrock(x) * (1.0 + noise(x, 1e-8));
    let mut alarms = Vec::new();
    for theta in points().into_iter().take(20) {
        let exact = rosenbrock_gradient(&theta);
        let verdict = check_gradient(noisy, &exact, &theta).unwrap();
        if !matches!(verdict, Verdict::Right { .. }) {
            alarms.push(verdict);
        }
        let largest = exact.iter().map(|g| g.abs()).fold(0.0, f64::max);
        let index = exact.iter().position(|g| g.abs() == largest).unwrap();
        for factor in [2.0, -1.0] {
            let mut planted = exact.clone();
            planted[index] *= factor;
            let verdict = check_gradient(noisy, &planted, &theta).unwrap();
            assert!(
                matches!(verdict, Verdict::Wrong { worst, .. } if worst.index == index),
                "× {factor}: {verdict:?}"
            );
        }
    }
    assert!(
        !alarms
            .iter()
            .any(|verdict| matches!(verdict, Verdict::Wrong { .. })),
        "{alarms:?}"
    );
    // Where an element is small, its mistakes may hide in the noise.
    assert!(alarms.len() <= 5, "{alarms:?}");
}

/// A single element, many noises: no bound is exceeded in 2000 checks.
#[test]
fn two_thousand_noisy_checks_raise_no_alarm() {
    for size in [1e-12, 1e-8, 1e-5, 1e-3] {
        for seed in 0..500 {
            let theta = [1.0 + f64::from(seed) / 500.0, 0.7];
            let noisy = |x: &[f64]| (x[0] * x[0] + x[1]).exp() * (1.0 + noise(x, size));
            let value = (theta[0] * theta[0] + theta[1]).exp();
            let gradient = [2.0 * theta[0] * value, value];
            let verdict = check_gradient(noisy, &gradient, &theta).unwrap();
            assert!(
                !matches!(verdict, Verdict::Wrong { .. }),
                "{size} {seed}: {verdict:?}"
            );
        }
    }
}

#[test]
fn noise_that_hides_the_gradient_is_reported_with_its_size() {
    let noisy = |x: &[f64]| 1e3 + x[0] * x[0] + noise(x, 1.0);
    match check_gradient(noisy, &[0.2], &[0.1]).unwrap() {
        Verdict::CannotTell {
            worst,
            noise,
            smallest_error,
            bent: false,
        } => {
            assert_eq!(worst.index, 0);
            // Uniform noise between −1 and 1 has a deviation of 0.577.
            assert!((0.15..2.5).contains(&noise), "{noise}");
            assert!(smallest_error > 0.02, "{smallest_error}");
        }
        verdict => panic!("{verdict:?}"),
    }
}

#[test]
fn at_a_bend_there_is_no_gradient_to_compare_with() {
    let verdict = check_gradient(|x: &[f64]| x[0].abs() + x[1], &[1.0, 1.0], &[0.0, 1.0]).unwrap();
    assert!(
        matches!(verdict, Verdict::CannotTell { worst, bent: true, .. } if worst.index == 0),
        "{verdict:?}"
    );
    // Beside the bend there is one.
    let verdict = check_gradient(|x: &[f64]| x[0].abs() + x[1], &[1.0, 1.0], &[1e-3, 1.0]).unwrap();
    assert!(matches!(verdict, Verdict::Right { .. }), "{verdict:?}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let check = |gradient: &[f64], theta: &[f64]| check_gradient(rosenbrock, gradient, theta);
    let refused = check(&[1.0], &[1.0, 2.0]).unwrap_err();
    assert!(matches!(
        refused,
        Error::Input(InputError::GradientLength {
            gradient: 1,
            theta: 2
        })
    ));
    let text = |error: Error| error.to_string();
    assert!(text(check(&[], &[]).unwrap_err()).contains("no parameters"));
    assert!(text(check(&[0.0; 2], &[1.0, f64::NAN]).unwrap_err()).contains("θ[1] is NaN"));
    let nowhere = |_: &[f64]| f64::NAN;
    assert!(text(check_gradient(nowhere, &[0.0], &[1.0]).unwrap_err()).contains("at θ itself"));
    let beside = |x: &[f64]| {
        if x[0] == 1.0 {
            Ok(1.0)
        } else {
            Err("out of paper")
        }
    };
    let refused = text(check_gradient(beside, &[0.0], &[1.0]).unwrap_err());
    assert!(refused.contains("out of paper"), "{refused}");
}

#[test]
fn closures_have_the_gradient_of_differences() {
    let theta: Vec<f64> = (0..9).map(|i| (1.7 * f64::from(i)).sin()).collect();
    let workers = Workers::exactly(3).unwrap();
    let objective = Function::new(9, rosenbrock);
    for (found, method) in [
        (forward(rosenbrock, &theta), Differences::FORWARD),
        (central(rosenbrock, &theta), Differences::CENTRAL),
    ] {
        let expected = method.gradient(&objective, &theta, &workers).unwrap();
        assert_eq!(found.unwrap(), expected.gradient);
    }
}

#[test]
fn functions_of_either_precision_and_vector_are_differentiated() {
    // The round-off of a value, a few u·|f| = 3e-7, is divided by h = 2⁻¹² or 2⁻⁸.
    let theta: Array1<f32> = array![0.3, 1.9999, -0.7, 1e-6];
    let square = |x: &Array1<f32>| x.dot(x);
    for (method, allowed) in [(Differences::FORWARD, 1e-2), (Differences::CENTRAL, 1e-3)] {
        let gradient = differentiate(method, square, &theta).unwrap();
        for (found, theta) in gradient.iter().zip(&theta) {
            assert!(
                (found - 2.0 * theta).abs() < allowed,
                "{method:?}: {gradient}"
            );
        }
    }
    let theta = vec![2.0f32, 3.0];
    let product = |x: &Vec<f32>| Ok::<f32, String>(x[0] * x[1]);
    let gradient = differentiate(Differences::CENTRAL, product, &theta).unwrap();
    assert!((gradient[0] - 3.0).abs() < 1e-3 && (gradient[1] - 2.0).abs() < 1e-3);
    let theta = array![2.0f64, 3.0];
    let gradient = differentiate(Differences::CENTRAL, |x: &Array1<f64>| x.product(), &theta);
    assert!(
        (gradient.unwrap() - array![3.0, 2.0])
            .iter()
            .all(|e| e.abs() < 1e-9)
    );
}

#[test]
fn failures_are_typed_and_name_the_point() {
    let constant = |_: &[f64]| 1.0;
    assert_eq!(forward(constant, &[]), Err(Failure::NoParameters));
    assert!(matches!(
        central(constant, &[0.0, f64::INFINITY]),
        Err(Failure::Theta { .. })
    ));
    let grumpy = |x: &[f64]| match x[1] > 2.0 {
        true => Err(format!("{} is too much", x[1] > 2.0)),
        false => Ok(x[0]),
    };
    match forward(grumpy, &[1.0, 2.0]) {
        Err(Failure::Function {
            message,
            place: EvaluationPoint::Perturbed { parameter, .. },
        }) => {
            assert_eq!(message, "true is too much");
            assert_eq!(parameter, "θ[1]");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        forward(|x: &[f64]| x[0].ln(), &[-1.0]),
        Err(Failure::NotFinite {
            place: EvaluationPoint::Theta,
            ..
        })
    ));
}

/// A gradient within an evaluation of another: the threads do not wait for each other.
#[test]
fn a_gradient_of_a_gradient_is_the_second_derivative() {
    let slope = |x: &[f64]| Ok::<f64, Failure>(central(|x| x[0].powi(3) * x[1], x)?[0]);
    let second = central(slope, &[2.0, 3.0]).unwrap();
    assert!((second[0] - 36.0).abs() < 1e-3, "{second:?}");
    assert!((second[1] - 12.0).abs() < 1e-3, "{second:?}");
}
