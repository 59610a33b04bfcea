//! The gradient check finds one wrong partial derivative among all, and round-off raises no false
//! alarm.

use std::sync::Arc;

use crate::support::check_problems::{
    Problem, mnist_30, random_problem, reference_problems, target_and_weight_problems, weighted,
    with_number_targets,
};
use crate::support::networks::OUTPUTS_AND_LOSSES;
use crate::support::property_cases::property_cases;
use nplus1::gradient::finite_difference::{Arithmetic, Increment, Reuse, Scheme, Summation};
use nplus1::gradient::random_direction::{
    DirectionsConfig, Distribution, ForwardGradientConfig, PerturbedQuantity, SpsaConfig,
};
use nplus1::gradient::{Control, GradientConfig, Stopped};
use nplus1::gradient_check::{CheckedMethod, Outcome, adaptive_methods, methods};
use nplus1::model::{Loss, Parameters};
use nplus1::numeric::Precision;
use nplus1::parallel::Workers;
use proptest::prelude::*;

/// Runs every method, random directions and every random-direction method with each increment;
/// returns an error that describes the first comparison that does not pass. With the variable
/// `SHOW` it prints every error and bound.
fn check_raises_no_alarm(problem: &Problem, increments: &[Increment]) -> Result<(), String> {
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let subject = problem.subject(&pool);
    for &increment in increments {
        for method in methods(increment, Summation::Differences)
            .into_iter()
            .chain(methods(increment, Summation::Losses))
            .chain(adaptive_methods(increment))
        {
            let outcome = subject.run(&method, &Control::default()).unwrap();
            let Outcome::Compared(found) = outcome else {
                continue;
            };
            let whole = &found.whole;
            if std::env::var_os("SHOW").is_some() {
                println!(
                    "{:40} {:60} error {:.1e} allowed {:.1e} excess {:.2}",
                    problem.name,
                    describe(&method),
                    whole.relative_error,
                    whole.allowed,
                    whole.excess
                );
            }
            if found.is_wrong() {
                return Err(format!(
                    "{}, {}: {} is off by {} bounds ({whole:?})",
                    problem.name,
                    describe(&method),
                    problem.network.layout.name(whole.worst),
                    whole.excess
                ));
            }
        }
    }
    for scheme in [Scheme::Forward, Scheme::Central] {
        for precision in [Precision::F64, Precision::F32] {
            let found = subject
                .directions(scheme, precision, 8, 5, &Control::default())
                .unwrap();
            if std::env::var_os("SHOW").is_some() {
                println!(
                    "{:40} directions {scheme:?} {precision:?} h {:.1e} error {:.1e} allowed {:.1e} missed 1 %: {:.1e}",
                    problem.name,
                    found.increment.unwrap(),
                    found.relative_error(),
                    found.allowed(),
                    found.miss_probability(0.01)
                );
            }
            if !found.passed() {
                return Err(format!("{}, {found:?}", problem.name));
            }
        }
    }
    for config in random_direction_methods(increments) {
        for precision in [Precision::F64, Precision::F32] {
            let found = subject.estimate(&config, precision, 4, 5, &Control::default());
            let found = match found {
                Ok(found) => found.unwrap(),
                Err(Stopped::Vanished { .. }) => continue,
                Err(other) => return Err(other.to_string()),
            };
            if std::env::var_os("SHOW").is_some() {
                println!(
                    "{:40} {config:?} {precision:?} error {:.1e} allowed {:.1e}",
                    problem.name,
                    found.relative_error(),
                    found.allowed(),
                );
            }
            if !found.passed() {
                return Err(format!("{}, {config:?}, {found:?}", problem.name));
            }
        }
    }
    Ok(())
}

/// Returns every random-direction method, SPSA with each of the increments.
fn random_direction_methods(increments: &[Increment]) -> Vec<GradientConfig> {
    let mut methods = Vec::new();
    for distribution in [Distribution::Rademacher, Distribution::Gaussian] {
        let directions = DirectionsConfig {
            count: 3,
            distribution,
        };
        for perturbed in [PerturbedQuantity::Weights, PerturbedQuantity::Activations] {
            methods.push(GradientConfig::ForwardGradient(ForwardGradientConfig {
                directions,
                perturbed,
            }));
        }
        for increment in increments {
            let increment = match increment {
                Increment::Absolute(h) => Some(*h),
                _ => None,
            };
            methods.push(GradientConfig::Spsa(SpsaConfig {
                directions,
                increment,
            }));
        }
    }
    methods
}

