//! What backprop's passes perform, in closed form.
//!
//! B rows, layer sizes n_0 … n_L. Every product of B rows, n sums and depth k is B·n·k fused
//! multiply-adds. The last layer's gradient is formed twice, once for each of its copies
//! ([`crate::gradient::backprop::packed`]). An exponential or logarithm counts as one, by whatever polynomial. Not
//! counted: padding and its masks, signs and comparisons, the optimizer's update, and what each
//! worker computes again for itself. `tests/operation_counts.rs` counts the same passes one by one.

use super::finite_difference::output_differences;
use crate::data::{Inputs, Samples};
use crate::kernels::panels::count;
use crate::kernels::sparse::SMALL_BATCH;
use crate::model::Network;
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;
use crate::numeric::tally::Tally;

/// One gradient of a mini-batch.
pub fn of_gradient<R: Real>(network: &Network, samples: &Samples<R>, rows: &[u32]) -> Tally {
    let outputs = *sizes(network).last().expect("a layer of outputs");
    let mut of_outputs = of_outputs(network.head(), outputs) * rows.len() as u64;
    if network.head() != OutputLoss::SoftmaxCrossEntropy {
        // The rows' losses are summed for each output, then over the outputs.
        of_outputs.additions += outputs;
    }
    // σ; y·ȳ.
    let of_unit = PAIR + Tally::multiplications(1);
    of_passes(network, samples, rows, of_unit, of_outputs)
}

/// One gradient with difference quotients for the derivatives of σ and of the loss.
pub fn of_numeric_gradient<R: Real>(
    network: &Network,
    samples: &Samples<R>,
    rows: &[u32],
) -> Tally {
    let outputs = *sizes(network).last().expect("a layer of outputs");
    // Losses and their sum, differences, and 1/B over h for each output, times each of them.
    let of_row = output_differences(network.head(), outputs)
        + Tally::additions(1)
        + Tally::multiplications(outputs);
    let of_outputs = of_row * rows.len() as u64 + Tally::divisions(outputs);
    // σ(z); z + h, σ(z + h), their difference, /h.
    let of_unit = PAIR * 2 + Tally::additions(2) + Tally::divisions(1);
    of_passes(network, samples, rows, of_unit, of_outputs)
}

/// Both passes, with what σ and its slope take for each hidden unit of a row, and what the outputs'
/// losses and errors take in all rows.
fn of_passes<R: Real>(
    network: &Network,
    samples: &Samples<R>,
    rows: &[u32],
    of_unit: Tally,
    of_outputs: Tally,
) -> Tally {
    let sizes = sizes(network);
    let b = rows.len() as u64;
    let layers = sizes.len() - 1;
    let mut tally = Tally {
        evaluations: 1,
        ..Tally::NONE
    };
    if matches!(samples.inputs(), Inputs::Bytes(..)) {
        tally += SCALED * (b * sizes[0]);
    }
    let forward = first_products(samples, rows, sizes[1]);
    let mut fused = forward
        + match samples.inputs() {
            Inputs::Sparse(records) if rows.len() <= SMALL_BATCH => {
                // All rows of a feature that any row has; the first row is a plain product.
                let union = records.filled(rows).1 as u64 * sizes[1];
                tally += Tally::multiplications(union);
                union * (b - 1)
            }
            _ => forward,
        };
    for l in 2..=layers {
        // Forward, δ of the layer below, ∂W; the last layer's ∂W twice.
        let gradients = if l == layers { 2 } else { 1 };
        fused += b * sizes[l] * sizes[l - 1] * (2 + gradients);
    }
    tally += Tally::fused(fused);
    for (l, &units) in sizes.iter().enumerate().skip(1) {
        if network.layout.has_bias() {
            tally.additions += b * units;
        }
        if l < layers {
            // And δ·σ′.
            tally += (of_unit + Tally::multiplications(1)) * (b * units);
        }
    }
    let outputs = sizes[layers];
    if layers > 1 {
        let shares = count::<R>(network.layout.sizes()[layers - 1]) as u64;
        tally.additions += b * outputs * shares;
    }
    tally += of_outputs;
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
        tally += Tally::fused(weights + copied);
    }
    tally
}

/// n_0 … n_L.
pub(super) fn sizes(network: &Network) -> Vec<u64> {
    let sizes = network.layout.sizes().iter();
    sizes.map(|&size| size as u64).collect()
}

/// y = σ(z) and ȳ = 1 − y: t = e^−|z|, 1 + t, r = 1/(1 + t), t·r.
pub(super) const PAIR: Tally = Tally {
    exponentials: 1,
    additions: 1,
    divisions: 1,
    multiplications: 1,
    ..Tally::NONE
};

/// An input that is scaled as it is read, (x − offset)/divisor.
pub(super) const SCALED: Tally = Tally {
    additions: 1,
    divisions: 1,
    ..Tally::NONE
};

/// The fused multiply-adds of the first layer's z, `units` a row: zeros of sparse bytes are left
/// out.
pub(super) fn first_products<R: Real>(samples: &Samples<R>, rows: &[u32], units: u64) -> u64 {
    let inputs = match samples.inputs() {
        Inputs::Sparse(records) => rows.iter().map(|&row| records.row(row).len()).sum(),
        Inputs::Bytes(..) | Inputs::Numbers(_) => rows.len() * samples.features(),
    };
    inputs as u64 * units
}

/// Losses and errors of one row.
pub(super) fn of_outputs(head: OutputLoss, outputs: u64) -> Tally {
    let [
        multiplications,
        additions,
        exponentials,
        divisions,
        logarithms,
        rows,
    ] = match head {
        // t·r, y·ȳ, r·σ′, ½r·r, scale | 1 + t, loss.
        OutputLoss::SigmoidQuadratic => [6, 2, 1, 1, 0, 0],
        // ½r·r, scale | z − y, loss.
        OutputLoss::LinearQuadratic => [3, 2, 0, 0, 0, 0],
        // t·r, scale | 1 + t, max + ln, loss; σ and the loss each have their exponential.
        OutputLoss::SigmoidCrossEntropy => [2, 3, 2, 1, 1, 0],
        // scale | z − max, sum; a row: max − z_target, + ln, loss.
        OutputLoss::SoftmaxCrossEntropy => [1, 2, 1, 1, 0, 1],
        // y·z, t·r, y·σ, scale | as cross-entropy.
        OutputLoss::Logistic => [4, 3, 2, 1, 1, 0],
    };
    Tally {
        multiplications: multiplications * outputs,
        additions: additions * outputs + 3 * rows,
        exponentials: exponentials * outputs,
        logarithms: logarithms * outputs + rows,
        divisions: divisions * outputs,
        ..Tally::NONE
    }
}
