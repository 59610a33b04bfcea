//! Closed-form operation counts of gradients by finite differences, node perturbation and
//! incremental forward mode: one formula per stage.
//!
//! B rows, layers l = 1 … L of n_l units, n_0 inputs, N parameters. Each formula follows the code
//! of the kernel that performs the stage (`one_layer.rs`, `deep.rs` and `base_values.rs` in
//! `kernels/divided_difference/`) and names it. The formulas of a perturbation are for one unit,
//! one row and one value of the unit's inputs.
//!
//! As in [`crate::gradient::operation_counts::backprop`], a fused multiply-add is a multiplication
//! and an addition, and an exponential or logarithm counts as one operation, whatever polynomial
//! computes it. Not counted are padding (of a block of values, too) and its masks (a kernel that
//! computes an output's term both as target and as other output takes one of them, and one is
//! counted), signs and comparisons, the choice of increments, constants (½λ′; 1/B is one division
//! per gradient), the optimizer's update, and what every worker computes again for itself. An
//! operation that the compiler shares among the values of a block, such as y·(1 − y), is counted
//! for each value.
//!
//! The loss at θ is counted where it is an evaluation: in forward differences. Central differences
//! do not use it; a run that reports it does so as monitoring.
//!
//! Cancellation-free changes have separate forms for tiny, close and far perturbations, and the
//! kernels choose among them by bounds over a panel. The formulas choose by the increment alone, as
//! if inputs and weights were of order 1. For `auto`, whose increment is u, this is right while
//! inputs·weights are at most 1/√u in magnitude. Far perturbations, above 1/64, are counted as
//! close ones. For these the kernels perform more: the cross-entropy of sigmoid outputs also
//! compares two softplus (4 additions, 2 exponentials and 2 logarithms more per output), that of a
//! softmax two sums of exponentials, and its outputs need their margins.
//!
//! Of a row the formulas need only two numbers, how many of its inputs are not 0 and how many
//! distinct values these have ([`Samples::input_density`]), so a tally costs B additions.
//! `tests/library/difference_counts.rs` counts the same passes operation by operation and compares.

use super::changes::{ChangeForm, activation, margin, output_change, perturbed_z, row_loss};
use super::shape::{BatchShape, SIGMOID, SIGMOID_PAIR};
use crate::data::Samples;
use crate::gradient::finite_difference::{
    DifferenceConfig, Perturbation, Reuse, Scheme, Summation,
};
use crate::kernels::divided_difference::formulas::Propagation;
use crate::kernels::panels::count;
use crate::model::Network;
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;
use crate::numeric::tally::Tally;

/// Returns the operations of the rows' losses at one θ: one whole pass over gathered inputs.
pub(in crate::gradient) fn pass<R: Real>(
    network: &Network,
    samples: &Samples<R>,
    rows: &[u32],
) -> Tally {
    let shape = DifferenceShape::new(
        network,
        &Perturbation::Difference(DifferenceConfig::TEXTBOOK),
        samples,
        rows,
    );
    shape.layers_from(1) + shape.losses()
}

/// Returns the operations of one evaluation over inputs that are read and scaled already, as they
/// are for each pass of a difference: the rows' losses, their sum, 1/B.
pub fn evaluation<R: Real>(network: &Network, samples: &Samples<R>, rows: &[u32]) -> Tally {
    let shape = BatchShape::new(network, samples, rows);
    let mut tally = pass(network, samples, rows);
    tally += Tally::additions(shape.rows) + Tally::divisions(1);
    tally.evaluations = 1;
    tally
}