/// Describes a method in an assertion.
fn describe(method: &CheckedMethod) -> String {
    let precision = method.precision.name();
    match method.gradient.difference() {
        None => format!("{:?} {precision}", method.gradient),
        Some(config) => format!(
            "{} {} {} {} {} {precision} {:?}",
            config.scheme.name(),
            config.extrapolation(),
            config.reuse.name(),
            config.arithmetic.name(),
            config.summation.name(),
            config.increment
        ),
    }
}

#[test]
fn no_reference_case_raises_an_alarm() {
    for problem in reference_problems() {
        check_raises_no_alarm(&problem, &[Increment::Auto]).unwrap();
    }
}

#[test]
fn slow_no_increment_raises_an_alarm_on_the_reference_cases() {
    let increments: Vec<Increment> = (0..=14)
        .map(|k| Increment::Absolute(10f64.powi(-k)))
        .chain([10.0, 1e-20, 1e-30].map(Increment::Absolute))
        .collect();
    for problem in reference_problems() {
        check_raises_no_alarm(&problem, &increments).unwrap();
    }
}

/// The wrong element is in any layer, weight or bias, and its error is as small as round-off might
/// be.
#[test]
fn one_wrong_element_is_named_and_random_directions_find_it() {
    let pool = Arc::new(Workers::exactly(1).unwrap());
    let mut found = 0;
    for problem in reference_problems() {
        let subject = problem.subject(&pool);
        let right = subject.gradient().clone();
        assert!(!subject.compare_external(&right, Precision::F64).is_wrong());
        let norm = right.flat().iter().map(|g| g * g).sum::<f64>().sqrt();
        let count = right.flat().len();
        for index in [0, count / 3, count / 2, count - 1] {
            let mut wrong = right.clone();
            wrong.flat_mut()[index] += 1e-6 * norm;
            let comparison = subject.compare_external(&wrong, Precision::F64);
            assert!(comparison.is_wrong(), "{}", problem.name);
            assert_eq!(comparison.whole.worst, index, "{}", problem.name);
            let directions = subject
                .directions_of(
                    &wrong,
                    Scheme::Central,
                    Precision::F64,
                    20,
                    1,
                    &Control::default(),
                )
                .unwrap();
            // Directions must find the error if they miss it with a probability below 1e-6.
            if directions.miss_probability(1e-6) < 1e-6 {
                assert!(!directions.passed(), "{}", problem.name);
                found += 1;
            }
        }
    }
    assert!(found > 10, "{found}");
}

/// For each method, 20 directions must find errors of the given size relative to the gradient's
/// norm with a probability of at least 1 − 1e-6, on networks that are not saturated. The sizes are
/// at most about twice those that the worst reference case needs.
#[test]
fn bounds_along_random_directions_are_narrow_enough_for_small_errors() {
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let is_unsaturated = |problem: &Problem| {
        !problem.name.contains("saturated") && !problem.name.contains("large margins")
    };
    let mut seen = 0;
    for problem in reference_problems().into_iter().filter(is_unsaturated) {
        let subject = problem.subject(&pool);
        for (scheme, precision, smallest) in [
            (Scheme::Forward, Precision::F64, 1e-5),
            (Scheme::Forward, Precision::F32, 0.2),
            (Scheme::Central, Precision::F64, 2e-8),
            (Scheme::Central, Precision::F32, 0.02),
        ] {
            let check = |gradient: &Parameters<f64>| {
                let control = Control::default();
                let found = subject.directions_of(gradient, scheme, precision, 20, 1, &control);
                found.unwrap()
            };
            let case = format!("{}, {scheme:?} {precision:?}", problem.name);
            // In f32 θ is rounded, and the gradient is that at the rounded θ.
            let found = subject.directions(scheme, precision, 20, 1, &Control::default());
            let found = found.unwrap();
            assert!(found.passed(), "{case}");
            let missed = found.miss_probability(smallest);
            assert!(missed < 1e-6, "{case}: {missed:e}");
            // All elements have this relative error, or one has this error relative to the norm.
            let right = subject.gradient();
            let mut all_wrong = right.clone();
            all_wrong
                .flat_mut()
                .iter_mut()
                .for_each(|g| *g *= 1.0 + smallest);
            let mut one_wrong = right.clone();
            one_wrong.flat_mut()[right.flat().len() / 2] += smallest * found.norm;
            for wrong in [all_wrong, one_wrong] {
                assert!(!check(&wrong).passed(), "{case}: {smallest:e} is not found");
                seen += 1;
            }
        }
        for config in random_direction_methods(&[Increment::Auto]) {
            let limits = match &config {
                GradientConfig::Spsa(_) => [2e-7, 0.15],
                GradientConfig::ForwardGradient(config) => match config.perturbed {
                    PerturbedQuantity::Weights => [2e-11, 5e-3],
                    PerturbedQuantity::Activations => [3e-12, 1e-3],
                },
                other => panic!("{other:?}"),
            };
            for (precision, smallest) in [Precision::F64, Precision::F32].into_iter().zip(limits) {
                let found = subject.estimate(&config, precision, 20, 1, &Control::default());
                let missed = found.unwrap().unwrap().miss_probability(smallest);
                assert!(
                    missed < 1e-6,
                    "{}, {config:?} {precision:?}: {missed:e}",
                    problem.name
                );
            }
        }
    }
    assert_eq!(seen, 7 * 4 * 2);
}

