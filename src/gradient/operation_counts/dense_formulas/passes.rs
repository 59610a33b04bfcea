//! Plain counts of backprop, numeric backprop, and differences by whole passes or from the perturbed
//! layer on.

use super::NetworkSums;
use crate::gradient::finite_difference::{Arithmetic, DifferenceConfig, Reuse, Scheme};
use crate::gradient::operation_counts::shape::SIGMOID;
use crate::numeric::output_loss::OutputLoss;
use crate::numeric::tally::Tally;

impl NetworkSums {
    /// Returns the operations of one backprop gradient: 2P + H products for the forward pass, δ of
    /// each layer and ∂W; sums over the rows; one multiplication by 1/B per partial derivative and
    /// loss.
    pub(super) fn backprop(&self, rows: u64) -> Tally {
        // a·(1 − a)
        self.both_passes(rows, Tally::fused(1), self.loss() + self.errors())
    }

    /// Returns the operations of one numeric backprop gradient: quotients replace σ′ and δ_L.
    pub(super) fn numeric_backprop(&self, rows: u64) -> Tally {
        // z + h, σ, its change, 1/h.
        let slope = SIGMOID + Tally::additions(2) + Tally::multiplications(1);
        // The same of each output's term.
        let quotient = self.term() + Tally::additions(2) + Tally::multiplications(1);
        self.both_passes(rows, slope, self.loss() + quotient * self.outputs())
    }

    /// Returns the operations of both passes; `slope` are those of σ′ of one hidden unit, `top`
    /// those of one row's loss and δ_L.
    fn both_passes(&self, rows: u64, slope: Tally, top: Tally) -> Tally {
        let deep = self.products_from(2);
        // Wᵀδ takes one addition fewer than products for each unit below; then δ·σ′.
        let errors_below =
            Tally::multiplications(deep + self.hidden()) + Tally::additions(deep - self.hidden());
        let row = self.activations_from(1)
            + top
            + self.factors(1 + self.outputs())
            + slope * self.hidden()
            + errors_below
            // ∂W = δ·aᵀ
            + Tally::multiplications(self.weights);
        let mut tally = row * rows
            + self.sums_over(rows)
            + Tally::additions(rows - 1)
            + Tally::multiplications(self.parameters + 1);
        tally.evaluations = 1;
        tally
    }

    /// Returns the operations of one gradient by finite differences.
    pub(super) fn difference(&self, config: &DifferenceConfig, rows: u64) -> Tally {
        let mut tally = match (config.reuse, config.arithmetic) {
            (Reuse::Full | Reuse::Prefix, _) => self.passes(config.reuse, config.scheme, rows),
            (Reuse::Incremental, Arithmetic::Plain) => self.incremental(config.scheme, rows),
            (Reuse::Incremental, Arithmetic::CancellationFree) => {
                self.cancellation_free(config.scheme, rows)
            }
        };
        tally.evaluations = config.scheme.evaluations(self.parameters);
        tally
    }

    /// Returns the operations of N + 1 or 2N passes, each from the first layer on, or from that of
    /// the perturbed parameter.
    fn passes(&self, reuse: Reuse, scheme: Scheme, rows: u64) -> Tally {
        let base = match (scheme, reuse) {
            (Scheme::Forward, _) => self.evaluation_from(1, rows),
            (Scheme::Central, Reuse::Full) => Tally::NONE,
            // The activations below every layer.
            (Scheme::Central, _) => self.hidden_activations() * rows,
        };
        let sides = sides(scheme);
        // θ ± h; the difference of the losses; times 1/h or 1/2h.
        let quotient = Tally::additions(sides + 1) + Tally::multiplications(1);
        (1..=self.layers()).fold(base, |sum, l| {
            let first = if reuse == Reuse::Full { 1 } else { l };
            let partial = self.evaluation_from(first, rows) * sides + quotient;
            sum + partial * self.parameters_of(l)
        })
    }

    /// Tells whether each output has a term of the loss of its own.
    pub(super) fn has_separate_terms(&self) -> bool {
        self.output_loss != OutputLoss::SoftmaxCrossEntropy
    }
}

/// Returns the number of perturbed points per parameter.
pub(super) fn sides(scheme: Scheme) -> u64 {
    match scheme {
        Scheme::Forward => 1,
        Scheme::Central => 2,
    }
}
