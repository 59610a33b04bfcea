//! What a gradient by finite differences, or by rates of change, performs, in closed form: a formula
//! for each stage.
//!
//! B rows, layers l = 1 … L of n_l units, n_0 inputs, N parameters. A stage is named after the
//! kernel that performs it (`kernels/divided_difference/one_layer.rs`, `deep_tails.rs`, `losses.rs`), and its formula
//! follows the kernel's lines; those of a tail are for one perturbation: one unit, one row, one
//! value of its inputs.
//!
//! As in [`crate::gradient::operation_counts::backprop`], a fused multiply-add is a multiplication and an addition,
//! an exponential or logarithm counts as one by whatever polynomial, and not counted are padding
//! (of a block of values too) and its masks (of a target's and another output's term one is taken),
//! signs and comparisons, the choice of increments, constants (½λ′; 1/B is one division a gradient),
//! the optimizer's update, and what each worker computes again for itself. What the values of a
//! block share once the compiler has seen it, such as y·ȳ, is counted for each value.
//!
//! The loss at θ is counted where it is an evaluation, in forward differences. Central ones have no
//! use for it; that a run reports it is monitoring.
//!
//! Changes without cancellation have forms of their own for tiny, close and far perturbations, and
//! the kernels choose by bounds over a panel. The formulas choose by the increment alone, as if
//! inputs and weights were of order 1: true of `auto`, whose increment is u, until |inputs·weights|
//! exceed 1/√u. Far perturbations, above 1/64, are counted as close ones; there the cross-entropy of
//! a sigmoid compares two softplus as well (4 additions, 2 exponentials and 2 logarithms an output
//! more), that of a softmax two sums of exponentials, and its outputs need their margins.
//!
//! The formulas need nothing of a row but two numbers, how many of its inputs are not 0 and how
//! many values these have ([`Samples::variety`]), so a tally costs B additions. In
//! `tests/difference_counts.rs` the same passes are counted one by one.

use crate::data::{Inputs, Samples};
use crate::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, Perturbation, Reuse, Scheme, Summation,
};
use crate::gradient::operation_counts::backprop::{PAIR, SCALED, first_products, sizes};
use crate::kernels::divided_difference::formulas::Propagation;
use crate::kernels::panels::count;
use crate::model::Network;
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;
use crate::numeric::tally::Tally;

/// The rows' losses at one θ: one whole pass, its inputs gathered.
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

/// One evaluation on its own: the rows' losses, their sum and its share.
pub fn evaluation<R: Real>(network: &Network, samples: &Samples<R>, rows: &[u32]) -> Tally {
    let b = rows.len() as u64;
    let mut tally = pass(network, samples, rows) + Tally::additions(b) + Tally::divisions(1);
    if matches!(samples.inputs(), Inputs::Bytes(..)) {
        tally += SCALED * (b * samples.features() as u64);
    }
    tally.evaluations = 1;
    tally
}

/// A gradient by whole passes: N + 1 or 2N of them.
pub fn whole<R: Real>(
    network: &Network,
    config: &DifferenceConfig,
    samples: &Samples<R>,
    rows: &[u32],
) -> Tally {
    let shape = DifferenceShape::new(network, &Perturbation::Difference(*config), samples, rows);
    let layers = shape.layers();
    let pass = |first: usize| shape.layers_from(first) + shape.losses();
    let mut tally = shape.evaluations + shape.share();
    if shape.reads_bytes {
        tally += SCALED * (shape.rows * shape.sizes[0]);
    }
    tally += match (config.scheme, config.reuse) {
        (Scheme::Forward, _) => pass(1),
        (Scheme::Central, Reuse::Full) => Tally::NONE,
        // Passes start from the activations below them.
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
            // ½λ′·w² on both sides, and their difference.
            tally += (Tally::multiplications(4) + Tally::additions(1)) * weights;
        }
    }
    tally
}

