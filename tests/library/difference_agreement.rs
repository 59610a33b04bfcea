//! On random networks, full, prefix and incremental evaluation of finite differences agree
//! within derived bounds, and cancellation-free differences agree with backprop at any increment.

use std::sync::Arc;

use crate::support::networks::{OUTPUTS_AND_LOSSES, network, samples, theta};
use crate::support::property_cases::property_cases;
use crate::support::scalar_backprop::InputForm;
use crate::support::scalar_differences::increments;
use crate::support::tolerance::{distance, norm, parameter_increments, round_off, truncation};
use nplus1::data::Batch;
use nplus1::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, Reuse, Scheme, Summation,
};
use nplus1::gradient::{Control, GradientConfig};
use nplus1::kernels::Isa;
use nplus1::model::{Network, Parameters};
use nplus1::numeric::Real;
use nplus1::parallel::Workers;
use nplus1::textbook::{Sample, TextbookNetwork};
use proptest::prelude::*;

const FEATURES: usize = 6;

/// A random network with θ and a mini-batch.
#[derive(Debug)]
struct RandomNetwork {
    network: Network,
    theta: Vec<f64>,
    inputs: Vec<Vec<f64>>,
    labels: Vec<u16>,
}

prop_compose! {
    /// Generates networks with 1 to 5 weight layers and every pair of outputs and loss; θ is
    /// multiplied by `scale`.
    fn random_network(scale: f64)(
        hidden in prop::collection::vec(1..8_usize, 0..5),
        output_index in 0..OUTPUTS_AND_LOSSES.len(),
        bias: bool,
        l2 in prop::sample::select(vec![0.0, 0.1]),
        inputs in prop::collection::vec(prop::collection::vec(-20..=20_i32, FEATURES), 1..6),
        labels in prop::collection::vec(0..6_u16, 6),
    ) -> RandomNetwork {
        let network = network(FEATURES, &hidden, bias, OUTPUTS_AND_LOSSES[output_index], l2);
        let classes = if network.layout.sizes().last() == Some(&1) { 2 } else { 3 };
        RandomNetwork {
            // Numbers that are exact in f32 too.
            theta: theta(&network).iter().map(|&w| f64::from((w * scale) as f32)).collect(),
            // Multiples of 1/16, exact in both precisions; some are equal, some 0.
            inputs: inputs.iter().map(|row| row.iter().map(|&x| f64::from(x) / 16.0).collect()).collect(),
            labels: inputs.iter().zip(labels).map(|(_, label)| label % classes).collect(),
            network,
        }
    }
}

impl RandomNetwork {
    fn gradient<R: Real>(&self, method: GradientConfig) -> Vec<f64> {
        let samples = samples::<R>(InputForm::Numbers, &self.inputs, &self.labels);
        let pool = Arc::new(Workers::exactly(1).unwrap());
        let theta = self.theta.iter().map(|&x| R::from_f64(x)).collect();
        let theta = Parameters::from_flat(Arc::clone(&self.network.layout), theta);
        let mut gradient = Parameters::zeros(Arc::clone(&self.network.layout));
        let rows: Vec<u32> = (0..self.inputs.len() as u32).collect();
        let batch = Batch {
            samples: &samples,
            rows: &rows,
        };
        method
            .engine(&self.network, &pool, Isa::detect(), &samples, rows.len())
            .gradient(&theta, batch, &mut gradient, &Control::default())
            .unwrap();
        gradient.flat().iter().map(|g| g.to_f64()).collect()
    }

    fn batch(&self) -> Vec<Sample> {
        let rows = self.inputs.iter().cloned();
        rows.zip(self.labels.iter().copied()).collect()
    }