/// Returns the operations of a gradient by N + 1 or 2N whole passes.
pub fn whole_passes<R: Real>(
    network: &Network,
    config: &DifferenceConfig,
    samples: &Samples<R>,
    rows: &[u32],
) -> Tally {
    let shape = DifferenceShape::new(network, &Perturbation::Difference(*config), samples, rows);
    let batch = &shape.batch;
    let pass = |first: usize| shape.layers_from(first) + shape.losses();
    let mut tally = shape.evaluations + shape.reciprocal_of_rows();
    tally += batch.scaled_inputs();
    tally += match (config.scheme, config.reuse) {
        (Scheme::Forward, _) => pass(1),
        (Scheme::Central, Reuse::Full) => Tally::NONE,
        // Passes start from the activations below the perturbed layer.
        (Scheme::Central, _) => shape.hidden_layers(),
    };
    for l in 1..=batch.layers() {
        let first = match config.reuse {
            Reuse::Full => 1,
            Reuse::Prefix | Reuse::Incremental => l,
        };
        let (weights, biases) = (batch.weights(l), batch.biases(l));
        tally += pass(first) * (shape.sides() * (weights + biases));
        tally += shape.partial(config.summation) * (weights + biases);
        if config.summation == Summation::Differences && batch.l2 {
            // ½λ′·w² at both points, and the difference.
            tally += (Tally::multiplications(4) + Tally::additions(1)) * weights;
        }
    }
    tally
}

/// Returns the operations of an incremental gradient.
pub fn incremental<R: Real>(
    network: &Network,
    perturbation: &Perturbation,
    samples: &Samples<R>,
    rows: &[u32],
) -> Tally {
    let shape = DifferenceShape::new(network, perturbation, samples, rows);
    let batch = &shape.batch;
    let bias = u64::from(network.layout.has_bias());
    let mut tally = shape.evaluations + shape.reciprocal_of_rows();
    // Inputs are read once per panel of the first layer, and once more by the search for equal
    // values (or by the products).
    let panels = count::<R>(network.layout.sizes()[1]) as u64;
    tally += batch.scaled_inputs() * (panels + 1);
    tally += shape.hidden_layers() + shape.outputs();
    if shape.scheme == Scheme::Forward {
        tally += shape.losses();
    }
    if shape.is_plain() {
        tally += margin(batch.output_loss, batch.classes()) * (batch.rows * batch.classes());
    }
    let (mut filled, mut distinct) = (0, 0);
    for &row in rows {
        let variety = samples.input_density(row);
        filled += u64::from(variety.nonzeros);
        distinct += u64::from(variety.distinct);
    }
    for l in 1..=batch.layers() {
        // Inputs of all rows that are not 0, and their distinct values; a bias is an input of 1.
        let (inputs, values) = match l {
            1 => (filled, distinct),
            _ => [batch.rows * batch.sizes[l - 1]; 2].into(),
        };
        let biases = batch.rows * bias;
        if l + 1 == batch.layers() && shape.is_plain() {
            // The activation a from which the perturbed one is subtracted.
            tally += SIGMOID * (batch.sizes[l] * batch.rows);
        }
        if perturbation.perturbs_units() {
            // Each unit is perturbed once per row, and its change is multiplied by each input.
            tally += shape.loss_change(l) * (batch.sizes[l] * batch.rows);
            tally += batch.products(l) + Tally::additions(batch.sizes[l] * biases);
        } else {
            tally += shape.loss_change(l) * (batch.sizes[l] * (values + biases));
            // Each input adds the change of its value to the sum of its weight.
            tally += Tally::additions(batch.sizes[l] * (inputs + biases));
        }
        tally += shape.quotients(l);
        if batch.l2 {
            tally += shape.penalty() * batch.weights(l);
        }
    }
    tally
}

/// Numbers that the formulas depend on.
struct DifferenceShape {
    batch: BatchShape,
    scheme: Scheme,
    form: ChangeForm,
    /// Number of panels of units in all layers.
    panels: u64,
    evaluations: Tally,
    /// Kind of values that the derivative of the l2 term is computed from.
    penalty_propagation: Propagation,
}

impl DifferenceShape {
    fn new<R: Real>(
        network: &Network,
        perturbation: &Perturbation,
        samples: &Samples<R>,
        rows: &[u32],
    ) -> Self {
        let units = &network.layout.sizes()[1..];
        Self {
            batch: BatchShape::new(network, samples, rows),
            scheme: perturbation.scheme(),
            form: ChangeForm::new::<R>(perturbation),
            panels: units.iter().map(|&units| count::<R>(units) as u64).sum(),
            evaluations: perturbation.evaluations(&network.layout),
            penalty_propagation: perturbation.penalty_propagation(),
        }
    }

