//! L-BFGS does not need exact gradients, only an error below the size of the gradient that it
//! shall reach; the study of L-BFGS reports this from its observations.

mod support;

use std::sync::Arc;

use nplus1::gradient::Control;
use nplus1::gradient::finite_difference::{Scheme, Summation};
use nplus1::kernels::Isa;
use nplus1::model::{Initialization, Parameters};
use nplus1::numeric::Precision;
use nplus1::optimizer::LbfgsConfig;
use nplus1::parallel::Workers;
use nplus1::study::lbfgs_precision::{
    GradientCase, MinimizationEnding, MinimizationRow, MinimizationSubject, MinimizationVerdict,
    cases, exact, quotient,
};
use support::breast_cancer::BreastCancer;

const TOLERANCE: f64 = 1e-6;

/// Runs the study for `cases`, and returns their rows.
fn minimized(cases: &[GradientCase]) -> Vec<MinimizationRow> {
    let data = BreastCancer::standardized();
    // With this l2, every start ends in the same minimum (tests/reference/optimizers.py).
    let network = data.network(2e-3);
    let start: Parameters<f64> = Initialization::Scaled.draw(&network.layout, 1);
    let subject = MinimizationSubject {
        network: &network,
        dataset: &data.dataset,
        scaling: &data.scaling,
        rows: &data.rows,
        start: &start,
        config: LbfgsConfig {
            memory: 10,
            tolerance: TOLERANCE,
        },
        max_iterations: 1000,
        pool: &Arc::new(Workers::exactly(1).unwrap()),
        isa: Isa::detect(),
        control: &Control::default(),
    };
    let row = |case| subject.row(case).unwrap().expect("no interrupt");
    cases.iter().map(row).collect()
}

fn double(scheme: Scheme, increment: f64) -> GradientCase {
    quotient(scheme, Precision::F64, Summation::Losses, increment)
}

/// The minimum found by scipy.
const MINIMUM: f64 = 0.087_918_428_249;

#[test]
fn l_bfgs_converges_with_inexact_gradients_as_with_exact_ones() {
    let rows = minimized(&[
        exact(Precision::F64),
        double(Scheme::Forward, 1e-8),
        double(Scheme::Central, 1e-4),
    ]);
    let iterations = rows[0].iterations;
    // Backprop evaluates one loss per gradient: one at the start, one per iteration, few for
    // refused steps.
    let gradients = rows[0].evaluations as usize;
    assert!(
        gradients > iterations && gradients < 2 * iterations,
        "{gradients}"
    );
    for row in rows {
        assert_eq!(row.ending, MinimizationEnding::Tolerance, "{row:?}");
        assert_eq!(row.verdict, MinimizationVerdict::Converges);
        assert!(row.largest_gradient <= 2.0 * TOLERANCE, "{row:?}");
        // ‖g‖∞ ≤ 2e-6 for 257 parameters and a curvature of at least l2 = 2e-3: 257·4e-12/(2·2e-3).
        assert!((row.objective - MINIMUM).abs() < 2.6e-7, "{row:?}");
        assert!(row.iterations.abs_diff(iterations) < iterations / 2);
    }
}

#[test]
fn unsuitable_increments_end_the_search_where_the_error_reaches_the_gradient() {
    let rows = minimized(&[
        double(Scheme::Forward, 1e-1),
        double(Scheme::Forward, 1e-12),
        double(Scheme::Forward, 1e-14),
    ]);
    let causes = [
        (MinimizationVerdict::Truncation, None),
        // The gradient at which scipy 1.17's L-BFGS-B stalls, with l2 = 1e-3.
        (MinimizationVerdict::RoundOff, Some(1.3e-5)),
        (MinimizationVerdict::RoundOff, Some(4.9e-4)),
    ];
    for (row, (verdict, scipy)) in rows.iter().zip(causes) {
        assert_eq!(row.ending, MinimizationEnding::LineSearch, "{row:?}");
        assert_eq!(row.verdict, verdict, "{row:?}");
        let (size, error) = (row.largest_gradient, row.largest_error.unwrap());
        assert!(size > 2.0 * TOLERANCE && error >= 0.5 * size, "{row:?}");
        assert!(row.explanation.contains("has reached its size"), "{row:?}");
        assert!(row.objective > MINIMUM, "{row:?}");
        if let Some(scipy) = scipy {
            assert!((0.1..=10.0).contains(&(size / scipy)), "{row:?}");
        }
        // A gradient takes 258 losses. There is one at the start, one per iteration, and at least
        // 20 in the line search that failed.
        assert!(row.evaluations.is_multiple_of(258));
        assert!(row.evaluations / 258 > row.iterations as u64 + 20);
    }
    // Round-off, and with it the final gradient, grows as the increment falls.
    assert!(rows[1].largest_gradient < 0.5 * rows[2].largest_gradient);
}

#[test]
fn in_single_precision_summing_differences_ends_nearer_the_minimum_than_subtracting_sums() {
    let single = |summation| quotient(Scheme::Forward, Precision::F32, summation, 1e-3);
    let rows = minimized(&[
        single(Summation::Losses),
        single(Summation::Differences),
        exact(Precision::F32),
    ]);
    // The gradients at which scipy stalls, with l2 = 1e-3.
    for (row, scipy) in rows.iter().zip([3.0e-5, 1.2e-5]) {
        assert_eq!(row.ending, MinimizationEnding::LineSearch, "{row:?}");
        let (size, error) = (row.largest_gradient, row.largest_error.unwrap());
        assert!(error >= 0.5 * size, "{row:?}");
        assert!((0.1..=10.0).contains(&(size / scipy)), "{row:?}");
    }
    assert!(rows[1].largest_error < rows[0].largest_error);
    // The error of backprop in f32 is far below that of differences, and it ends at a smaller
    // gradient.
    assert!(rows[2].largest_error.unwrap() < 0.01 * rows[1].largest_error.unwrap());
    assert!(rows[2].largest_gradient < rows[1].largest_gradient);
}

#[test]
fn a_case_whose_increment_is_lost_in_theta_is_not_started() {
    let lost = quotient(Scheme::Forward, Precision::F32, Summation::Losses, 1e-12);
    let row = minimized(&[lost]).remove(0);
    assert_eq!(row.ending, MinimizationEnding::IncrementLost, "{row:?}");
    assert_eq!((row.iterations, row.evaluations), (0, 0));
    assert_eq!((row.largest_error, row.relative_error), (None, None));
}

#[test]
fn the_study_begins_with_the_exact_gradient_and_spans_fourteen_decades() {
    let default_cases = cases(None);
    assert_eq!(default_cases[0], exact(Precision::F64));
    for scheme in [Scheme::Forward, Scheme::Central] {
        for increment in [1e-1, 1e-8, 1e-14] {
            assert!(
                default_cases.contains(&double(scheme, increment)),
                "{increment}"
            );
        }
    }
    // Two increments for each of three summations and two schemes; backprop and cancellation-free
    // differences in both precisions.
    let given = cases(Some(&[1e-3, 1e-5]));
    assert_eq!(given.len(), 2 * 6 + 4);
    assert!(given.contains(&double(Scheme::Central, 1e-5)));
    assert!(!given.contains(&double(Scheme::Central, 1e-1)));
}