/// The loss of one row, and its difference by each output's own pre-activation, in plain arithmetic.
pub(in crate::gradient) fn output_differences(head: OutputLoss, outputs: u64) -> Tally {
    let each = own_tail(ChangeForm::Plain, head) * 2 + Tally::additions(1);
    total(ChangeForm::Plain, head, outputs) + (margin(head, outputs) + each) * outputs
}

/// An incremental gradient.
pub fn incremental<R: Real>(
    network: &Network,
    probe: &Perturbation,
    samples: &Samples<R>,
    rows: &[u32],
) -> Tally {
    let shape = DifferenceShape::new(network, probe, samples, rows);
    let bias = u64::from(network.layout.has_bias());
    let mut tally = shape.evaluations + shape.share();
    if shape.reads_bytes {
        // Each panel of the first layer reads them, and the search for equal values (or the products).
        let panels = count::<R>(network.layout.sizes()[1]) as u64;
        tally += SCALED * (shape.rows * shape.sizes[0] * (panels + 1));
    }
    tally += shape.hidden_layers() + shape.outputs();
    if shape.scheme == Scheme::Forward {
        tally += shape.losses();
    }
    if shape.is_plain() {
        tally += margin(shape.head, shape.classes()) * (shape.rows * shape.classes());
    }
    let (mut filled, mut distinct) = (0, 0);
    for &row in rows {
        let variety = samples.variety(row);
        filled += u64::from(variety.filled);
        distinct += u64::from(variety.distinct);
    }
    for l in 1..=shape.layers() {
        // Inputs of all rows that change anything, and their values; a bias is an input of 1.
        let (inputs, values) = match l {
            1 => (filled, distinct),
            _ => [shape.rows * shape.sizes[l - 1]; 2].into(),
        };
        let biases = shape.rows * bias;
        if l + 1 == shape.layers() && shape.is_plain() {
            // What a′ is compared with.
            tally += SIGMOID * (shape.sizes[l] * shape.rows);
        }
        if probe.is_of_units() {
            // Each unit once a row, and the change times each input.
            tally += shape.tail(l) * (shape.sizes[l] * shape.rows);
            let products = match l {
                1 => shape.first_products,
                _ => shape.rows * shape.weights(l),
            };
            tally += Tally::fused(products) + Tally::additions(shape.sizes[l] * biases);
        } else {
            tally += shape.tail(l) * (shape.sizes[l] * (values + biases));
            // Each input adds its value's change to its sum.
            tally += Tally::additions(shape.sizes[l] * (inputs + biases));
        }
        tally += shape.quotients(l);
        if shape.l2 {
            tally += shape.penalty() * shape.weights(l);
        }
    }
    tally
}

/// What the formulas depend on.
struct DifferenceShape {
    /// n_0 … n_L.
    sizes: Vec<u64>,
    bias: bool,
    head: OutputLoss,
    l2: bool,
    scheme: Scheme,
    reach: ChangeForm,
    /// B.
    rows: u64,
    /// Whether inputs are bytes that are scaled as they are read.
    reads_bytes: bool,
    /// Fused multiply-adds of the first layer's z.
    first_products: u64,
    /// Panels of units in all layers.
    panels: u64,
    evaluations: Tally,
    /// What the derivative of the l2 term is found from.
    penalty: Propagation,
}

impl DifferenceShape {
    fn new<R: Real>(
        network: &Network,
        probe: &Perturbation,
        samples: &Samples<R>,
        rows: &[u32],
    ) -> Self {
        let sizes = sizes(network);
        Self {
            bias: network.layout.has_bias(),
            head: network.head(),
            l2: network.l2 != 0.0,
            scheme: probe.scheme(),
            reach: ChangeForm::new::<R>(probe),
            rows: rows.len() as u64,
            reads_bytes: matches!(samples.inputs(), Inputs::Bytes(..)),
            first_products: first_products(samples, rows, sizes[1]),
            panels: network.layout.sizes()[1..]
                .iter()
                .map(|&units| count::<R>(units) as u64)
                .sum(),
            evaluations: probe.evaluations(&network.layout),
            penalty: probe.penalty(),
            sizes,
        }
    }

