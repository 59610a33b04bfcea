//! The losses that a network can be trained with. They are computed from pre-activations and are
//! finite for every finite input.

/// Loss function; the mean over the rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// `1/(2·rows) Σ (a − y)²`, y one-hot.
    Quadratic,
    /// `−1/rows Σ [y ln a + (1 − y) ln(1 − a)]` with sigmoid outputs, `−1/rows Σ ln p_target` with
    /// softmax.
    CrossEntropy,
    /// `1/rows Σ ln(1 + exp(−y·z))`, labels y = ±1, one linear output.
    Logistic,
}

impl Loss {
    /// Returns the name used in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quadratic => "quadratic",
            Self::CrossEntropy => "cross-entropy",
            Self::Logistic => "logistic",
        }
    }
}
