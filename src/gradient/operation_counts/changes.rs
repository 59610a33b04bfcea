//! Operations of the stages of one perturbation: the perturbed pre-activation and activation, the
//! outputs' terms, and the change of a row's loss, in each [`ChangeForm`].
//!
//! [`super::finite_difference`] says what is counted and what is not.

use super::shape::{SIGMOID, SIGMOID_PAIR, SOFTPLUS};
use crate::gradient::finite_difference::{Arithmetic, Increment, Perturbation};
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;
use crate::numeric::tally::Tally;

/// Form in which a change of the loss is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangeForm {
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
    pub fn new<R: Real>(perturbation: &Perturbation) -> Self {
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
pub(super) fn perturbed_z(form: ChangeForm) -> Tally {
    Tally::multiplications(1) + Tally::additions(u64::from(form == ChangeForm::Plain))
}

/// Returns the operations of `PerturbOutputs`: an output is perturbed.
pub(super) fn output_change(form: ChangeForm, output_loss: OutputLoss) -> Tally {
    perturbed_z(form) + output_term(form, output_loss) + half(form, output_loss)
}

/// Returns the operations of what an output's perturbed loss starts from: with softmax the output's
/// margin, z_k − ln Σ_{j≠k} e^z_j.
pub(super) fn margin(output_loss: OutputLoss, outputs: u64) -> Tally {
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

/// Returns the operations of σ(z + Δz), or of its change (y = σ(z), ȳ = 1 − y).
pub(super) fn activation(form: ChangeForm) -> Tally {
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
        ChangeForm::Plain => SOFTPLUS,
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
pub(super) fn row_loss(form: ChangeForm, output_loss: OutputLoss, outputs: u64) -> Tally {
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

/// Returns the operations of the loss of one row, and of its differences by each output's
/// pre-activation, in plain arithmetic.
pub(super) fn output_differences(output_loss: OutputLoss, outputs: u64) -> Tally {
    let per_output = output_change(ChangeForm::Plain, output_loss) * 2 + Tally::additions(1);
    row_loss(ChangeForm::Plain, output_loss, outputs)
        + (margin(output_loss, outputs) + per_output) * outputs
}
