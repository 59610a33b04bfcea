//! What backprop's passes perform, in closed form.
//!
//! B rows, layer sizes n_0 … n_L. Every product of B rows, n sums and depth k is B·n·k fused
//! multiply-adds. The last layer's gradient is formed twice, once for each of its copies
//! ([`super::packed`]). Padding is not counted, nor is the optimizer's update.

use crate::data::{Inputs, Samples};
use crate::model::Network;
use crate::numeric::Real;
use crate::numeric::head::Head;
use crate::numeric::panels::count;
use crate::numeric::sparse::SMALL_BATCH;
use crate::numeric::tally::Tally;

/// One gradient of a mini-batch.
pub fn of_gradient<R: Real>(network: &Network, samples: &Samples<R>, rows: &[u32]) -> Tally {
    let sizes: Vec<u64> = network
        .layout
        .sizes()
        .iter()
        .map(|&size| size as u64)
        .collect();
    let b = rows.len() as u64;
    let layers = sizes.len() - 1;
    let (first_forward, first_gradient) = match samples.inputs() {
        Inputs::Sparse(records) => {
            let (filled, union) = records.filled(rows);
            let gradient = if rows.len() <= SMALL_BATCH {
                union as u64 * b
            } else {
                filled as u64
            };
            (filled as u64 * sizes[1], gradient * sizes[1])
        }
        _ => (b * sizes[0] * sizes[1], b * sizes[0] * sizes[1]),
    };
    let mut tally = Tally {
        evaluations: 1,
        ..Tally::default()
    };
    let mut fused = first_forward + first_gradient;
    for l in 2..=layers {
        // Forward, δ of the layer below, ∂W; the last layer's ∂W twice.
        let gradients = if l == layers { 2 } else { 1 };
        fused += b * sizes[l] * sizes[l - 1] * (2 + gradients);
    }
    tally.multiplications += fused;
    tally.additions += fused;
    for (l, &units) in sizes.iter().enumerate().skip(1) {
        if network.layout.has_bias() {
            tally.additions += b * units;
        }
        if l < layers {
            // t, 1/(1 + t), t·r; y·ȳ; δ·σ′.
            tally.exponentials += b * units;
            tally.divisions += b * units;
            tally.additions += b * units;
            tally.multiplications += 3 * b * units;
        }
    }
    let outputs = sizes[layers];
    if layers > 1 {
        let shares = count::<R>(network.layout.sizes()[layers - 1]) as u64;
        tally.additions += b * outputs * shares;
    }
    tally += of_outputs(network.head(), outputs) * b;
    if network.l2 != 0.0 {
        let weights: u64 = sizes.windows(2).map(|pair| pair[0] * pair[1]).sum();
        tally.multiplications += weights;
        tally.additions += weights;
    }
    tally
}

/// Losses and errors of one row.
fn of_outputs(head: Head, outputs: u64) -> Tally {
    let [
        multiplications,
        additions,
        exponentials,
        divisions,
        logarithms,
        rows,
    ] = match head {
        // t·r, y·ȳ, r·σ′, ½r·r, scale | 1 + t, loss.
        Head::SigmoidQuadratic => [6, 2, 1, 1, 0, 0],
        // ½r·r, scale | z − y, loss.
        Head::LinearQuadratic => [3, 2, 0, 0, 0, 0],
        // t·r, scale | 1 + t, 2 + t, max + ln, loss; σ and the loss each have their exponential.
        Head::SigmoidCrossEntropy => [2, 4, 2, 2, 1, 0],
        // scale | z − max, sum; one logarithm a row.
        Head::SoftmaxCrossEntropy => [1, 2, 1, 1, 0, 1],
        // y·z, t·r, y·σ, scale | as cross-entropy.
        Head::Logistic => [4, 4, 2, 2, 1, 0],
    };
    Tally {
        evaluations: 0,
        multiplications: multiplications * outputs,
        additions: additions * outputs + rows,
        exponentials: exponentials * outputs,
        logarithms: logarithms * outputs + rows,
        divisions: divisions * outputs,
    }
}