    fn is_plain(&self) -> bool {
        self.form == ChangeForm::Plain
    }

    /// Returns the number of perturbed points per parameter.
    fn sides(&self) -> u64 {
        match self.scheme {
            Scheme::Forward => 1,
            Scheme::Central => 2,
        }
    }

    /// Returns the operations of 1/B.
    fn reciprocal_of_rows(&self) -> Tally {
        Tally::divisions(1)
    }

    // ---- One pass over the mini-batch --------------------------------------------------------

    /// Returns the operations of z and σ(z) of the hidden layers from layer `first` on, and of z of
    /// the outputs.
    fn layers_from(&self, first: usize) -> Tally {
        (first..=self.batch.layers()).fold(Tally::NONE, |sum, l| {
            let units = if l < self.batch.layers() {
                self.batch.sizes[l]
            } else {
                0
            };
            sum + self.batch.products(l) + SIGMOID_PAIR * (self.batch.rows * units)
        })
    }

    /// Returns the operations of z and σ(z) of all hidden layers.
    fn hidden_layers(&self) -> Tally {
        (1..self.batch.layers()).fold(Tally::NONE, |sum, l| {
            sum + self.batch.products(l) + SIGMOID_PAIR * (self.batch.rows * self.batch.sizes[l])
        })
    }

    /// Returns the operations of `RowLosses`: the rows' losses from z.
    fn losses(&self) -> Tally {
        let row = row_loss(
            ChangeForm::Plain,
            self.batch.output_loss,
            self.batch.classes(),
        );
        (row + self.batch.factors(1)) * self.batch.rows
    }

    /// Returns the operations of z of the outputs, and of `Pairs` or `Probabilities` from it.
    fn outputs(&self) -> Tally {
        let units = self.batch.rows * self.batch.classes();
        self.batch.products(self.batch.layers())
            + match self.batch.output_loss {
                OutputLoss::LinearQuadratic => Tally::NONE,
                OutputLoss::SoftmaxCrossEntropy => {
                    // z − max, e^…; the sums of the outputs before, of those after, of all others
                    // and of all; p and 1 − p.
                    Tally {
                        additions: 5,
                        exponentials: 1,
                        divisions: 2,
                        ..Tally::NONE
                    } * units
                }
                _ => SIGMOID_PAIR * units,
            }
    }

    // ---- From passes to a partial derivative -------------------------------------------------

    /// Returns the operations from the rows' losses at two points to one partial derivative. The l2
    /// term is included for `Summation::Losses` only.
    fn partial(&self, summation: Summation) -> Tally {
        // The points, their distance, and the quotient.
        let points = Tally::additions(self.sides() + 1) + Tally::divisions(1);
        points
            + match summation {
                // The rows' differences and their sum; the mean; plus the difference of the l2
                // term.
                Summation::Differences => {
                    Tally::additions(2 * self.batch.rows + 1) + Tally::multiplications(1)
                }
                // Two means and their difference.
                Summation::Losses => {
                    let mean = Tally::additions(self.batch.rows) + Tally::multiplications(1);
                    (mean + self.squares()) * 2 + Tally::additions(1)
                }
            }
    }

    /// Returns the operations of ½λ′ Σ w²: summed over the weights of each unit, over the units of
    /// a panel, over the panels.
    fn squares(&self) -> Tally {
        if !self.batch.l2 {
            return Tally::NONE;
        }
        let sums = Tally::additions(self.batch.units() + self.panels);
        Tally::fused(self.batch.all_weights()) + sums + Tally::fused(1)
    }

    // ---- From one perturbation to the change of the loss --------------------------------------