    /// L.
    fn layers(&self) -> usize {
        self.sizes.len() - 1
    }

    /// n_L.
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
        self.reach == ChangeForm::Plain
    }

    /// Perturbations of a parameter.
    fn sides(&self) -> u64 {
        match self.scheme {
            Scheme::Forward => 1,
            Scheme::Central => 2,
        }
    }

    /// 1/B.
    fn share(&self) -> Tally {
        Tally::divisions(1)
    }

    // ---- One pass over the mini-batch --------------------------------------------------------

    /// z of layer l: one chain of n_{l−1} fused multiply-adds a unit, from the bias on.
    fn products(&self, l: usize) -> Tally {
        Tally::fused(match l {
            1 => self.first_products,
            _ => self.rows * self.weights(l),
        })
    }

    /// z and σ(z) of the hidden layers from layer `first` on, z of the outputs.
    fn layers_from(&self, first: usize) -> Tally {
        (first..=self.layers()).fold(Tally::NONE, |sum, l| {
            let units = if l < self.layers() { self.sizes[l] } else { 0 };
            sum + self.products(l) + PAIR * (self.rows * units)
        })
    }

    /// z and σ(z) of all hidden layers.
    fn hidden_layers(&self) -> Tally {
        (1..self.layers()).fold(Tally::NONE, |sum, l| {
            sum + self.products(l) + PAIR * (self.rows * self.sizes[l])
        })
    }

    /// `RowLosses`: the loss at z.
    fn losses(&self) -> Tally {
        total(ChangeForm::Plain, self.head, self.classes()) * self.rows
    }

    /// z of the outputs, and with them `Pairs` or `Probabilities`.
    fn outputs(&self) -> Tally {
        let units = self.rows * self.classes();
        self.products(self.layers())
            + match self.head {
                OutputLoss::LinearQuadratic => Tally::NONE,
                OutputLoss::SoftmaxCrossEntropy => {
                    // z − max, e^…; the sums before, after, of the others and of all; p and 1 − p.
                    Tally {
                        additions: 5,
                        exponentials: 1,
                        divisions: 2,
                        ..Tally::NONE
                    } * units
                }
                _ => PAIR * units,
            }
    }

    // ---- From passes to a partial derivative -------------------------------------------------

    /// From the rows' losses at two points to one partial derivative, l2 left out of the
    /// differences.
    fn partial(&self, summation: Summation) -> Tally {
        // θ ± h, their distance, and the quotient.
        let points = Tally::additions(self.sides() + 1) + Tally::divisions(1);
        points
            + match summation {
                // loss − loss, its sum; the mean; + the penalty's difference.
                Summation::Differences => {
                    Tally::additions(2 * self.rows + 1) + Tally::multiplications(1)
                }
                // Two means, their difference.
                Summation::Losses => {
                    let mean = Tally::additions(self.rows) + Tally::multiplications(1);
                    (mean + self.squares()) * 2 + Tally::additions(1)
                }
            }
    }

    /// The mean loss with ½λ′ Σ w²: Σ over each unit, over the units of a panel, over the panels.
    fn squares(&self) -> Tally {
        if !self.l2 {
            return Tally::NONE;
        }
        let weights = (1..=self.layers()).map(|l| self.weights(l)).sum();
        let units: u64 = self.sizes[1..].iter().sum();
        Tally::fused(weights) + Tally::additions(units + self.panels) + Tally::fused(1)
    }

    // ---- Tails: from one perturbation to the change of the loss ------------------------------

    /// A perturbation of a unit in layer l, in one row, by one value.
    fn tail(&self, l: usize) -> Tally {
        // Above minus below, or minus the loss at θ; a change has nothing to be subtracted from.
        let compared = self.is_plain() || self.scheme == Scheme::Central;
        let compared = Tally::additions(u64::from(compared));
        compared
            + match self.layers() - l {
                // The share that changes has no base among the rows' losses: both sides are computed.
                0 if self.is_plain() => own_tail(self.reach, self.head) * 2,
                0 => own_tail(self.reach, self.head) * self.sides(),
                1 => self.unit_tail() * self.sides(),
                _ => self.deep_tail(l) * self.sides(),
            }
    }

    /// The unit's own next point.
    fn point(&self) -> Tally {
        point(self.reach)
    }

    /// σ at z′, or its change.
    fn activated(&self) -> Tally {
        activation(self.reach)
    }

    /// The unit itself: its point and activation, in plain arithmetic a′ − a.
    fn unit(&self) -> Tally {
        self.point() + self.activated() + Tally::additions(u64::from(self.is_plain()))
    }

    /// The rank-1 update of one unit above: z + w·Δa, or w·Δa.
    fn rank_one(&self) -> Tally {
        if self.is_plain() {
            Tally::fused(1)
        } else {
            Tally::multiplications(1)
        }
    }

    /// `UnitTail`: a unit below the outputs is perturbed.
    fn unit_tail(&self) -> Tally {
        let classes = self.classes();
        let unit = if self.is_plain() {
            self.point() + SIGMOID + Tally::additions(1)
        } else {
            self.unit()
        };
        unit + self.rank_one() * classes + total(self.reach, self.head, classes)
    }

    /// `Spread` into layer l + 1, products and `Activate` from layer l + 2 on, `LossTail`.
    fn deep_tail(&self, l: usize) -> Tally {
        let spread = self.unit() + (self.rank_one() + self.activated()) * self.sizes[l + 1];
        let passes = (l + 2..=self.layers()).fold(Tally::NONE, |sum, m| {
            // A bias is one more input, of 1 or of 0.
            let product = Tally::fused(self.sizes[m] * (self.sizes[m - 1] + 1));
            let units = if m < self.layers() { self.sizes[m] } else { 0 };
            sum + product + self.activated() * units
        });
        spread + passes + total(self.reach, self.head, self.classes())
    }

    // ---- From sums of changes to partial derivatives -----------------------------------------

    /// `Quotients`: 1/B over h or h + h for each unit, times the sum of each parameter.
    fn quotients(&self, l: usize) -> Tally {
        (self.distance() + Tally::divisions(1)) * self.sizes[l]
            + Tally::multiplications(self.weights(l) + self.biases(l))
    }

    /// `Penalties`: the difference of ½λ′·w², its quotient, its addition.
    fn penalty(&self) -> Tally {
        if self.penalty == Propagation::Rates {
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

    /// h + h of a central difference.
    fn distance(&self) -> Tally {
        Tally::additions(self.sides() - 1)
    }
}

/// Which form a change of the loss is computed in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ChangeForm {
    /// Perturbed values, subtracted at the end.
    Plain,
    /// Changes by series of two terms, |Δz| ≤ √u/2.
    Tiny,
    /// Changes by e^Δz − 1.
    Close,
    /// Rates of change.
    Rate,
}

