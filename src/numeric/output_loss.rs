//! The combinations of output units and loss that networks are trained with.

/// Output units and loss together: what the last layer's errors depend on.
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
    /// One linear unit, ln(1 + e^(−y·z)), label 1 is y = +1: δ = −y·σ(−y·z).
    Logistic,
}
