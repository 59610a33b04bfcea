//! L-BFGS does not need exact gradients, only an error below the size of the gradient that it
//! shall reach; the study of L-BFGS reports this from its observations. Its problem is that of
//! `tests/reference/lbfgs_precision.py`: small, because a search takes thousands of evaluations.

use std::sync::Arc;

use crate::support::breast_cancer::BreastCancer;
use nplus1::gradient::Control;
use nplus1::gradient::finite_difference::{Scheme, Summation};
use nplus1::kernels::Isa;
use nplus1::model::{Initialization, Loss, Network, OutputUnits, Parameters};
use nplus1::numeric::Precision;
use nplus1::optimizer::LbfgsConfig;
use nplus1::parallel::Workers;
use nplus1::study::lbfgs_precision::{
    GradientCase, MinimizationEnding, MinimizationRow, MinimizationSubject, MinimizationVerdict,
    cases, exact, quotient,
};

const TOLERANCE: f64 = 1e-6;

/// The number of rows, the first of the dataset.
const ROWS: usize = 128;
/// λ of the loss. Every start ends in the same minimum.
const L2: f64 = 2e-3;
/// Number of parameters of 30-4-1.
const N: u64 = 129;

/// Runs the study for `cases`, and returns their rows.
fn minimized(cases: &[GradientCase]) -> Vec<MinimizationRow> {
    let data = BreastCancer::standardized();
    let network = Network::new(&[30, 4, 1], true, OutputUnits::Linear, Loss::Logistic, L2).unwrap();
    let start: Parameters<f64> = Initialization::Scaled.draw(&network.layout, 1);
    assert_eq!(start.flat().len() as u64, N);
    let subject = MinimizationSubject {
        network: &network,
        dataset: &data.dataset,
        scaling: &data.scaling,
        rows: &data.rows[..ROWS],
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

/// Returns what scipy's L-BFGS-B reaches.
fn scipy() -> serde_json::Value {
    let text = include_str!("../reference/lbfgs_precision.json");
    serde_json::from_str(text).unwrap()
}

/// Asserts that `row` ends within a factor of ten of the gradient at which scipy stalls in `case`.
fn assert_stalls_as_scipy(row: &MinimizationRow, case: &str) {
    let size = scipy()["stalled_at"][case].as_f64().unwrap();
    assert!(
        (0.1..=10.0).contains(&(row.largest_gradient / size)),
        "{size} {row:?}"
    );
}

fn double(scheme: Scheme, increment: f64) -> GradientCase {
    quotient(scheme, Precision::F64, Summation::Losses, increment)
}

#[test]
fn slow_l_bfgs_converges_with_inexact_gradients_as_with_exact_ones() {
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
    let minimum = scipy()["minimum"].as_f64().unwrap();
    for row in rows {
        assert_eq!(row.ending, MinimizationEnding::Tolerance, "{row:?}");
        assert_eq!(row.verdict, MinimizationVerdict::Converges);
        assert!(row.largest_gradient <= 2.0 * TOLERANCE, "{row:?}");
        // ‖g‖∞ ≤ 2e-6 for N parameters and a curvature of at least l2.
        let allowed = N as f64 * (2.0 * TOLERANCE).powi(2) / (2.0 * L2);
        assert!((row.objective - minimum).abs() < allowed, "{row:?}");
        assert!(row.iterations.abs_diff(iterations) < iterations / 2);
    }
}

#[test]
fn slow_unsuitable_increments_end_the_search_where_the_error_reaches_the_gradient() {
    let rows = minimized(&[
        double(Scheme::Forward, 1e-1),
        double(Scheme::Forward, 1e-12),
        double(Scheme::Forward, 1e-14),
    ]);
    let causes = [
        (MinimizationVerdict::Truncation, None),
        (MinimizationVerdict::RoundOff, Some("f64, 1e-12")),
        (MinimizationVerdict::RoundOff, Some("f64, 1e-14")),
    ];
    let minimum = scipy()["minimum"].as_f64().unwrap();
    for (row, (verdict, case)) in rows.iter().zip(causes) {
        assert_eq!(row.ending, MinimizationEnding::LineSearch, "{row:?}");
        assert_eq!(row.verdict, verdict, "{row:?}");
        let (size, error) = (row.largest_gradient, row.largest_error.unwrap());
        assert!(size > 2.0 * TOLERANCE && error >= 0.5 * size, "{row:?}");
        assert!(row.explanation.contains("has reached its size"), "{row:?}");
        assert!(row.objective > minimum, "{row:?}");
        if let Some(case) = case {
            assert_stalls_as_scipy(row, case);
        }
        // A gradient takes N + 1 losses. There is one at the start, one per iteration, and at least
        // 20 in the line search that failed.
        assert!(row.evaluations.is_multiple_of(N + 1));
        assert!(row.evaluations / (N + 1) > row.iterations as u64 + 20);
    }
    // Round-off, and with it the final gradient, grows as the increment falls.
    assert!(rows[1].largest_gradient < 0.5 * rows[2].largest_gradient);
}

#[test]
fn slow_in_single_precision_summing_differences_ends_nearer_the_minimum_than_subtracting_sums() {
    let single = |summation| quotient(Scheme::Forward, Precision::F32, summation, 1e-3);
    let rows = minimized(&[
        single(Summation::Losses),
        single(Summation::Differences),
        exact(Precision::F32),
    ]);
    for (row, case) in rows
        .iter()
        .zip(["f32, 1e-3, losses", "f32, 1e-3, differences"])
    {
        assert_eq!(row.ending, MinimizationEnding::LineSearch, "{row:?}");
        let (size, error) = (row.largest_gradient, row.largest_error.unwrap());
        assert!(error >= 0.5 * size, "{row:?}");
        assert_stalls_as_scipy(row, case);
    }
    assert!(rows[1].largest_error < rows[0].largest_error);
    // The error of backprop in f32 is far below that of differences, and it ends at a smaller
    // gradient.
    assert!(rows[2].largest_error.unwrap() < 0.01 * rows[1].largest_error.unwrap());
    assert!(rows[2].largest_gradient < rows[1].largest_gradient);
}

/// The computed gradient is within the tolerance, the exact one is not.
#[test]
fn the_verdict_rests_on_the_exact_gradient_not_on_the_computed_one() {
    let rows = minimized(&[double(Scheme::Forward, 1e-10), exact(Precision::F64)]);
    for row in &rows {
        let computed = row.largest_computed.unwrap();
        assert!(row.gradient_norm >= row.largest_gradient, "{row:?}");
        assert_eq!(
            row.ending == MinimizationEnding::Tolerance,
            computed <= TOLERANCE,
            "{row:?}"
        );
        let converges = row.verdict == MinimizationVerdict::Converges;
        assert_eq!(
            converges,
            row.largest_gradient <= 2.0 * TOLERANCE,
            "{row:?}"
        );
    }
    assert_eq!(rows[1].largest_computed.unwrap(), rows[1].largest_gradient);
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
