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
//! `tests/difference_counts.rs` counts the same passes operation by operation and compares.

use crate::data::{Inputs, Samples};
use crate::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, Perturbation, Reuse, Scheme, Summation,
};
use crate::gradient::operation_counts::backprop::{
    SCALED_INPUT, SIGMOID_PAIR, first_products, sizes,
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

/// Returns the operations of one evaluation by itself: the rows' losses, their sum, 1/B.
pub fn evaluation<R: Real>(network: &Network, samples: &Samples<R>, rows: &[u32]) -> Tally {
    let b = rows.len() as u64;
    let mut tally = pass(network, samples, rows) + Tally::additions(b) + Tally::divisions(1);
    if matches!(samples.inputs(), Inputs::Bytes(..)) {
        tally += SCALED_INPUT * (b * samples.features() as u64);
    }
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
    let layers = shape.layers();
    let pass = |first: usize| shape.layers_from(first) + shape.losses();
    let mut tally = shape.evaluations + shape.reciprocal_of_rows();
    if shape.reads_bytes {
        tally += SCALED_INPUT * (shape.rows * shape.sizes[0]);
    }
    tally += match (config.scheme, config.reuse) {
        (Scheme::Forward, _) => pass(1),
        (Scheme::Central, Reuse::Full) => Tally::NONE,
        // Passes start from the activations below the perturbed layer.
        (Scheme::Central, _) => shape.hidden_layers(),
    };
    for l in 1..=layers {
        let first = match config.reuse {
            Reuse::Full => 1,
            Reuse::Prefix | Reuse::Incremental => l,
        };
        let (weights, biases) = (shape.weights(l), shape.biases(l));
        tally += pass(first) * (shape.sides() * (weights + biases));
        tally += shape.partial(config.summation) * (weights + biases);
        if config.summation == Summation::Differences && shape.l2 {
            // ½λ′·w² at both points, and the difference.
            tally += (Tally::multiplications(4) + Tally::additions(1)) * weights;
        }
    }
    tally
}

/// Returns the operations of the loss of one row, and of its differences by each output's
/// pre-activation, in plain arithmetic.
pub(in crate::gradient) fn output_differences(output_loss: OutputLoss, outputs: u64) -> Tally {
    let per_output = output_change(ChangeForm::Plain, output_loss) * 2 + Tally::additions(1);
    row_loss(ChangeForm::Plain, output_loss, outputs)
        + (margin(output_loss, outputs) + per_output) * outputs
}

/// Returns the operations of an incremental gradient.
pub fn incremental<R: Real>(
    network: &Network,
    perturbation: &Perturbation,
    samples: &Samples<R>,
    rows: &[u32],
) -> Tally {
    let shape = DifferenceShape::new(network, perturbation, samples, rows);
    let bias = u64::from(network.layout.has_bias());
    let mut tally = shape.evaluations + shape.reciprocal_of_rows();
    if shape.reads_bytes {
        // Inputs are read once per panel of the first layer, and once more by the search for equal
        // values (or by the products).
        let panels = count::<R>(network.layout.sizes()[1]) as u64;
        tally += SCALED_INPUT * (shape.rows * shape.sizes[0] * (panels + 1));
    }
    tally += shape.hidden_layers() + shape.outputs();
    if shape.scheme == Scheme::Forward {
        tally += shape.losses();
    }
    if shape.is_plain() {
        tally += margin(shape.output_loss, shape.classes()) * (shape.rows * shape.classes());
    }
    let (mut filled, mut distinct) = (0, 0);
    for &row in rows {
        let variety = samples.input_density(row);
        filled += u64::from(variety.nonzeros);
        distinct += u64::from(variety.distinct);
    }
    for l in 1..=shape.layers() {
        // Inputs of all rows that are not 0, and their distinct values; a bias is an input of 1.
        let (inputs, values) = match l {
            1 => (filled, distinct),
            _ => [shape.rows * shape.sizes[l - 1]; 2].into(),
        };
        let biases = shape.rows * bias;
        if l + 1 == shape.layers() && shape.is_plain() {
            // The activation a from which the perturbed one is subtracted.
            tally += SIGMOID * (shape.sizes[l] * shape.rows);
        }
        if perturbation.perturbs_units() {
            // Each unit is perturbed once per row, and its change is multiplied by each input.
            tally += shape.loss_change(l) * (shape.sizes[l] * shape.rows);
            let products = match l {
                1 => shape.first_products,
                _ => shape.rows * shape.weights(l),
            };
            tally += Tally::fused(products) + Tally::additions(shape.sizes[l] * biases);
        } else {
            tally += shape.loss_change(l) * (shape.sizes[l] * (values + biases));
            // Each input adds the change of its value to the sum of its weight.
            tally += Tally::additions(shape.sizes[l] * (inputs + biases));
        }
        tally += shape.quotients(l);
        if shape.l2 {
            tally += shape.penalty() * shape.weights(l);
        }
    }
    tally
}

/// Numbers that the formulas depend on.
struct DifferenceShape {
    /// n_0 … n_L.
    sizes: Vec<u64>,
    bias: bool,
    output_loss: OutputLoss,
    l2: bool,
    scheme: Scheme,
    form: ChangeForm,
    /// B, the number of rows.
    rows: u64,
    /// True where inputs are bytes that are scaled as they are read.
    reads_bytes: bool,
    /// Number of fused multiply-adds of the first layer's z.
    first_products: u64,
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
        let sizes = sizes(network);
        Self {
            bias: network.layout.has_bias(),
            output_loss: network.output_loss(),
            l2: network.l2 != 0.0,
            scheme: perturbation.scheme(),
            form: ChangeForm::new::<R>(perturbation),
            rows: rows.len() as u64,
            reads_bytes: matches!(samples.inputs(), Inputs::Bytes(..)),
            first_products: first_products(samples, rows, sizes[1]),
            panels: network.layout.sizes()[1..]
                .iter()
                .map(|&units| count::<R>(units) as u64)
                .sum(),
            evaluations: perturbation.evaluations(&network.layout),
            penalty_propagation: perturbation.penalty_propagation(),
            sizes,
        }
    }

    /// Returns L, the number of layers.
    fn layers(&self) -> usize {
        self.sizes.len() - 1
    }

    /// Returns n_L.
    fn classes(&self) -> u64 {
        self.sizes[self.layers()]
    }

    fn weights(&self, l: usize) -> u64 {
        self.sizes[l] * self.sizes[l - 1]
    }

    fn biases(&self, l: usize) -> u64 {
        if self.bias { self.sizes[l] } else { 0 }
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

    /// Returns the operations of z of layer l: per unit one chain of n_{l−1} fused multiply-adds
    /// that starts from the bias.
    fn products(&self, l: usize) -> Tally {
        Tally::fused(match l {
            1 => self.first_products,
            _ => self.rows * self.weights(l),
        })
    }

    /// Returns the operations of z and σ(z) of the hidden layers from layer `first` on, and of z of
    /// the outputs.
    fn layers_from(&self, first: usize) -> Tally {
        (first..=self.layers()).fold(Tally::NONE, |sum, l| {
            let units = if l < self.layers() { self.sizes[l] } else { 0 };
            sum + self.products(l) + SIGMOID_PAIR * (self.rows * units)
        })
    }

    /// Returns the operations of z and σ(z) of all hidden layers.
    fn hidden_layers(&self) -> Tally {
        (1..self.layers()).fold(Tally::NONE, |sum, l| {
            sum + self.products(l) + SIGMOID_PAIR * (self.rows * self.sizes[l])
        })
    }

    /// Returns the operations of `RowLosses`: the rows' losses from z.
    fn losses(&self) -> Tally {
        row_loss(ChangeForm::Plain, self.output_loss, self.classes()) * self.rows
    }

    /// Returns the operations of z of the outputs, and of `Pairs` or `Probabilities` from it.
    fn outputs(&self) -> Tally {
        let units = self.rows * self.classes();
        self.products(self.layers())
            + match self.output_loss {
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
                    Tally::additions(2 * self.rows + 1) + Tally::multiplications(1)
                }
                // Two means and their difference.
                Summation::Losses => {
                    let mean = Tally::additions(self.rows) + Tally::multiplications(1);
                    (mean + self.squares()) * 2 + Tally::additions(1)
                }
            }
    }

    /// Returns the operations of ½λ′ Σ w²: summed over the weights of each unit, over the units of
    /// a panel, over the panels.
    fn squares(&self) -> Tally {
        if !self.l2 {
            return Tally::NONE;
        }
        let weights = (1..=self.layers()).map(|l| self.weights(l)).sum();
        let units: u64 = self.sizes[1..].iter().sum();
        Tally::fused(weights) + Tally::additions(units + self.panels) + Tally::fused(1)
    }

    // ---- From one perturbation to the change of the loss --------------------------------------

    /// Returns the operations of the change of one row's loss when a unit of layer l is perturbed
    /// by one value.
    fn loss_change(&self, l: usize) -> Tally {
        // The loss above minus the one below, or minus that at θ. Forward cancellation-free changes
        // and rates are no differences of two values.
        let subtracts = self.is_plain() || self.scheme == Scheme::Central;
        Tally::additions(u64::from(subtracts))
            + match self.layers() - l {
                // The output's term at θ is not among the rows' losses, so it is computed, too.
                0 if self.is_plain() => output_change(self.form, self.output_loss) * 2,
                0 => output_change(self.form, self.output_loss) * self.sides(),
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
        let classes = self.classes();
        let unit = if self.is_plain() {
            self.perturbed_z() + SIGMOID + Tally::additions(1)
        } else {
            self.unit()
        };
        unit + self.rank_one() * classes + row_loss(self.form, self.output_loss, classes)
    }

    /// Returns the operations of `Spread` into layer l + 1, products and `ActivateChanges` from
    /// layer l + 2 on, and `PerturbedLoss`.
    fn deep_change(&self, l: usize) -> Tally {
        let spread = self.unit() + (self.rank_one() + self.activation()) * self.sizes[l + 1];
        let passes = (l + 2..=self.layers()).fold(Tally::NONE, |sum, m| {
            // A bias is the weight of one more input, 1 (0 where a change is propagated).
            let product = Tally::fused(self.sizes[m] * (self.sizes[m - 1] + 1));
            let units = if m < self.layers() { self.sizes[m] } else { 0 };
            sum + product + self.activation() * units
        });
        spread + passes + row_loss(self.form, self.output_loss, self.classes())
    }

    // ---- From sums of changes to partial derivatives -----------------------------------------

    /// Returns the operations of `DivideSums`: (1/B)/h or (1/B)/(h + h) for each unit, times the
    /// sum of each parameter.
    fn quotients(&self, l: usize) -> Tally {
        (self.distance() + Tally::divisions(1)) * self.sizes[l]
            + Tally::multiplications(self.weights(l) + self.biases(l))
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

/// Form in which a change of the loss is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ChangeForm {
    /// Perturbed values, subtracted at the end.
    Plain,
    /// Cancellation-free changes by series of two terms, |Δz| ≤ √u/2.
    Tiny,
    /// Cancellation-free changes by e^Δz − 1.
    Close,
    /// Rates of change.
    Rate,
}

impl ChangeForm {
    fn new<R: Real>(perturbation: &Perturbation) -> Self {
        let Some(config) = perturbation.difference() else {
            return Self::Rate;
        };
        if config.arithmetic == Arithmetic::Plain {
            return Self::Plain;
        }
        let h = match config.increment {
            Increment::Auto | Increment::Noise => R::UNIT_ROUNDOFF,
            Increment::Absolute(h) | Increment::Relative(h) => h,
        };
        // The kernels' condition where the difference of two outputs' changes, 2h, has to be tiny.
        if (2.0 * h).powi(2) <= R::UNIT_ROUNDOFF / 4.0 {
            Self::Tiny
        } else {
            Self::Close
        }
    }
}

/// Returns the operations of Δz = h·v, and in plain arithmetic of z + h·v.
fn perturbed_z(form: ChangeForm) -> Tally {
    Tally::multiplications(1) + Tally::additions(u64::from(form == ChangeForm::Plain))
}

/// Returns the operations of `PerturbOutputs`: an output is perturbed.
fn output_change(form: ChangeForm, output_loss: OutputLoss) -> Tally {
    perturbed_z(form) + output_term(form, output_loss) + half(form, output_loss)
}

/// Returns the operations of what an output's perturbed loss starts from: with softmax the output's
/// margin, z_k − ln Σ_{j≠k} e^z_j.
fn margin(output_loss: OutputLoss, outputs: u64) -> Tally {
    if output_loss == OutputLoss::SoftmaxCrossEntropy {
        log_sum(outputs - 1) + Tally::additions(1)
    } else {
        Tally::NONE
    }
}

/// Returns the operations of ln Σ e^z of `terms` numbers z, pairwise: max + ln(1 + e^−|a − b|).
fn log_sum(terms: u64) -> Tally {
    let pairs = terms - 1;
    Tally {
        additions: 2 * pairs,
        exponentials: pairs,
        logarithms: pairs,
        ..Tally::NONE
    }
}

/// Operations of σ alone: e^−z, 1 + e^−z, the reciprocal.
const SIGMOID: Tally = Tally {
    exponentials: 1,
    additions: 1,
    divisions: 1,
    ..Tally::NONE
};

/// Returns the operations of σ(z + Δz), or of its change (y = σ(z), ȳ = 1 − y).
fn activation(form: ChangeForm) -> Tally {
    match form {
        // y·ȳ·ż.
        ChangeForm::Rate => Tally::multiplications(2),
        ChangeForm::Plain => SIGMOID_PAIR,
        // y·ȳ·Δz·(1 + Δz·(½ − y)).
        ChangeForm::Tiny => Tally::fused(1) + Tally::multiplications(3) + Tally::additions(1),
        // y·ȳ·M/(1 + y·M), M = e^Δz − 1.
        ChangeForm::Close => Tally {
            multiplications: 3,
            additions: 1,
            exponentials: 1,
            divisions: 1,
            ..Tally::NONE
        },
    }
}

/// Returns the operations of one output's term of the loss at z + Δz, or of the term's change, and
/// of its addition to a sum.
fn output_term(form: ChangeForm, output_loss: OutputLoss) -> Tally {
    match (output_loss, form) {
        // sum + r·r, r = |σ(z + Δz) − target|.
        (OutputLoss::SigmoidQuadratic, ChangeForm::Plain) => SIGMOID + Tally::fused(1),
        (OutputLoss::SigmoidQuadratic, ChangeForm::Rate) => activation(form) + Tally::fused(1),
        (OutputLoss::SigmoidQuadratic, _) => activation(form) + Tally::fused(2),
        // r = z + Δz − target.
        (OutputLoss::LinearQuadratic, ChangeForm::Plain) => Tally::additions(1) + HALF_SQUARE,
        (OutputLoss::LinearQuadratic, ChangeForm::Rate) => Tally::additions(1) + Tally::fused(1),
        (OutputLoss::LinearQuadratic, _) => Tally::additions(1) + Tally::fused(2),
        // Softmax has one term, that of the perturbed output.
        (
            OutputLoss::SigmoidCrossEntropy
            | OutputLoss::Logistic
            | OutputLoss::SoftmaxCrossEntropy,
            _,
        ) => Tally::additions(1) + entropy_change(form),
    }
}

/// Returns the operations of the factor ½ of a sum of squares, where the terms leave it out.
fn half(form: ChangeForm, output_loss: OutputLoss) -> Tally {
    let squares = form == ChangeForm::Plain && output_loss == OutputLoss::SigmoidQuadratic;
    Tally::multiplications(u64::from(squares))
}

/// Operations of sum + ½r·r. (A change's Δa·(½Δa + r) is two fused multiply-adds.)
const HALF_SQUARE: Tally = Tally {
    multiplications: 2,
    additions: 1,
    ..Tally::NONE
};

/// Returns the operations of one output's cross-entropy, or of its change.
fn entropy_change(form: ChangeForm) -> Tally {
    match form {
        // softplus: max(z, 0) + ln(1 + e^−|z|).
        ChangeForm::Plain => Tally {
            additions: 1,
            exponentials: 1,
            logarithms: 1,
            ..Tally::NONE
        },
        // y·x.
        ChangeForm::Rate => Tally::multiplications(1),
        // y·x·(1 + x·½ȳ).
        ChangeForm::Tiny => Tally::fused(1) + Tally::multiplications(3),
        // ln(1 + y·(e^x − 1)).
        ChangeForm::Close => Tally {
            multiplications: 1,
            exponentials: 1,
            logarithms: 1,
            ..Tally::NONE
        },
    }
}

/// Returns the operations of the loss of a row at z + Δz, or of its change: the outputs' terms and
/// their sum.
fn row_loss(form: ChangeForm, output_loss: OutputLoss, outputs: u64) -> Tally {
    if output_loss != OutputLoss::SoftmaxCrossEntropy {
        return output_term(form, output_loss) * outputs + half(form, output_loss);
    }
    let others = outputs - 1;
    match form {
        // ln Σ_{k≠t} e^z_k; softplus of its margin to the target t. Each z + Δz is added to a base
        // of 0.
        ChangeForm::Plain => {
            Tally::additions(outputs + 1) + log_sum(others) + entropy_change(ChangeForm::Plain)
        }
        // Σ_{k≠t} p_k·(ż_k − ż_t).
        ChangeForm::Rate => Tally::fused(others) + Tally::additions(others),
        // ln(1 + Σ_{k≠t} p_k·(e^(Δz_k − Δz_t) − 1)).
        ChangeForm::Tiny | ChangeForm::Close => Tally {
            multiplications: others,
            additions: 2 * others,
            exponentials: others,
            logarithms: 1,
            ..Tally::NONE
        },
    }
}