impl ChangeForm {
    fn new<R: Real>(probe: &Perturbation) -> Self {
        let Some(config) = probe.difference() else {
            return Self::Rate;
        };
        if config.arithmetic == Arithmetic::Plain {
            return Self::Plain;
        }
        let h = match config.increment {
            Increment::Auto | Increment::Noise => R::UNIT_ROUNDOFF,
            Increment::Absolute(h) | Increment::Relative(h) => h,
        };
        // As the kernels have it, where two outputs move.
        if (2.0 * h).powi(2) <= R::UNIT_ROUNDOFF / 4.0 {
            Self::Tiny
        } else {
            Self::Close
        }
    }
}

/// A unit's own next point: h·v, in plain arithmetic z + h·v.
fn point(reach: ChangeForm) -> Tally {
    Tally::multiplications(1) + Tally::additions(u64::from(reach == ChangeForm::Plain))
}

/// `OwnTail`: an output is perturbed.
fn own_tail(reach: ChangeForm, head: OutputLoss) -> Tally {
    point(reach) + term(reach, head) + share(reach, head)
}

/// What perturbed values of an output start from: of a softmax its margin, z_k − ln Σ_{j≠k} e^z_j.
fn margin(head: OutputLoss, outputs: u64) -> Tally {
    if head == OutputLoss::SoftmaxCrossEntropy {
        log_sum(outputs - 1) + Tally::additions(1)
    } else {
        Tally::NONE
    }
}

