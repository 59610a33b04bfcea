//! Plain counts of methods that compute only what a perturbation changes.
//!
//! The tail of a perturbation in layer l, from the unit's Δz to the change of the row's loss, takes
//! `n_{l+1} + R_{l+2}` products and what each unit and output does with its change.

use super::NetworkSums;
use super::passes::sides;
use crate::gradient::finite_difference::{Arithmetic, Scheme};
use crate::gradient::operation_counts::shape::{SIGMOID, SIGMOID_PAIR};
use crate::numeric::output_loss::OutputLoss;
use crate::numeric::tally::Tally;

/// Operations of Δσ = y·ȳ·M/(1 + y·M), M = e^Δz − 1.
const SIGMOID_CHANGE: Tally = Tally {
    multiplications: 3,
    additions: 1,
    exponentials: 1,
    divisions: 1,
    ..Tally::NONE
};

impl NetworkSums {
    /// Returns the operations of incremental differences in plain arithmetic. ½, 1/B and 1/h are
    /// applied last, as one constant.
    pub(super) fn incremental(&self, scheme: Scheme, rows: u64) -> Tally {
        let base = match scheme {
            Scheme::Forward => self.activations_from(1) + self.terms(),
            Scheme::Central => self.activations_from(1),
        };
        self.by_parameter(base, rows, |l| {
            self.perturbed_loss(l) * sides(scheme) + Tally::additions(1)
        })
    }

    /// Returns the operations of incremental differences in cancellation-free arithmetic.
    pub(super) fn cancellation_free(&self, scheme: Scheme, rows: u64) -> Tally {
        self.by_parameter(self.change_base(), rows, |l| {
            self.change_of_loss(l) * sides(scheme) + Tally::additions(sides(scheme) - 1)
        })
    }

    /// Returns the operations of incremental forward mode: rates of change, whose base is the pass
    /// of backprop. The rate of a weight's unit is the input itself.
    pub(super) fn incremental_forward_mode(&self, rows: u64) -> Tally {
        let mut row = self.tangent_base();
        for l in 1..=self.layers() {
            row += self.rate_of_loss(l) * self.parameters_of(l);
        }
        let mut tally = row * rows + self.sums_over(rows) + Tally::multiplications(self.parameters);
        (tally.evaluations, tally.jacobian_vector_products) = (1, self.parameters);
        tally
    }

    /// Returns the operations of node perturbation: each unit is perturbed once per row; its
    /// quotient, with ½, 1/B and 1/h as one constant, is multiplied by its inputs.
    pub(super) fn node_perturbation(&self, arithmetic: Arithmetic, rows: u64) -> Tally {
        let mut row = match arithmetic {
            Arithmetic::Plain => self.activations_from(1) + self.terms(),
            Arithmetic::CancellationFree => self.change_base(),
        };
        row += self.factors(self.units) + Tally::multiplications(self.units + self.weights);
        for l in 1..=self.layers() {
            let change = match arithmetic {
                Arithmetic::Plain => self.perturbed_loss(l) + Tally::additions(1),
                Arithmetic::CancellationFree => self.change_of_loss(l),
            };
            row += change * self.n[l];
        }
        let mut tally = row * rows + self.sums_over(rows);
        tally.evaluations = self.units + 1;
        tally
    }

    /// Returns the operations of a gradient from one change of each parameter in each row: Δz = h·a
    /// of each input, `change(l)`, sums over the rows, one constant factor.
    fn by_parameter(&self, base: Tally, rows: u64, change: impl Fn(usize) -> Tally) -> Tally {
        let z_changes = Tally::multiplications(self.n[..self.layers()].iter().sum());
        let mut row = base + z_changes + self.factors(self.parameters);
        for l in 1..=self.layers() {
            row += change(l) * self.parameters_of(l);
        }
        row * rows + self.sums_over(rows) + Tally::multiplications(self.parameters)
    }

    /// Returns the operations of a perturbed loss in plain arithmetic, from one perturbation of a
    /// unit in layer `l`.
    fn perturbed_loss(&self, l: usize) -> Tally {
        // z + Δz
        let moved = Tally::additions(1);
        if l == self.layers() {
            return moved + self.term();
        }
        // σ and its change; the rank-1 update; the layers above.
        moved
            + SIGMOID
            + Tally::additions(1)
            + Tally::fused(self.n[l + 1])
            + SIGMOID * self.hidden_from(l + 1)
            + self.products(l + 2)
            + Tally::additions(self.biases_from(l + 2))
            + self.terms()
    }

    /// Returns the number of hidden units of layers k … L − 1.
    fn hidden_from(&self, k: usize) -> u64 {
        self.units_from(k) - self.outputs()
    }

    /// Returns the operations of W·Δa above layer `l`, from Δa of one of its units.
    fn changes_above(&self, l: usize) -> Tally {
        Tally::multiplications(self.n[l + 1]) + self.products(l + 2)
    }

    /// Returns the operations of one row's pass at θ with y and 1 − y of each unit, and of what
    /// changes of the loss start from.
    fn change_base(&self) -> Tally {
        let n = self.outputs();
        let hidden = self.activations_from(1) + Tally::multiplications(self.hidden());
        hidden
            + match self.output_loss {
                OutputLoss::LinearQuadratic => Tally::additions(n),
                // z − max, e^…, their sum; p; the sum of the other outputs' p.
                OutputLoss::SoftmaxCrossEntropy => Tally {
                    additions: 2 * n - 1 + n.saturating_sub(2),
                    exponentials: n,
                    divisions: n,
                    ..Tally::NONE
                },
                _ => SIGMOID_PAIR * n,
            }
    }

    /// Returns the operations of the change of the loss in cancellation-free arithmetic, from one
    /// perturbation of a unit in layer `l`.
    fn change_of_loss(&self, l: usize) -> Tally {
        if l == self.layers() {
            return self.output_change();
        }
        let n = self.outputs();
        let outputs = match self.has_separate_terms() {
            true => self.output_change() * n + Tally::additions(n - 1),
            // p_k·(e^(Δz_k − Δz_t) − 1) of the others, their sum, ln(1 + …).
            false => Tally {
                multiplications: n - 1,
                additions: (n - 1) + n.saturating_sub(2),
                exponentials: n - 1,
                logarithms: 1,
                ..Tally::NONE
            },
        };
        SIGMOID_CHANGE * (1 + self.hidden_from(l + 1)) + self.changes_above(l) + outputs
    }

    /// Returns the operations of the change of the loss if one output moves.
    fn output_change(&self) -> Tally {
        // Δa·(r + ½Δa)
        let square = Tally::fused(1) + Tally::multiplications(1);
        match self.output_loss {
            OutputLoss::SigmoidQuadratic => SIGMOID_CHANGE + square,
            OutputLoss::LinearQuadratic => square,
            // ln(1 + y·(e^Δz − 1))
            _ => Tally {
                multiplications: 1,
                exponentials: 1,
                logarithms: 1,
                ..Tally::NONE
            },
        }
    }

    /// Returns the operations of the rate of the loss, from the rate of one unit in layer `l`:
    /// σ′·ż of each unit, Σ δ·ż.
    fn rate_of_loss(&self, l: usize) -> Tally {
        if l == self.layers() {
            return Tally::multiplications(1);
        }
        let n = self.outputs();
        Tally::multiplications(1 + self.hidden_from(l + 1))
            + self.changes_above(l)
            + Tally::multiplications(n)
            + Tally::additions(n - 1)
    }
}
