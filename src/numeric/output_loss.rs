//! The combinations of output units and loss with which networks are trained.

/// A kind of output unit with its loss; together they determine the last layer's errors δ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputLoss {
    /// Sigmoid units, ½ Σ (a − y)²: δ = (a − y)·σ′.
    SigmoidQuadratic,
    /// Linear units, ½ Σ (z − y)²: δ = z − y.
    LinearQuadratic,
    /// Sigmoid units, −Σ [y ln a + (1 − y) ln(1 − a)]: δ = a − y.
    SigmoidCrossEntropy,
    /// Softmax, −ln p_target: δ = p − y.
    SoftmaxCrossEntropy,
    /// One linear unit, ln(1 + e^(−y·z)), where y = +1 for label 1 and y = −1 otherwise:
    /// δ = −y·σ(−y·z).
    Logistic,
}
