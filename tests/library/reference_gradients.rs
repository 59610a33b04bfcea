//! The gradients of every method agree with those of PyTorch's float64 autograd
//! (`tests/reference/gradients.json`).

use crate::support::reference_cases::{Case, reference_cases};
use crate::support::scalar_differences::increments;
use crate::support::tolerance::{norm, parameter_increments, round_off, truncation};
use nplus1::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, Reuse, Scheme, Summation,
};
use nplus1::gradient::{Control, GradientConfig};
use nplus1::numeric::Real;
use nplus1::textbook::TextbookNetwork;

/// Returns ‖ĝ − g‖₂/‖g‖₂ of the gradient by `method`, and the relative error of the loss.
fn relative_error<R: Real>(case: &Case, method: &GradientConfig) -> (f64, f64) {
    let (gradient, loss) = case.gradient_by::<R>(method, &Control::default());
    let layout = &case.network.layout;
    let l2: f64 = (0..layout.layers())
        .flat_map(|layer| layout.weights(layer))
        .map(|index| case.parameters[index].powi(2) * case.network.l2 / 2.0)
        .sum();
    (
        crate::support::networks::relative_error(&gradient, &case.gradient),
        (loss + l2 - case.loss).abs() / case.loss,
    )
}

#[test]
fn double_precision_agrees_to_1e_12() {
    for case in reference_cases() {
        let (gradient, loss) = relative_error::<f64>(&case, &GradientConfig::Backprop);
        println!("{:45} f64 {gradient:.1e} loss {loss:.1e}", case.name);
        assert!(gradient <= 1e-12, "{}: {gradient:e}", case.name);
        assert!(loss <= 1e-12, "{}: {loss:e}", case.name);
    }
}

#[test]
fn single_precision_agrees_to_2e_6_and_saturated_units_to_2e_5() {
    for case in reference_cases() {
        let (gradient, loss) = relative_error::<f32>(&case, &GradientConfig::Backprop);
        println!("{:45} f32 {gradient:.1e} loss {loss:.1e}", case.name);
        let allowed = if case.name.contains("saturated") {
            2e-5
        } else {
            2e-6
        };
        assert!(gradient <= allowed, "{}: {gradient:e}", case.name);
        assert!(loss <= 2e-6, "{}: {loss:e}", case.name);
    }
}

fn differences() -> Vec<DifferenceConfig> {
    let mut configs = Vec::new();
    for scheme in [Scheme::Forward, Scheme::Central] {
        for (reuse, arithmetic, summation) in [
            (Reuse::Full, Arithmetic::Plain, Summation::Differences),
            (Reuse::Full, Arithmetic::Plain, Summation::Losses),
            (Reuse::Prefix, Arithmetic::Plain, Summation::Differences),
            (
                Reuse::Incremental,
                Arithmetic::Plain,
                Summation::Differences,
            ),
            (
                Reuse::Incremental,
                Arithmetic::CancellationFree,
                Summation::Differences,
            ),
        ] {
            configs.push(DifferenceConfig {
                scheme,
                reuse,
                arithmetic,
                summation,
                increment: Increment::Auto,
                extrapolate: false,
            });
        }
    }
    configs
}

/// Checks every difference on every case: the norm of its error is within the norm of the bounds
/// for truncation and round-off (`support/tolerance.rs`).
fn every_difference_agrees<R: Real>() {
    for case in reference_cases() {
        let net = TextbookNetwork::from(&case.network);
        let batch = case.batch();
        for config in differences() {
            let method = GradientConfig::Difference(config);
            let h = increments::<R>(&net, &case.parameters, &config);
            let h = parameter_increments(&net, &h);
            let truncated = truncation(&net, &case.parameters, &batch, &h, config.scheme);
            let rounded = round_off::<R>(&net, &case.parameters, &batch, &h, &config);
            // Twice the leading terms of the truncation, for the terms of higher order.
            let allowed = (2.0 * norm(&truncated) + norm(&rounded)) / norm(&case.gradient);
            // The round-off of PyTorch, whose 1 − a loses precision in saturated units.
            let allowed = allowed + 1e-12;
            // A gradient of zeros has an error of 1, and must fail.
            assert!(
                allowed < 1.0,
                "{}: the tolerance of {allowed:e} is too wide",
                case.name
            );
            let (gradient, loss) = relative_error::<R>(&case, &method);
            println!(
                "{:45} {:18} {:12} {:18} {:12} {} {gradient:.1e} of {allowed:.1e}",
                case.name,
                config.scheme.name(),
                config.reuse.name(),
                config.arithmetic.name(),
                config.summation.name(),
                R::PRECISION.name(),
            );
            assert!(
                gradient <= allowed,
                "{}: {gradient:e} {config:?}",
                case.name
            );
            assert!(loss <= 64.0 * R::UNIT_ROUNDOFF, "{}: {loss:e}", case.name);
        }
    }
}

/// Checks forward mode with the bounds of a cancellation-free difference: its round-off, and no
/// truncation.
fn forward_mode_agrees<R: Real>() {
    let config = DifferenceConfig {
        scheme: Scheme::Forward,
        reuse: Reuse::Incremental,
        arithmetic: Arithmetic::CancellationFree,
        summation: Summation::Differences,
        increment: Increment::Absolute(1.0),
        extrapolate: false,
    };
    for case in reference_cases() {
        let net = TextbookNetwork::from(&case.network);
        let h = vec![1.0; case.parameters.len()];
        let rounded = round_off::<R>(&net, &case.parameters, &case.batch(), &h, &config);
        // The round-off of PyTorch, whose 1 − a loses precision in saturated units.
        let allowed = norm(&rounded) / norm(&case.gradient) + 1e-12;
        assert!(allowed < 1e-3, "{}: {allowed:e} is too wide", case.name);
        for reuse in FORWARD_MODES {
            let method = GradientConfig::ForwardMode(reuse);
            let (gradient, loss) = relative_error::<R>(&case, &method);
            println!(
                "{:45} forward-mode {:12} {} {gradient:.1e} of {allowed:.1e}",
                case.name,
                reuse.name(),
                R::PRECISION.name(),
            );
            assert!(gradient <= allowed, "{}: {gradient:e}", case.name);
            assert!(loss <= 64.0 * R::UNIT_ROUNDOFF, "{}: {loss:e}", case.name);
        }
    }
}

const FORWARD_MODES: [Reuse; 3] = [Reuse::Full, Reuse::Prefix, Reuse::Incremental];

#[test]
fn forward_mode_agrees_to_its_round_off_in_both_precisions() {
    forward_mode_agrees::<f64>();
    forward_mode_agrees::<f32>();
}

#[test]
fn slow_finite_differences_agree_within_their_derived_tolerance_in_double_precision() {
    every_difference_agrees::<f64>();
}

#[test]
fn slow_finite_differences_agree_within_their_derived_tolerance_in_single_precision() {
    every_difference_agrees::<f32>();
}
