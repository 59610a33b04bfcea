//! What the finite-difference engines perform, in closed form.

use super::DifferenceConfig;
use crate::data::Samples;
use crate::model::Network;
use crate::numeric::Real;
use crate::numeric::tally::Tally;

/// A gradient by whole passes.
pub fn whole<R: Real>(
    network: &Network,
    config: &DifferenceConfig,
    _samples: &Samples<R>,
    _rows: &[u32],
) -> Tally {
    Tally {
        evaluations: config.scheme.evaluations(network.layout.len() as u64),
        ..Tally::default()
    }
}

/// An incremental gradient.
pub fn incremental<R: Real>(
    network: &Network,
    config: &DifferenceConfig,
    _samples: &Samples<R>,
    _rows: &[u32],
) -> Tally {
    Tally {
        evaluations: config.scheme.evaluations(network.layout.len() as u64),
        ..Tally::default()
    }
}
