//! What an optimizer remembers from step to step: part of a run's state and of its checkpoints.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{History, Moments};
use crate::model::{Layout, Parameters};
use crate::numeric::Real;

/// The memory of one optimizer, in the precision of θ.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Memory<R> {
    /// SGD without momentum, and every optimizer before its first step.
    #[default]
    Nothing,
    /// v of SGD with momentum.
    Velocity(Parameters<R>),
    /// Adam's two moments.
    Moments(Moments<R>),
    /// L-BFGS's gradient and its pairs.
    History(History<R>),
}

/// A memory's numbers beside its vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scalars {
    /// Which memory: `nothing`, `velocity`, `moments` or `history`.
    pub kind: Kind,
    /// Adam: steps since its moments were 0.
    pub steps: u64,
    /// L-BFGS: the objective at θ.
    pub value: f64,
}

/// The kinds of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// [`Memory::Nothing`].
    #[default]
    Nothing,
    /// [`Memory::Velocity`].
    Velocity,
    /// [`Memory::Moments`].
    Moments,
    /// [`Memory::History`].
    History,
}

impl<R: Real> Memory<R> {
    /// The vectors, N numbers each, in the order in which [`Memory::from_parts`] takes them:
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

    /// Everything that is not a vector.
    pub fn scalars(&self) -> Scalars {
        let (kind, steps, value) = match self {
            Self::Nothing => (Kind::Nothing, 0, 0.0),
            Self::Velocity(_) => (Kind::Velocity, 0, 0.0),
            Self::Moments(moments) => (Kind::Moments, moments.steps, 0.0),
            Self::History(history) => (Kind::History, 0, history.value),
        };
        Scalars { kind, steps, value }
    }

    /// A memory put together again; `None` if there are not as many vectors of N numbers as its
    /// kind has.
    pub fn from_parts(
        scalars: Scalars,
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
            (Kind::Nothing, 0) => Self::Nothing,
            (Kind::Velocity, 1) => Self::Velocity(next()?),
            (Kind::Moments, 2) => Self::Moments(Moments {
                steps: scalars.steps,
                first: next()?,
                second: next()?,
            }),
            (Kind::History, odd) if odd % 2 == 1 => {
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