/// ln Σ e^z of `terms` z, two by two: max + ln(1 + e^−|a − b|).
fn log_sum(terms: u64) -> Tally {
    let pairs = terms - 1;
    Tally {
        additions: 2 * pairs,
        exponentials: pairs,
        logarithms: pairs,
        ..Tally::NONE
    }
}

/// σ alone: e^−z, 1 + e^−z, its inverse.
const SIGMOID: Tally = Tally {
    exponentials: 1,
    additions: 1,
    divisions: 1,
    ..Tally::NONE
};

/// σ at z′, or its change.
fn activation(reach: ChangeForm) -> Tally {
    match reach {
        // y·ȳ·ż.
        ChangeForm::Rate => Tally::multiplications(2),
        ChangeForm::Plain => PAIR,
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

/// One output's share of the loss at z′, or the change of its share; added to a sum.
fn term(reach: ChangeForm, head: OutputLoss) -> Tally {
    match (head, reach) {
        // sum + r·r, r = |σ(z′) − y|.
        (OutputLoss::SigmoidQuadratic, ChangeForm::Plain) => SIGMOID + Tally::fused(1),
        (OutputLoss::SigmoidQuadratic, ChangeForm::Rate) => activation(reach) + Tally::fused(1),
        (OutputLoss::SigmoidQuadratic, _) => activation(reach) + Tally::fused(2),
        // r = z′ − y.
        (OutputLoss::LinearQuadratic, ChangeForm::Plain) => Tally::additions(1) + HALF_SQUARE,
        (OutputLoss::LinearQuadratic, ChangeForm::Rate) => Tally::additions(1) + Tally::fused(1),
        (OutputLoss::LinearQuadratic, _) => Tally::additions(1) + Tally::fused(2),
        // A softmax has one term, of the output that moves.
        (
            OutputLoss::SigmoidCrossEntropy
            | OutputLoss::Logistic
            | OutputLoss::SoftmaxCrossEntropy,
            _,
        ) => Tally::additions(1) + entropy_change(reach),
    }
}

/// The loss, or a share of it, from the sum of the terms: half a sum of squares.
fn share(reach: ChangeForm, head: OutputLoss) -> Tally {
    let squares = reach == ChangeForm::Plain && head == OutputLoss::SigmoidQuadratic;
    Tally::multiplications(u64::from(squares))
}

/// sum + ½r·r; a change's Δa·(½Δa + r) is two fused multiply-adds.
const HALF_SQUARE: Tally = Tally {
    multiplications: 2,
    additions: 1,
    ..Tally::NONE
};

/// One output's cross-entropy, or its change.
fn entropy_change(reach: ChangeForm) -> Tally {
    match reach {
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

/// The loss of a row at z′, or its change: the outputs' terms and their sum.
fn total(reach: ChangeForm, head: OutputLoss, outputs: u64) -> Tally {
    if head != OutputLoss::SoftmaxCrossEntropy {
        return term(reach, head) * outputs + share(reach, head);
    }
    let others = outputs - 1;
    match reach {
        // ln Σ_{k≠t} e^z_k; softplus of its margin to the target. Each z′ is added to a base of 0.
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
