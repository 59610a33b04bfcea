//! Every gradient method trains logistic regression: after the same steps, it gives the weights of
//! backprop.

use std::sync::Arc;

use crate::support::breast_cancer::BreastCancer;
use nplus1::data::Batch;
use nplus1::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, NodePerturbationConfig, Reuse, Scheme, Summation,
};
use nplus1::gradient::{Control, GradientConfig, NumericBackpropConfig};
use nplus1::kernels::Isa;
use nplus1::kernels::update::Rule;
use nplus1::model::{Loss, Network, OutputUnits, Parameters};
use nplus1::numeric::Real;
use nplus1::parallel::Workers;

const STEPS: usize = 5;
/// The learning rate. It is below 2/Λ, where Λ ≤ ¼·(30 + 1) is the largest curvature of the mean
/// loss over standardized inputs, so a step never increases the distance of two θ: errors of the
/// steps add up, but are not amplified.
const RATE: f64 = 0.05;

/// Returns θ after [`STEPS`] steps of gradient descent over all rows from θ = 0, and the first
/// gradient.
fn train<R: Real>(method: &GradientConfig, data: &BreastCancer) -> (Vec<f64>, Vec<f64>) {
    let network = Network::new(&[30, 1], true, OutputUnits::Linear, Loss::Logistic, 0.0).unwrap();
    let samples = data.samples::<R>();
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let rows = data.rows.len();
    let mut engine = method.engine(&network, &pool, Isa::detect(), &samples, rows);
    let mut theta = Parameters::<R>::zeros(Arc::clone(&network.layout));
    let mut gradient = Parameters::<R>::zeros(Arc::clone(&network.layout));
    let batch = Batch {
        samples: &samples,
        rows: &data.rows,
    };
    let control = Control::default();
    engine
        .gradient(&theta, batch, &mut gradient, &control)
        .unwrap();
    let rule = Rule {
        rate: R::from_f64(RATE),
        l2: R::ZERO,
        decay: R::ZERO,
        momentum: R::ZERO,
    };
    engine.load(&theta);
    for _ in 0..STEPS {
        let mut loss = 0.0;
        engine
            .descend(&samples, &data.rows, rows, rule, 1, &mut loss, &control)
            .unwrap();
    }
    engine.store(&mut theta);
    let numbers = |of: &Parameters<R>| of.flat().iter().map(|x| x.to_f64()).collect();
    (numbers(&theta), numbers(&gradient))
}

/// A method, and the bound of the error of each of its partial derivatives.
struct BoundedMethod {
    method: GradientConfig,
    error: f64,
}

/// Returns every method.
///
/// Truncation: |L″| ≤ ¼ and |L‴| ≤ 0.1 per row for standardized inputs, and h is at most twice that
/// of `auto` at θ = 0 (|θ| stays below 2). Round-off: 8 roundings of a loss of ln 2 at each of two
/// points.
fn every_method<R: Real>() -> Vec<BoundedMethod> {
    let u = R::UNIT_ROUNDOFF;
    let noise = |h: f64| 2.0 * 8.0 * u * std::f64::consts::LN_2 / h;
    // Two chains of 30 products, and a sum of 569 rows whose errors are independent.
    let exact = 200.0 * u;
    let forward = |h: f64| exact + h / 4.0 + noise(h / 2.0);
    let mut methods = Vec::new();
    let mut add = |method, error| methods.push(BoundedMethod { method, error });
    for scheme in [Scheme::Forward, Scheme::Central] {
        for (reuse, arithmetic) in [
            (Reuse::Full, Arithmetic::Plain),
            (Reuse::Prefix, Arithmetic::Plain),
            (Reuse::Incremental, Arithmetic::Plain),
            (Reuse::Incremental, Arithmetic::CancellationFree),
        ] {
            let config = DifferenceConfig {
                scheme,
                reuse,
                arithmetic,
                summation: Summation::Differences,
                increment: Increment::Auto,
                extrapolate: false,
            };
            let error = match (arithmetic, scheme) {
                (Arithmetic::CancellationFree, _) => 2.0 * exact,
                (_, Scheme::Forward) => forward(u.sqrt()),
                // The mean of |x|³ is below 60 for each feature.
                (_, Scheme::Central) => exact + u.cbrt().powi(2) * 4.0 + noise(u.cbrt() / 2.0),
            };
            add(GradientConfig::Difference(config), error);
        }
    }
    for reuse in [Reuse::Full, Reuse::Prefix, Reuse::Incremental] {
        add(GradientConfig::ForwardMode(reuse), exact);
    }
    for (arithmetic, error) in [
        (Arithmetic::Plain, forward(u.sqrt())),
        (Arithmetic::CancellationFree, 2.0 * exact),
    ] {
        let config = NodePerturbationConfig {
            arithmetic,
            increment: None,
        };
        add(GradientConfig::NodePerturbation(config), error);
    }
    let config = NumericBackpropConfig { increment: None };
    add(GradientConfig::NumericBackprop(config), forward(u.sqrt()));
    methods
}

/// Trains by every method, and compares the weights with those of backprop in f64.
fn assert_every_method_trains<R: Real>() {
    let data = BreastCancer::standardized();
    let (expected, _) = train::<f64>(&GradientConfig::Backprop, &data);
    assert!(expected.iter().any(|x| x.abs() > 0.01));
    for BoundedMethod { method, error } in every_method::<R>() {
        let (theta, gradient) = train::<R>(&method, &data);
        assert!(gradient.iter().any(|g| g.abs() > 0.01), "{method:?}");
        let squares = theta.iter().zip(&expected).map(|(a, b)| (a - b).powi(2));
        let distance = squares.sum::<f64>().sqrt();
        // Each step adds the errors of the gradient and of rounding θ.
        let parameters = (expected.len() as f64).sqrt();
        let allowed = STEPS as f64 * parameters * (RATE * error + 2.0 * R::UNIT_ROUNDOFF);
        println!("{method:?} {distance:.1e} of {allowed:.1e}");
        assert!(
            distance <= allowed,
            "{method:?}: {distance:e} of {allowed:e}"
        );
        assert!(allowed < 0.01, "{method:?}: {allowed:e} is too wide");
    }
}

#[test]
fn every_gradient_method_trains_logistic_regression_in_double_precision() {
    assert_every_method_trains::<f64>();
}

#[test]
fn every_gradient_method_trains_logistic_regression_in_single_precision() {
    assert_every_method_trains::<f32>();
}
