//! Closed-form operation counts of backprop's passes.
//!
//! B rows, layer sizes n_0 … n_L. A product of B rows, n columns and depth k is B·n·k fused
//! multiply-adds. The last layer's gradient is computed twice, once for each of its copies
//! ([`crate::gradient::backprop::packed`]). An exponential or logarithm counts as one operation,
//! whatever polynomial computes it. Not counted are padding and its masks, signs and comparisons,
//! the optimizer's update, and what every worker computes again for itself.
//! `tests/operation_counts.rs` counts the same passes operation by operation and compares.

use super::finite_difference::output_differences;
use crate::data::{Inputs, Samples};
use crate::kernels::panels::count;
use crate::kernels::sparse::SMALL_BATCH;
use crate::model::Network;
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;
use crate::numeric::tally::Tally;

/// Returns the operations of one backprop gradient over `rows`.
pub fn gradient<R: Real>(network: &Network, samples: &Samples<R>, rows: &[u32]) -> Tally {
    let outputs = *sizes(network).last().expect("a layer of outputs");
    let mut all_outputs = losses_and_errors(network.output_loss(), outputs) * rows.len() as u64;
    if network.output_loss() != OutputLoss::SoftmaxCrossEntropy {
        // Losses are summed over the rows for each output, then over the outputs.
        all_outputs.additions += outputs;
    }
    // σ and 1 − σ; their product σ′.
    let per_unit = SIGMOID_PAIR + Tally::multiplications(1);
    passes(network, samples, rows, per_unit, all_outputs)
}

/// Returns the operations of one numeric backprop gradient over `rows`: difference quotients
/// replace the derivatives of σ and of the loss.
pub fn numeric_gradient<R: Real>(network: &Network, samples: &Samples<R>, rows: &[u32]) -> Tally {
    let outputs = *sizes(network).last().expect("a layer of outputs");
    // The loss and its sum, the outputs' differences, and each difference times (1/B)/h; that
    // factor is one division per output.
    let per_row = output_differences(network.output_loss(), outputs)
        + Tally::additions(1)
        + Tally::multiplications(outputs);
    let all_outputs = per_row * rows.len() as u64 + Tally::divisions(outputs);
    // σ(z); z + h, σ(z + h), the difference of both σ, its quotient by h.
    let per_unit = SIGMOID_PAIR * 2 + Tally::additions(2) + Tally::divisions(1);
    passes(network, samples, rows, per_unit, all_outputs)
}

/// Returns the operations of both passes. `per_unit` are those of σ and σ′ for one hidden unit of
/// one row, `all_outputs` those of the outputs' losses and errors for all rows.
fn passes<R: Real>(
    network: &Network,
    samples: &Samples<R>,
    rows: &[u32],
    per_unit: Tally,
    all_outputs: Tally,
) -> Tally {
    let sizes = sizes(network);
    let b = rows.len() as u64;
    let layers = sizes.len() - 1;
    let mut tally = Tally {
        evaluations: 1,
        ..Tally::NONE
    };
    if matches!(samples.inputs(), Inputs::Bytes(..)) {
        tally += SCALED_INPUT * (b * sizes[0]);
    }
    let forward = first_products(samples, rows, sizes[1]);
    let mut fused = forward
        + match samples.inputs() {
            Inputs::Sparse(records) if rows.len() <= SMALL_BATCH => {
                // A feature that is not 0 in at least one row is summed over all rows: a product
                // for the first row, fused multiply-adds for the others.
                let union = records.nonzeros(rows).1 as u64 * sizes[1];
                tally += Tally::multiplications(union);
                union * (b - 1)
            }
            _ => forward,
        };
    for l in 2..=layers {
        // Forward pass, δ of the layer below, ∂W; ∂W of the last layer twice.
        let gradients = if l == layers { 2 } else { 1 };
        fused += b * sizes[l] * sizes[l - 1] * (2 + gradients);
    }
    tally += Tally::fused(fused);
    for (l, &units) in sizes.iter().enumerate().skip(1) {
        if network.layout.has_bias() {
            tally.additions += b * units;
        }
        if l < layers {
            // One more multiplication: δ·σ′.
            tally += (per_unit + Tally::multiplications(1)) * (b * units);
        }
    }
    let outputs = sizes[layers];
    if layers > 1 {
        let partial_sums = count::<R>(network.layout.sizes()[layers - 1]) as u64;
        tally.additions += b * outputs * partial_sums;
    }
    tally += all_outputs;
    // 1/B, and the addition to the running sum of losses.
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

/// Returns the layer sizes n_0 … n_L.
pub(super) fn sizes(network: &Network) -> Vec<u64> {
    let sizes = network.layout.sizes().iter();
    sizes.map(|&size| size as u64).collect()
}

/// Operations of y = σ(z) together with 1 − y: t = e^−|z|, 1 + t, r = 1/(1 + t), t·r.
pub(super) const SIGMOID_PAIR: Tally = Tally {
    exponentials: 1,
    additions: 1,
    divisions: 1,
    multiplications: 1,
    ..Tally::NONE
};

/// Operations of an input that is scaled as it is read, (x − offset)/divisor.
pub(super) const SCALED_INPUT: Tally = Tally {
    additions: 1,
    divisions: 1,
    ..Tally::NONE
};

/// Returns the number of fused multiply-adds of the first layer's z, for `units` units. Inputs that
/// are 0 in sparse rows are left out.
pub(super) fn first_products<R: Real>(samples: &Samples<R>, rows: &[u32], units: u64) -> u64 {
    let inputs = match samples.inputs() {
        Inputs::Sparse(records) => rows.iter().map(|&row| records.row(row).len()).sum(),
        Inputs::Bytes(..) | Inputs::Numbers(_) => rows.len() * samples.features(),
    };
    inputs as u64 * units
}

/// Returns the operations of the losses and errors of one row.
pub(super) fn losses_and_errors(output_loss: OutputLoss, outputs: u64) -> Tally {
    let [
        multiplications,
        additions,
        exponentials,
        divisions,
        logarithms,
        rows,
    ] = match output_loss {
        // Per output: multiplications | additions; r is the residual a − y.
        // t·(1/(1 + t)), σ′, r·σ′, ½r·r, scale | 1 + t, loss.
        OutputLoss::SigmoidQuadratic => [6, 2, 1, 1, 0, 0],
        // ½r·r, scale | z − y, loss.
        OutputLoss::LinearQuadratic => [3, 2, 0, 0, 0, 0],
        // t·(1/(1 + t)), scale | 1 + t, max + ln, loss; σ and the loss each take an exponential.
        OutputLoss::SigmoidCrossEntropy => [2, 3, 2, 1, 1, 0],
        // scale | z − max, sum; once a row: max − z_target, + ln, loss.
        OutputLoss::SoftmaxCrossEntropy => [1, 2, 1, 1, 0, 1],
        // y·z, t·(1/(1 + t)), y·σ, scale | as for cross-entropy.
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
