//! Logistic regression is trained by every way to the gradient: after the same steps, the weights
//! that backprop gives.

mod support;

use std::sync::Arc;

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
use support::breast_cancer::BreastCancer;

const STEPS: usize = 5;
/// Below 2/Λ, where Λ ≤ ¼·(30 + 1) is the largest curvature of the mean loss over standardized
/// inputs: so a step draws two θ nearer to each other, and errors add up and never grow.
const RATE: f64 = 0.05;

/// θ after [`STEPS`] steps of gradient descent over all rows from θ = 0, and its first gradient.
fn train<R: Real>(method: &GradientConfig, data: &BreastCancer) -> (Vec<f64>, Vec<f64>) {
    let network = Network::new(&[30, 1], true, OutputUnits::Linear, Loss::Logistic, 0.0).unwrap();
    let samples = data.samples::<R>();
    let pool = Arc::new(Workers::new(Some(2)).unwrap());
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

/// A method, and what each of its partial derivatives may be off.
struct Way {
    method: GradientConfig,
    error: f64,
}

/// Truncation by |L″| ≤ ¼ and |L‴| ≤ .1 a row, inputs standardized, with h at most twice `auto`'s
/// own (|θ| stays below 2); 8 roundings of losses of ln 2 on each side.
fn every_way<R: Real>() -> Vec<Way> {
    let u = R::UNIT_ROUNDOFF;
    let noise = |h: f64| 2.0 * 8.0 * u * std::f64::consts::LN_2 / h;
    // Two chains of 30 products, and a sum of 569 rows whose errors are independent.
    let exact = 200.0 * u;
    let forward = |h: f64| exact + h / 4.0 + noise(h / 2.0);
    let mut ways = Vec::new();
    let mut add = |method, error| ways.push(Way { method, error });
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
    ways
}

fn is_trained_by_every_way<R: Real>() {
    let data = BreastCancer::standardized();
    let (expected, _) = train::<f64>(&GradientConfig::Backprop, &data);
    assert!(expected.iter().any(|x| x.abs() > 0.01));
    for Way { method, error } in every_way::<R>() {
        let (theta, gradient) = train::<R>(&method, &data);
        assert!(gradient.iter().any(|g| g.abs() > 0.01), "{method:?}");
        let squares = theta.iter().zip(&expected).map(|(a, b)| (a - b).powi(2));
        let distance = squares.sum::<f64>().sqrt();
        // Each step adds its errors, and its rounding of θ.
        let parameters = (expected.len() as f64).sqrt();
        let allowed = STEPS as f64 * parameters * (RATE * error + 2.0 * R::UNIT_ROUNDOFF);
        println!("{method:?} {distance:.1e} of {allowed:.1e}");
        assert!(
            distance <= allowed,
            "{method:?}: {distance:e} of {allowed:e}"
        );
        assert!(allowed < 0.01, "{method:?}: {allowed:e} says nothing");
    }
}

#[test]
fn logistic_regression_is_trained_by_every_way_to_the_gradient_in_double_precision() {
    is_trained_by_every_way::<f64>();
}

#[test]
fn logistic_regression_is_trained_by_every_way_to_the_gradient_in_single_precision() {
    is_trained_by_every_way::<f32>();
}
