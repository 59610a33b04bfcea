//! State of an optimizer between steps, which is part of a run's state and of its checkpoints.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{History, Moments};
use crate::model::{Layout, Parameters};
use crate::numeric::Real;

/// State of one optimizer, in the precision of θ.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum OptimizerState<R> {
    /// No state: SGD without momentum, and every optimizer before its first step.
    #[default]
    Nothing,
    /// Velocity v of SGD with momentum.
    Velocity(Parameters<R>),
    /// Moments of Adam.
    Moments(Moments<R>),
    /// Objective, gradient and pairs of L-BFGS.
    History(History<R>),
}

/// All numbers of a state that are not in its vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StateScalars {
    /// Kind of the state: `nothing`, `velocity`, `moments` or `history`.
    pub kind: StateKind,
    /// Adam: number of steps since its moments were 0.
    pub steps: u64,
    /// L-BFGS: the objective at θ.
    pub value: f64,
}

/// Kind of an optimizer state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateKind {
    /// [`OptimizerState::Nothing`].
    #[default]
    Nothing,
    /// [`OptimizerState::Velocity`].
    Velocity,
    /// [`OptimizerState::Moments`].
    Moments,
    /// [`OptimizerState::History`].
    History,
}

impl<R: Real> OptimizerState<R> {
    /// Returns the vectors, `(N,)` each, in the order that [`OptimizerState::from_parts`] expects:
    /// v; m, v; or g, s₁, y₁, s₂, y₂, … from the oldest pair on.
    pub fn vectors(&self) -> Vec<&[R]> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Velocity(velocity) => vec![velocity.flat()],
            Self::Moments(moments) => vec![moments.first.flat(), moments.second.flat()],
            Self::History(history) => {
                let pairs = history.pairs.iter().flat_map(|(s, y)| [&s[..], &y[..]]);
                std::iter::once(history.gradient.flat())
                    .chain(pairs)
                    .collect()
            }
        }
    }

    /// Returns everything that is not a vector.
    pub fn scalars(&self) -> StateScalars {
        let (kind, steps, value) = match self {
            Self::Nothing => (StateKind::Nothing, 0, 0.0),
            Self::Velocity(_) => (StateKind::Velocity, 0, 0.0),
            Self::Moments(moments) => (StateKind::Moments, moments.steps, 0.0),
            Self::History(history) => (StateKind::History, 0, history.value),
        };
        StateScalars { kind, steps, value }
    }

    /// Creates a state from its parts; `None` if the number of vectors does not fit the kind, or a
    /// vector does not have N numbers.
    pub fn from_parts(
        scalars: StateScalars,
        vectors: Vec<Vec<R>>,
        layout: &Arc<Layout>,
    ) -> Option<Self> {
        if vectors.iter().any(|vector| vector.len() != layout.len()) {
            return None;
        }
        let count = vectors.len();
        let mut vectors = vectors.into_iter();
        let mut next = || {
            let vector = vectors.next()?;
            Some(Parameters::from_flat(Arc::clone(layout), vector))
        };
        Some(match (scalars.kind, count) {
            (StateKind::Nothing, 0) => Self::Nothing,
            (StateKind::Velocity, 1) => Self::Velocity(next()?),
            (StateKind::Moments, 2) => Self::Moments(Moments {
                steps: scalars.steps,
                first: next()?,
                second: next()?,
            }),
            (StateKind::History, odd) if odd % 2 == 1 => {
                let gradient = next()?;
                let mut pairs = VecDeque::with_capacity(odd / 2);
                while let (Some(s), Some(y)) = (vectors.next(), vectors.next()) {
                    pairs.push_back((s, y));
                }
                Self::History(History {
                    value: scalars.value,
                    gradient,
                    pairs,
                })
            }
            _ => return None,
        })
    }
}