/// Tests the best relative errors of 784-30-10 on 100 images after one epoch of training: at most
/// three times the values in the table below.
#[test]
fn slow_the_best_errors_on_mnist_are_near_those_of_theory() {
    let problem = mnist_30(100);
    let pool = Arc::new(Workers::new(None).unwrap());
    let subject = problem.subject(&pool);
    let error = |scheme: Scheme, free: bool, precision: Precision, power: i32| {
        let is_wanted = |method: &CheckedMethod| {
            method.gradient.difference().is_some_and(|config| {
                config.scheme == scheme
                    && config.reuse == Reuse::Incremental
                    && (config.arithmetic == Arithmetic::CancellationFree) == free
                    && method.precision == precision
            })
        };
        let increment = Increment::Absolute(10f64.powi(power));
        let methods = methods(increment, Summation::Differences);
        let method = methods.iter().find(|method| is_wanted(method)).unwrap();
        let outcome = subject.run(method, &Control::default()).unwrap();
        let Outcome::Compared(found) = outcome else {
            panic!("an increment of incremental differences is lost");
        };
        assert!(!found.is_wrong(), "{method:?}: {:?}", found.whole);
        found.whole.relative_error
    };
    let best = |scheme, precision, powers: std::ops::RangeInclusive<i32>| {
        let errors = powers.map(|power| error(scheme, false, precision, power));
        errors.fold(f64::INFINITY, f64::min)
    };
    for (scheme, precision, powers, table) in [
        (Scheme::Forward, Precision::F64, -9..=-6, 4e-8),
        (Scheme::Central, Precision::F64, -7..=-3, 1e-10),
        (Scheme::Forward, Precision::F32, -4..=-1, 1e-3),
        (Scheme::Central, Precision::F32, -3..=-1, 1e-4),
    ] {
        let reached = best(scheme, precision, powers);
        println!("{} {}: {reached:.1e}", scheme.name(), precision.name());
        assert!(
            reached <= 3.0 * table,
            "{scheme:?} {precision:?}: {reached:e}"
        );
    }
    for power in (-20..=-6).step_by(2) {
        let reached = error(Scheme::Forward, true, Precision::F32, power);
        println!("cancellation-free f32 at 1e{power}: {reached:.1e}");
        assert!(reached <= 2e-6, "1e{power}: {reached:e}");
    }
    let reached = error(Scheme::Forward, true, Precision::F64, -16);
    println!("cancellation-free f64 at 1e-16: {reached:.1e}");
    assert!(reached <= 1e-14, "{reached:e}");
}