    /// Compares incremental with full evaluation within bounds, and prefix with full evaluation bit
    /// by bit.
    fn assert_evaluations_agree<R: Real>(&self, scheme: Scheme) {
        let config = |reuse| DifferenceConfig {
            scheme,
            reuse,
            arithmetic: Arithmetic::Plain,
            summation: Summation::Differences,
            increment: Increment::Auto,
            extrapolate: false,
        };
        let net = TextbookNetwork::from(&self.network);
        let full = self.gradient::<R>(GradientConfig::Difference(config(Reuse::Full)));
        // Stored activations below the perturbed layer equal those computed again.
        assert_eq!(
            full,
            self.gradient::<R>(GradientConfig::Difference(config(Reuse::Prefix)))
        );
        let incremental =
            self.gradient::<R>(GradientConfig::Difference(config(Reuse::Incremental)));
        let h = increments::<R>(&net, &self.theta, &config(Reuse::Full));
        let h = parameter_increments(&net, &h);
        let rounded = round_off::<R>(&net, &self.theta, &self.batch(), &h, &config(Reuse::Full));
        // Whole passes perturb by h' = (θ + h) − θ and divide by it. |h' − h| ≤ u·|θ + h|, and the
        // truncation changes in proportion.
        let mut truncation_change = truncation(&net, &self.theta, &self.batch(), &h, scheme);
        for ((change, theta), h) in truncation_change.iter_mut().zip(&self.theta).zip(&h) {
            *change *= 2.0 * R::UNIT_ROUNDOFF * (theta.abs() + h) / h;
        }
        let difference = distance(&full, &incremental);
        let allowed = 2.0 * norm(&rounded) + norm(&truncation_change);
        assert!(difference <= allowed, "{difference:e} of {allowed:e}");
    }

    /// Compares cancellation-free differences of increment `h` with backprop in f64.
    fn assert_agrees_with_backprop<R: Real>(&self, scheme: Scheme, h: f64) {
        let config = DifferenceConfig {
            scheme,
            reuse: Reuse::Incremental,
            arithmetic: Arithmetic::CancellationFree,
            summation: Summation::Differences,
            increment: Increment::Absolute(h),
            extrapolate: false,
        };
        let net = TextbookNetwork::from(&self.network);
        // The textbook's 1 − a loses precision in saturated units; the engine computes σ and 1 − σ.
        let exact = self.gradient::<f64>(GradientConfig::Backprop);
        let found = self.gradient::<R>(GradientConfig::Difference(config));
        let h = vec![R::from_f64(h).to_f64(); exact.len()];
        let truncated = truncation(&net, &self.theta, &self.batch(), &h, scheme);
        let rounded = round_off::<R>(&net, &self.theta, &self.batch(), &h, &config);
        let error = distance(&found, &exact);
        // Twice the leading terms of the truncation: the largest h is 1/10.
        let allowed = 2.0 * norm(&truncated) + norm(&rounded);
        assert!(
            error <= allowed,
            "h = {:e}: {error:e} of {allowed:e}, |g| = {:e}",
            h[0],
            norm(&exact)
        );
    }
}

proptest! {
    #![proptest_config(property_cases(48))]

    #[test]
    fn full_prefix_and_incremental_agree_within_the_derived_tolerance(network in random_network(1.0)) {
        for scheme in [Scheme::Forward, Scheme::Central] {
            network.assert_evaluations_agree::<f64>(scheme);
            network.assert_evaluations_agree::<f32>(scheme);
        }
    }

    #[test]
    fn slow_without_cancellation_every_increment_gives_backprops_gradient(network in random_network(1.0)) {
        for scheme in [Scheme::Forward, Scheme::Central] {
            for exponent in (1..=30).step_by(3) {
                network.assert_agrees_with_backprop::<f64>(scheme, 10f64.powi(-exponent));
            }
            for exponent in (1..=20).step_by(3) {
                network.assert_agrees_with_backprop::<f32>(scheme, 10f64.powi(-exponent));
            }
        }
    }

    /// With θ 20 times as large, pre-activations are some tens. The increments are small enough for
    /// the leading terms of Taylor's series to bound the truncation.
    #[test]
    fn saturated_units_lose_no_precision_without_cancellation(network in random_network(20.0)) {
        for scheme in [Scheme::Forward, Scheme::Central] {
            for exponent in [9, 12, 15, 20, 25, 30] {
                network.assert_agrees_with_backprop::<f64>(scheme, 10f64.powi(-exponent));
            }
            for exponent in [9, 12, 16, 20] {
                network.assert_agrees_with_backprop::<f32>(scheme, 10f64.powi(-exponent));
            }
        }
    }
}
