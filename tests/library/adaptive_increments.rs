//! Extrapolation to h → 0 and noise-based increments improve or keep the accuracy of differences on
//! networks.

use crate::support::reference_cases::{Case, reference_cases};
use nplus1::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, Reuse, Scheme, Summation,
};
use nplus1::gradient::{Control, GradientConfig};
use nplus1::numeric::Real;

const PLAIN: DifferenceConfig = DifferenceConfig {
    scheme: Scheme::Forward,
    reuse: Reuse::Incremental,
    arithmetic: Arithmetic::Plain,
    summation: Summation::Differences,
    increment: Increment::Auto,
    extrapolate: false,
};

/// Returns ‖ĝ − g‖₂/‖g‖₂, and the number of evaluations.
fn relative_error<R: Real>(case: &Case, config: DifferenceConfig) -> (f64, u64) {
    let control = Control::default();
    let (gradient, _) = case.gradient_by::<R>(&GradientConfig::Difference(config), &control);
    let error = crate::support::networks::relative_error(&gradient, &case.gradient);
    (error, control.evaluations())
}

#[test]
fn extrapolation_doubles_the_evaluations_and_raises_the_order() {
    for case in reference_cases() {
        for (scheme, gain) in [(Scheme::Forward, 20.0), (Scheme::Central, 2.0)] {
            for reuse in [Reuse::Full, Reuse::Incremental] {
                let config = DifferenceConfig {
                    scheme,
                    reuse,
                    ..PLAIN
                };
                let (plain, evaluations) = relative_error::<f64>(&case, config);
                let (better, twice) = relative_error::<f64>(
                    &case,
                    DifferenceConfig {
                        extrapolate: true,
                        ..config
                    },
                );
                println!(
                    "{:45} {scheme:?} {reuse:?} {plain:.1e} {better:.1e}",
                    case.name
                );
                assert_eq!(twice, 2 * evaluations);
                // Where plain quotients are at the level of round-off, there is no term to cancel.
                assert!(
                    better * gain < plain || better < 1e-11,
                    "{}: {plain:e} {better:e}",
                    case.name
                );
            }
        }
    }
}

#[test]
fn an_increment_from_noise_is_about_as_good_as_the_automatic_one() {
    // The noise-based increment is the same for all parameters and follows the curvature of a few.
    // It is not suitable for networks whose units are saturated to very different degrees.
    let saturated = |case: &Case| case.name.contains("saturated");
    for case in reference_cases()
        .into_iter()
        .filter(|case| !saturated(case))
    {
        for scheme in [Scheme::Forward, Scheme::Central] {
            for summation in [Summation::Differences, Summation::Losses] {
                let reuse = match summation {
                    Summation::Differences => Reuse::Incremental,
                    Summation::Losses => Reuse::Full,
                };
                let config = DifferenceConfig {
                    scheme,
                    reuse,
                    summation,
                    ..PLAIN
                };
                let (auto, evaluations) = relative_error::<f32>(&case, config);
                let (noise, with_noise) = relative_error::<f32>(
                    &case,
                    DifferenceConfig {
                        increment: Increment::Noise,
                        ..config
                    },
                );
                println!(
                    "{:45} {scheme:?} {summation:?} auto {auto:.1e} noise {noise:.1e}, {} evaluations to measure it",
                    case.name,
                    with_noise - evaluations
                );
                assert!(with_noise > evaluations);
                assert!(noise < 10.0 * auto, "{}: {auto:e} {noise:e}", case.name);
            }
        }
    }
}