/// Both compute the derivative of the same loss without truncation. Each has a round-off of κ·u
/// relative to the sum of the absolute values of all paths, where κ is 36 per layer plus two
/// roundings per product. In a single row whose paths cancel, the error relative to the
/// remaining sum may exceed 1e-14.
#[test]
fn backprop_and_the_complex_step_agree_to_round_off() {
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let mut problems = reference_problems();
    for output_index in 0..OUTPUTS_AND_LOSSES.len() {
        let classes = if output_index == 4 { 2 } else { 3 };
        problems.push(random_problem(
            6,
            &[5, 4, 3],
            output_index,
            classes,
            7,
            (1.0, 1.0),
            1e-2,
            5,
        ));
    }
    problems.push(mnist_30(10));
    for problem in problems {
        let subject = problem.subject(&pool);
        let control = Control::default();
        let found = subject.complex_step(&control).unwrap();
        let whole = &found.whole;
        println!(
            "{:45} {:.1e}, allowed {:.1e}",
            problem.name, whole.relative_error, whole.allowed
        );
        assert!(!found.is_wrong(), "{}: {whole:?}", problem.name);
        assert!(whole.relative_error < 1e-14, "{}: {whole:?}", problem.name);
        let parameters = problem.network.layout.len() as u64;
        assert_eq!(control.evaluations(), parameters);
    }
}

/// −1 + u is representable and −1 − u is not, so a central difference of increment u would be
/// one-sided in this parameter.
#[test]
fn central_differences_refuse_an_increment_that_is_lost_only_below_theta() {
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let mut problem = random_problem(3, &[2], 0, 2, 4, (1.0, 1.0), 0.0, 5);
    let at = 4;
    for (index, theta) in problem.theta.flat_mut().iter_mut().enumerate() {
        *theta = if index == at {
            -1.0
        } else {
            0.75 - 0.03 * index as f64
        };
    }
    let subject = problem.subject(&pool);
    let assert_names_parameter = |lost: Stopped| match lost {
        Stopped::Vanished {
            parameter, value, ..
        } => {
            assert_eq!(parameter, problem.network.layout.name(at));
            assert_eq!(value, -1.0);
        }
        other => panic!("{other}"),
    };
    for (precision, u) in [
        (Precision::F64, f64::EPSILON / 2.0),
        (Precision::F32, f64::from(f32::EPSILON / 2.0)),
    ] {
        let mut refused = 0;
        for method in methods(Increment::Absolute(u), Summation::Differences) {
            let Some(config) = method.gradient.difference() else {
                continue;
            };
            if method.precision != precision || config.reuse == Reuse::Incremental {
                continue;
            }
            let outcome = subject.run(&method, &Control::default()).unwrap();
            let predicted = subject.predict(&method, &[config.increment]);
            match (config.scheme, outcome) {
                (Scheme::Central, Outcome::Lost(lost)) => {
                    assert_names_parameter(lost);
                    assert_eq!(predicted, [None], "{}", describe(&method));
                    refused += 1;
                }
                (Scheme::Forward, Outcome::Compared(_)) => assert_ne!(predicted, [None]),
                (_, other) => panic!("{}: {other:?}", describe(&method)),
            }
        }
        assert_eq!(
            refused, 2,
            "full and prefix evaluation must refuse the increment"
        );
        let spsa = GradientConfig::Spsa(SpsaConfig {
            directions: DirectionsConfig {
                count: 1,
                distribution: Distribution::Rademacher,
            },
            increment: Some(u),
        });
        let lost = subject.estimate(&spsa, precision, 4, 5, &Control::default());
        assert_names_parameter(lost.unwrap_err());
    }
}

/// The bounds of an extrapolated quotient are of its higher order, so a quotient at h/2 that was
/// not extrapolated exceeds them, except for a saturated softmax, whose truncation is as small as
/// round-off.
#[test]
fn a_missing_extrapolation_is_found() {
    let pool = Arc::new(Workers::exactly(1).unwrap());
    let (mut seen, mut beyond) = (0, 0);
    for problem in reference_problems() {
        let subject = problem.subject(&pool);
        let errors =
            |method: &CheckedMethod| match subject.run(method, &Control::default()).unwrap() {
                Outcome::Compared(found) => found.whole,
                Outcome::Lost(lost) => {
                    panic!("an increment of incremental differences is lost: {lost}")
                }
            };
        for scheme in [Scheme::Forward, Scheme::Central] {
            let find = |methods: Vec<CheckedMethod>, extrapolate| {
                let is_wanted = |method: &CheckedMethod| {
                    method.gradient.difference().is_some_and(|config| {
                        config.scheme == scheme
                            && config.reuse == Reuse::Incremental
                            && config.arithmetic == Arithmetic::Plain
                            && config.extrapolate == extrapolate
                            && config.increment != Increment::Noise
                            && method.precision == Precision::F64
                    })
                };
                methods.into_iter().find(is_wanted).unwrap()
            };
            let h = 1e-2;
            let whole = find(adaptive_methods(Increment::Absolute(h)), true);
            let halved = Increment::Absolute(h / 2.0);
            let half = find(methods(halved, Summation::Differences), false);
            let (whole, half) = (errors(&whole), errors(&half));
            assert!(whole.excess <= 1.0, "{}: {whole:?}", problem.name);
            seen += 1;
            beyond += usize::from(half.relative_error > 3.0 * whole.allowed);
        }
    }
    assert_eq!((seen, beyond >= 18), (20, true), "{beyond}");
}

