//! What backprop's passes perform, in closed form.
//!
//! B rows, layer sizes n_0 … n_L. Every product of B rows, n sums and depth k is B·n·k fused
//! multiply-adds. The last layer's gradient is formed twice, once for each of its copies
//! ([`super::packed`]). An exponential or logarithm counts as one, by whatever polynomial. Not
//! counted: padding and its masks, signs and comparisons, the optimizer's update, and what each
//! worker computes again for itself. `tests/operation_counts.rs` counts the same passes one by one.

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
    let dense = b * sizes[0] * sizes[1];
    let mut tally = Tally {
        evaluations: 1,
        ..Tally::default()
    };
    let mut fused = match samples.inputs() {
        Inputs::Sparse(records) => {
            let (filled, union) = records.filled(rows);
            let (filled, union) = (filled as u64 * sizes[1], union as u64 * sizes[1]);
            if rows.len() <= SMALL_BATCH {
                // All rows of a feature that any row has; the first row is a plain product.
                tally.multiplications += union;
                filled + union * (b - 1)
            } else {
                2 * filled
            }
        }
        Inputs::Bytes(..) => {
            // (x − offset)/divisor, as they are read.
            tally.additions += b * sizes[0];
            tally.divisions += b * sizes[0];
            2 * dense
        }
        Inputs::Numbers(_) => 2 * dense,
    };
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
    if network.head() != Head::SoftmaxCrossEntropy {
        // The rows' losses are summed for each output, then over the outputs.
        tally.additions += outputs;
    }
    // 1/B, and the running sum of losses.
    tally.divisions += 1;
    tally.additions += 1;
    if network.l2 != 0.0 {
        let weights: u64 = sizes.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let copied = if layers > 1 {
            outputs * sizes[layers - 1]
        } else {
            0
        };
        tally.multiplications += weights + copied;
        tally.additions += weights + copied;
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
        // t·r, scale | 1 + t, max + ln, loss; σ and the loss each have their exponential.
        Head::SigmoidCrossEntropy => [2, 3, 2, 1, 1, 0],
        // scale | z − max, sum; a row: max − z_target, + ln, loss.
        Head::SoftmaxCrossEntropy => [1, 2, 1, 1, 0, 1],
        // y·z, t·r, y·σ, scale | as cross-entropy.
        Head::Logistic => [4, 3, 2, 1, 1, 0],
    };
    Tally {
        evaluations: 0,
        multiplications: multiplications * outputs,
        additions: additions * outputs + 3 * rows,
        exponentials: exponentials * outputs,
        logarithms: logarithms * outputs + rows,
        divisions: divisions * outputs,
    }
}
