//! Predicted steps of several ranks: the counted work, divided, and the counted bytes, exchanged.
//!
//! ```text
//! seconds(P) = seconds(1) · largest share(P) + Σ exchanges (latency · ⌈log₂ P⌉ + bytes · (P − 1)/P / bandwidth)
//! ```
//!
//! The largest share is counted: rows of backprop, parameters of differences, panels of units of
//! incremental differences, directions. An all-gather of P ranks takes ⌈log₂ P⌉ rounds, and each rank
//! receives all bytes but its own; an addition over all ranks takes twice both. Everything else that
//! the machine may do, such as ranks that wait for slower ones, is left out.

use serde::Serialize;

use crate::gradient::GradientConfig;
use crate::gradient::finite_difference::{DifferenceConfig, Reuse};
use crate::gradient::operation_counts::communication;
use crate::model::Network;
use crate::parallel::cluster::Reduce;

/// What a prediction assumes of the connection between two ranks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Connection {
    /// Seconds of one round of an exchange without content.
    pub latency: f64,
    /// Bytes a second that a rank receives.
    pub bandwidth: f64,
}

/// A step on some ranks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankRow {
    /// The method's label.
    pub method: String,
    /// Number of parameters.
    pub parameters: usize,
    /// Rows of the mini-batch.
    pub rows: usize,
    /// Number of ranks.
    pub ranks: usize,
    /// Seconds of the work of the rank with the largest share.
    pub work_seconds: f64,
    /// Seconds of the exchanges.
    pub exchange_seconds: f64,
    /// Seconds of the step.
    pub seconds: f64,
    /// Speedup over one rank, per rank.
    pub efficiency: f64,
    /// Bytes delivered from a rank to another one, summed over all ranks.
    pub bytes: u64,
    /// Collective calls.
    pub exchanges: u64,
    /// Seconds of the step as measured, by so many ranks; absent if there were not so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_seconds: Option<f64>,
}

/// A method on a network and mini-batch, and what a step takes on one rank.
#[derive(Clone, Copy, Debug)]
pub struct StepWork<'a> {
    /// The method's label.
    pub label: &'a str,
    /// The method.
    pub gradient: &'a GradientConfig,
    /// The network.
    pub network: &'a Network,
    /// Rows of the mini-batch.
    pub rows: usize,
    /// Bytes of a number.
    pub width: usize,
    /// Seconds on one rank.
    pub seconds: f64,
}

impl StepWork<'_> {
    /// Predicts the step on `ranks` ranks.
    pub fn predict(&self, ranks: usize, reduce: Reduce, connection: Connection) -> RankRow {
        let sizes = (self.rows, self.width);
        let communication = communication::gradient(self.gradient, self.network, sizes, reduce);
        let rounds = usize::BITS - (ranks - 1).leading_zeros();
        let content = communication.bytes as f64 * (ranks - 1) as f64 / ranks as f64;
        let once = communication.exchanges as f64 * f64::from(rounds) * connection.latency
            + content / connection.bandwidth;
        let is_sum = reduce == Reduce::Fast && self.is_backprop();
        let exchange_seconds = if is_sum { 2.0 * once } else { once };
        let work_seconds = self.seconds * self.largest_share(ranks);
        let seconds = work_seconds + exchange_seconds;
        RankRow {
            method: self.label.to_owned(),
            parameters: self.network.layout.len(),
            rows: self.rows,
            ranks,
            work_seconds,
            exchange_seconds,
            seconds,
            efficiency: self.seconds / seconds / ranks as f64,
            bytes: communication.delivered(ranks),
            exchanges: communication.exchanges,
            measured_seconds: None,
        }
    }

    fn is_backprop(&self) -> bool {
        matches!(
            self.gradient,
            GradientConfig::Backprop | GradientConfig::NumericBackprop(_)
        )
    }

    /// Returns the largest part of the work that one of `ranks` ranks has.
    fn largest_share(&self, ranks: usize) -> f64 {
        let whole = |tasks: usize| tasks.div_ceil(ranks) as f64 / tasks as f64;
        let (sizes, parameters) = (self.network.layout.sizes(), self.network.layout.len());
        // Every rank makes the pass at θ itself.
        let passes = || (parameters.div_ceil(ranks) + 1) as f64 / (parameters + 1) as f64;
        let panels = || {
            // Numbers of a cache line; the panels of all layers cost about alike, per unit.
            let width = 64 / self.width;
            let panels = sizes[1..].iter().map(|&units| units.div_ceil(width));
            whole(panels.sum::<usize>())
        };
        match self.gradient {
            GradientConfig::Backprop | GradientConfig::NumericBackprop(_) => whole(self.rows),
            GradientConfig::Difference(DifferenceConfig { reuse, .. })
            | GradientConfig::ForwardMode(reuse) => match reuse {
                Reuse::Incremental => panels(),
                Reuse::Full | Reuse::Prefix => passes(),
            },
            GradientConfig::NodePerturbation(_) => panels(),
            GradientConfig::Spsa(config) => whole(config.directions.count),
            GradientConfig::ForwardGradient(config) => whole(config.directions.count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Loss, OutputUnits};

    #[test]
    fn a_prediction_is_the_largest_share_and_the_exchanges() {
        let network = Network::new(&[7, 3, 2], true, OutputUnits::Sigmoid, Loss::Quadratic, 0.0);
        let network = network.unwrap();
        let connection = Connection {
            latency: 1e-3,
            bandwidth: 1e3,
        };
        let work = StepWork {
            label: "backprop",
            gradient: &GradientConfig::Backprop,
            network: &network,
            rows: 10,
            width: 4,
            seconds: 1.0,
        };
        let one = work.predict(1, Reduce::Exact, connection);
        assert_eq!((one.seconds, one.efficiency, one.bytes), (1.0, 1.0, 0));
        let four = work.predict(4, Reduce::Exact, connection);
        // 3 of 10 rows; 32 parameters; of each row 2·3 + 2 values, and 2 terms of the loss.
        let bytes = 4 * (32 + 10 * (8 + 2));
        assert_eq!(four.bytes, 3 * bytes);
        let exchanges = 2.0 * 2.0 * 1e-3 + bytes as f64 * 0.75 / 1e3;
        assert!((four.seconds - (0.3 + exchanges)).abs() < 1e-12);
        let differences = StepWork {
            gradient: &GradientConfig::Difference(DifferenceConfig::TEXTBOOK),
            ..work
        };
        let four = differences.predict(4, Reduce::Exact, connection);
        assert!((four.work_seconds - 9.0 / 33.0).abs() < 1e-12);
    }
}