    /// Returns the operations of the change of one row's loss when a unit of layer l is perturbed
    /// by one value.
    fn loss_change(&self, l: usize) -> Tally {
        // The loss above minus the one below, or minus that at θ. Forward cancellation-free changes
        // and rates are no differences of two values.
        let subtracts = self.is_plain() || self.scheme == Scheme::Central;
        // A deep change has the row's factor on each side.
        let factors = match self.batch.layers() - l {
            0 | 1 => 1,
            _ => self.sides(),
        };
        Tally::additions(u64::from(subtracts))
            + self.batch.factors(factors)
            + match self.batch.layers() - l {
                // The output's term at θ is not among the rows' losses, so it is computed, too.
                0 if self.is_plain() => output_change(self.form, self.batch.output_loss) * 2,
                0 => output_change(self.form, self.batch.output_loss) * self.sides(),
                1 => self.one_layer_change() * self.sides(),
                _ => self.deep_change(l) * self.sides(),
            }
    }

    /// Returns the operations of the perturbed unit's pre-activation.
    fn perturbed_z(&self) -> Tally {
        perturbed_z(self.form)
    }

    /// Returns the operations of σ(z + Δz), or of its change.
    fn activation(&self) -> Tally {
        activation(self.form)
    }

    /// Returns the operations of the perturbed unit itself: its pre-activation and activation, and
    /// in plain arithmetic the difference to a.
    fn unit(&self) -> Tally {
        self.perturbed_z() + self.activation() + Tally::additions(u64::from(self.is_plain()))
    }

    /// Returns the operations of the rank-1 update of one unit above: z + w·Δa, or w·Δa.
    fn rank_one(&self) -> Tally {
        if self.is_plain() {
            Tally::fused(1)
        } else {
            Tally::multiplications(1)
        }
    }

    /// Returns the operations of `PerturbUnits`: a unit one layer below the outputs is perturbed.
    fn one_layer_change(&self) -> Tally {
        let classes = self.batch.classes();
        let unit = if self.is_plain() {
            self.perturbed_z() + SIGMOID + Tally::additions(1)
        } else {
            self.unit()
        };
        unit + self.rank_one() * classes + row_loss(self.form, self.batch.output_loss, classes)
    }

    /// Returns the operations of `Spread` into layer l + 1, products and `ActivateChanges` from
    /// layer l + 2 on, and `PerturbedLoss`.
    fn deep_change(&self, l: usize) -> Tally {
        let spread = self.unit() + (self.rank_one() + self.activation()) * self.batch.sizes[l + 1];
        let passes = (l + 2..=self.batch.layers()).fold(Tally::NONE, |sum, m| {
            // A bias is the weight of one more input, 1 (0 where a change is propagated).
            let product = Tally::fused(self.batch.sizes[m] * (self.batch.sizes[m - 1] + 1));
            let units = if m < self.batch.layers() {
                self.batch.sizes[m]
            } else {
                0
            };
            sum + product + self.activation() * units
        });
        spread + passes + row_loss(self.form, self.batch.output_loss, self.batch.classes())
    }

    // ---- From sums of changes to partial derivatives -----------------------------------------

    /// Returns the operations of `DivideSums`: (1/B)/h or (1/B)/(h + h) for each unit, times the
    /// sum of each parameter.
    fn quotients(&self, l: usize) -> Tally {
        (self.distance() + Tally::divisions(1)) * self.batch.sizes[l]
            + Tally::multiplications(self.batch.weights(l) + self.batch.biases(l))
    }

    /// Returns the operations of `Penalties` for one weight: the difference of ½λ′·w², its
    /// quotient, its addition.
    fn penalty(&self) -> Tally {
        if self.penalty_propagation == Propagation::Rates {
            // λ′·w.
            return Tally::multiplications(1) + Tally::additions(1);
        }
        let change = match (self.scheme, self.is_plain()) {
            // ½λ′·(w + h)² − ½λ′·w².
            (Scheme::Forward, true) => Tally::additions(2) + Tally::multiplications(4),
            // ½λ′·(w + h)² − ½λ′·(w − h)².
            (Scheme::Central, true) => Tally::additions(3) + Tally::multiplications(4),
            // ½λ′·h·(w + w + h), ½λ′·(h + h)·(w + w).
            (_, false) => Tally::additions(2) + Tally::multiplications(2),
        };
        change + self.distance() + Tally::divisions(1) + Tally::additions(1)
    }

    /// Returns the operations of the distance of the points: h + h for a central difference.
    fn distance(&self) -> Tally {
        Tally::additions(self.sides() - 1)
    }
}
