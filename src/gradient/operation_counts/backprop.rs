//! Closed-form operation counts of backprop's passes.
//!
//! B rows, layer sizes n_0 … n_L. A product of B rows, n columns and depth k is B·n·k fused
//! multiply-adds. The last layer's gradient is computed twice, once for each of its copies
//! ([`crate::gradient::backprop::packed`]). An exponential or logarithm counts as one operation,
//! whatever polynomial computes it. Not counted are padding and its masks, signs and comparisons,
//! the optimizer's update, and what every worker computes again for itself.
//! `tests/library/operation_counts.rs` counts the same passes operation by operation and compares.

use super::changes::output_differences;
use super::shape::{BatchShape, SIGMOID_PAIR};
use crate::data::{Inputs, Samples};
use crate::kernels::panels::count;
use crate::kernels::sparse::SMALL_BATCH;
use crate::model::Network;
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;
use crate::numeric::tally::Tally;

/// Returns the operations of one backprop gradient over `rows`.
pub fn gradient<R: Real>(network: &Network, samples: &Samples<R>, rows: &[u32]) -> Tally {
    let shape = BatchShape::new(network, samples, rows);
    // σ and 1 − σ; their product σ′.
    let per_unit = SIGMOID_PAIR + Tally::multiplications(1);
    passes(
        network,
        samples,
        rows,
        per_unit,
        all_losses_and_errors(&shape),
    )
}

/// Returns the operations of one numeric backprop gradient over `rows`: difference quotients
/// replace the derivatives of σ and of the loss.
pub fn numeric_gradient<R: Real>(network: &Network, samples: &Samples<R>, rows: &[u32]) -> Tally {
    let shape = BatchShape::new(network, samples, rows);
    let outputs = shape.classes();
    // The loss and its sum, the outputs' differences, and each difference times (1/B)/h; that
    // factor is one division per output.
    let per_row = output_differences(network.output_loss(), outputs)
        + shape.factors(1 + outputs)
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
    let shape = BatchShape::new(network, samples, rows);
    let (b, layers, outputs) = (shape.rows, shape.layers(), shape.classes());
    let mut tally = Tally {
        evaluations: 1,
        ..shape.scaled_inputs()
    };
    let forward = shape.first_products;
    let mut fused = forward
        + match samples.inputs() {
            Inputs::Sparse(records) if rows.len() <= SMALL_BATCH => {
                // A feature that is not 0 in at least one row is summed over all rows: a product
                // for the first row, fused multiply-adds for the others.
                let union = records.nonzeros(rows).1 as u64 * shape.sizes[1];
                tally += Tally::multiplications(union);
                union * (b - 1)
            }
            _ => forward,
        };
    for l in 2..=layers {
        // Forward pass, δ of the layer below, ∂W; ∂W of the last layer twice.
        let gradients = if l == layers { 2 } else { 1 };
        fused += b * shape.weights(l) * (2 + gradients);
    }
    tally += Tally::fused(fused);
    if shape.bias {
        tally.additions += b * shape.units();
    }
    // One more multiplication: δ·σ′.
    tally += (per_unit + Tally::multiplications(1)) * (b * shape.hidden());
    // 1/B, and the addition to the running sum of losses.
    tally += all_outputs + Tally::divisions(1) + Tally::additions(1);
    let mut copied = 0;
    if layers > 1 {
        let partial_sums = count::<R>(network.layout.sizes()[layers - 1]) as u64;
        tally.additions += b * outputs * partial_sums;
        copied = shape.weights(layers);
    }
    if shape.l2 {
        tally += Tally::fused(shape.all_weights() + copied);
    }
    tally
}

/// Returns the operations of the outputs' losses and errors for all rows.
pub(super) fn all_losses_and_errors(shape: &BatchShape) -> Tally {
    // The factor of the row times 1/B, and times each term of the loss.
    let terms = match shape.output_loss {
        OutputLoss::SoftmaxCrossEntropy => 1,
        _ => shape.classes(),
    };
    let per_row = losses_and_errors(shape.output_loss, shape.classes()) + shape.factors(1 + terms);
    let mut tally = per_row * shape.rows;
    if shape.output_loss != OutputLoss::SoftmaxCrossEntropy {
        // Losses are summed over the rows for each output, then over the outputs.
        tally.additions += shape.classes();
    }
    tally
}

/// Returns the operations of the losses and errors of one row.
fn losses_and_errors(output_loss: OutputLoss, outputs: u64) -> Tally {
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