/// The squares of derivatives of 1e-192 underflow; their round-off must still be bounded.
#[test]
fn a_saturated_network_raises_no_alarm_where_squares_underflow() {
    let scales = (4.475_251_775_518_926_5, 97.469_884_082_755_09);
    let problem = random_problem(21, &[], 0, 3, 1, scales, 0.0, 685_640_074_692);
    let pool = Arc::new(Workers::exactly(1).unwrap());
    let subject = problem.subject(&pool);
    let gradient = subject.gradient().flat();
    let largest = gradient.iter().fold(0.0, |most: f64, g| most.max(g.abs()));
    assert!(0.0 < largest && largest < 1e-180, "{largest:e}");
    check_raises_no_alarm(&problem, &[Increment::Auto]).unwrap();
}

/// Of thousands of partial derivatives, one of at least average size with an error of 1 % must
/// fail. The individual bounds are not accessible, but none is above ‖bounds‖ = allowed·‖g‖, and an
/// added error is hidden by at most the bound and the present error.
#[test]
fn a_partial_derivative_off_by_one_percent_among_thousands_fails() {
    let pool = Arc::new(Workers::exactly(2).unwrap());
    for (output_index, (_, loss)) in OUTPUTS_AND_LOSSES.into_iter().enumerate() {
        let classes = if loss == Loss::Logistic { 2 } else { 10 };
        let problem = random_problem(60, &[40], output_index, classes, 8, (0.3, 1.0), 1e-3, 5);
        let subject = problem.subject(&pool);
        let right = subject.gradient();
        assert!(right.flat().len() > 2400);
        let norm = right.flat().iter().map(|g| g * g).sum::<f64>().sqrt();
        let average = norm / (right.flat().len() as f64).sqrt();
        let one_percent = |g: f64| 0.01 * g.abs();
        let mut at = 0..right.flat().len();
        let at = at.find(|&at| right.flat()[at].abs() >= average).unwrap();
        let mut seen = 0;
        for method in methods(Increment::Auto, Summation::Differences)
            .into_iter()
            .chain(adaptive_methods(Increment::Auto))
        {
            // Subtracting f32 losses does not give a derivative to 1 %.
            let plain = method.gradient.perturbation();
            let plain = plain.is_some_and(|config| config.arithmetic == Arithmetic::Plain);
            let outcome = subject.run(&method, &Control::default()).unwrap();
            let Outcome::Compared(found) = outcome else {
                panic!("an automatic increment is lost");
            };
            let whole = &found.whole;
            let hidden = (whole.allowed + whole.relative_error) * norm;
            println!(
                "{:45} {:60} hides {:.1e} of {:.1e}",
                problem.name,
                describe(&method),
                hidden,
                one_percent(right.flat()[at])
            );
            if method.precision == Precision::F64 || !plain {
                assert!(
                    hidden < one_percent(right.flat()[at]),
                    "{}, {}: {hidden:e}",
                    problem.name,
                    describe(&method)
                );
                seen += 1;
            }
        }
        assert!(seen > 15, "{seen}");
        for precision in [Precision::F64, Precision::F32] {
            let mut wrong = right.clone();
            wrong.flat_mut()[at] *= 1.01;
            let comparison = subject.compare_external(&wrong, precision);
            assert!(comparison.is_wrong() && comparison.whole.worst == at);
        }
    }
}

