//! The learning rates of random-direction estimates, found by trying.
//!
//! An estimate along K random directions with d components has E‖ĝ‖² = (1 + (d − 1)/K)‖g‖², so the
//! rate that suits the gradient is too large for it. The search begins at that rate divided by
//! √(1 + (d − 1)/K), where the steps are as long as the gradient's, and tries factors of 4: two
//! smaller and two larger rates, then further ones while the best is at an end. Each rate trains
//! from the same start for the same time; the accuracy on the validation rows decides, then the loss.

use super::RaceRow;
use super::race_run::RaceRun;
use crate::config::Config;
use crate::error::Result;
use crate::gradient::GradientConfig;
use crate::gradient::random_direction::PerturbedQuantity;
use crate::model::Network;
use crate::numeric::Real;
use crate::optimizer::OptimizerConfig;
use crate::study::methods::Method;
use crate::study::record::StudyRecord;

/// The factor between neighboring rates.
const FACTOR: f64 = 4.0;
/// The exponents of the factor that are tried first, and how far the search may go beyond them.
const FIRST: [i32; 5] = [0, -1, 1, -2, 2];
const FARTHEST: i32 = 5;

/// Returns the rate at which the search begins; `None` for methods that compute the gradient, and
/// for optimizers other than SGD.
pub(super) fn center(method: &Method, network: &Network, config: &Config) -> Option<f64> {
    let OptimizerConfig::Sgd(sgd) = &config.optimizer else {
        return None;
    };
    let sizes = network.layout.sizes();
    let (components, directions) = match &method.gradient {
        GradientConfig::ForwardGradient(config) => match config.perturbed {
            PerturbedQuantity::Activations => (sizes[1..].iter().sum(), config.directions.count),
            PerturbedQuantity::Weights => (network.layout.len(), config.directions.count),
        },
        GradientConfig::Spsa(config) => (network.layout.len(), config.directions.count),
        _ => return None,
    };
    let variance = 1.0 + (components as f64 - 1.0) / directions as f64;
    Some(sgd.learning_rate / variance.sqrt())
}

/// Returns the best rate for the method `label`, and records a row for each rate tried; rates whose
/// rows are in `record` are not tried again. Returns `None` if the control requested a stop.
///
/// # Errors
/// Errors of training and of the operating system.
pub(super) fn tune<'a, R: Real>(
    center: f64,
    label: &str,
    record: &mut StudyRecord<RaceRow>,
    run: impl Fn(f64) -> RaceRun<'a, R>,
) -> Result<Option<f64>> {
    let mut tried: Vec<(i32, RaceRow)> = Vec::new();
    let mut waiting = FIRST.to_vec();
    while let Some(exponent) = waiting.pop() {
        let rate = center * FACTOR.powi(exponent);
        let known = (record.rows().iter())
            .find(|row| row.tuning && row.method == label && row.learning_rate == Some(rate));
        let row = match known {
            Some(row) => row.clone(),
            None => {
                let Some(row) = run(rate).try_rate()? else {
                    return Ok(None);
                };
                record.push(row.clone())?;
                row
            }
        };
        tried.push((exponent, row));
        if waiting.is_empty() {
            let best = best(&tried);
            for next in [best - 1, best + 1] {
                if next.abs() <= FARTHEST && tried.iter().all(|(exponent, _)| *exponent != next) {
                    waiting.push(next);
                }
            }
        }
    }
    Ok(Some(center * FACTOR.powi(best(&tried))))
}

/// Returns the exponent of the best rate.
fn best(tried: &[(i32, RaceRow)]) -> i32 {
    let order = |a: &&(i32, RaceRow), b: &&(i32, RaceRow)| {
        let accuracy = a.1.accuracy.total_cmp(&b.1.accuracy);
        // A loss that is not a number is the worst.
        let loss = |row: &RaceRow| {
            if row.loss.is_nan() {
                f64::INFINITY
            } else {
                row.loss
            }
        };
        accuracy.then(loss(&b.1).total_cmp(&loss(&a.1)))
    };
    tried
        .iter()
        .max_by(order)
        .map_or(0, |(exponent, _)| *exponent)
}