/// Each of these networks once raised a false alarm, by a different cause.
#[test]
fn networks_that_once_raised_an_alarm_raise_none() {
    let linear_scales = (1.384_735_355_711_292_9e-3, 784.642_529_751_394_6);
    for (problem, increment) in [
        // Increments so large that probabilities change from underflow to 1.
        (
            random_problem(
                6,
                &[],
                3,
                3,
                3,
                (7.605_465_403_601_677, 94.211_928_365_397_61),
                0.0,
                120_140_106_781,
            ),
            100.0,
        ),
        (
            random_problem(
                12,
                &[],
                3,
                2,
                1,
                (4.316_143_552_180_523, 84.581_693_791_354_14),
                0.0,
                272_327_913_557,
            ),
            1.0,
        ),
        // Losses that are larger at the perturbed points, and so have larger rounding errors.
        (
            random_problem(27, &[], 1, 3, 5, linear_scales, 0.0, 346_827_821_993),
            1.0,
        ),
        (
            random_problem(
                24,
                &[3, 7],
                1,
                3,
                2,
                (5.201_092_040_978_241, 51.422_369_822_361_79),
                0.0,
                994_721_292_396,
            ),
            1e3,
        ),
        // An increment across the clamp of σ.
        (
            random_problem(
                27,
                &[1],
                4,
                2,
                1,
                (29.768_589_194_067_69, 0.296_151_257_927_601_44),
                0.526_549_434_142_53,
                369_672_553_695,
            ),
            1.0,
        ),
        // Subnormal changes of units with a very small slope and large weights above them.
        (
            random_problem(
                18,
                &[4, 1],
                2,
                4,
                1,
                (41.894_709_304_366_4, 0.033_236_673_830_972_54),
                0.0,
                267_349_114_719,
            ),
            1e-24,
        ),
        (
            random_problem(
                23,
                &[5, 8, 1],
                1,
                3,
                1,
                (60.920_852_886_851_705, 1.823_378_420_668_577_7e-3),
                0.0,
                307_665_809_662,
            ),
            1e-19,
        ),
        // A curvature that is the difference of a softmax's target and mean, which are equal.
        (
            random_problem(
                23,
                &[3],
                3,
                5,
                1,
                (80.376_585_872_386_29, 3.611_284_514_417_832_7e-3),
                0.0,
                590_450_406_567,
            ),
            1e-12,
        ),
    ] {
        check_raises_no_alarm(&problem, &[Increment::Auto, Increment::Absolute(increment)])
            .unwrap();
    }
}

proptest! {
    #![proptest_config(property_cases(150))]

    #[test]
    fn slow_no_random_network_raises_an_alarm(
        hidden in proptest::collection::vec(1_usize..9, 0..5),
        output_index in 0..OUTPUTS_AND_LOSSES.len(),
        classes in 2_usize..5,
        inputs in 1_usize..30,
        rows in 1_usize..9,
        spread in prop_oneof![Just(1.0), 0.01..8.0, (-3.0..2.0).prop_map(|power| 10f64.powf(power))],
        scale in prop_oneof![Just(1.0), 0.001..100.0, (-3.0..3.0).prop_map(|power| 10f64.powf(power))],
        l2 in prop_oneof![Just(0.0), 0.0..1.0],
        seed in 0_u64..1 << 40,
    ) {
        let classes = if OUTPUTS_AND_LOSSES[output_index].1 == Loss::Logistic { 2 } else { classes };
        let problem = random_problem(inputs, &hidden, output_index, classes, rows, (spread, scale), l2, seed);
        // From 1e3 down to 1e-32.
        let increment = Increment::Absolute(10f64.powi(3 - ((seed % 36) as i32)));
        check_raises_no_alarm(&problem, &[Increment::Auto, increment]).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn weights_of_classes_and_numbers_as_targets_raise_no_alarm() {
    for problem in target_and_weight_problems() {
        check_raises_no_alarm(&problem, &[Increment::Auto]).unwrap();
    }
    let shapes: [&[usize]; 3] = [&[], &[4], &[5, 3]];
    for (seed, hidden) in (1..).zip(shapes) {
        let problem = |outputs, classes| {
            random_problem(6, hidden, outputs, classes, 5, (0.8, 1.0), 0.01, seed)
        };
        for outputs in 0..OUTPUTS_AND_LOSSES.len() {
            let classes = if outputs == 4 { 2 } else { 3 };
            let problem = weighted(problem(outputs, classes));
            check_raises_no_alarm(&problem, &[Increment::Auto]).unwrap();
        }
        for center in [0.0, 40.0] {
            let problem = with_number_targets(problem(1, 3), center);
            check_raises_no_alarm(&problem, &[Increment::Auto]).unwrap();
        }
    }
}
