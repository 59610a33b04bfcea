//! State of an optimizer between steps, which is part of a run's state and of its checkpoints:
//! named vectors and counters, the same for every optimizer.

use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::STATE_FORMS;
use crate::model::{Layout, Parameters};
use crate::numeric::Real;

/// The names of a state's vectors.
#[derive(Debug, PartialEq, Eq)]
pub struct StateForm {
    /// The name of the state in checkpoints.
    pub kind: &'static str,
    /// The names of the vectors that are always there.
    pub vectors: &'static [&'static str],
    /// The names of the vectors of which there may be any number of groups.
    pub repeated: &'static [&'static str],
}

/// The state of an optimizer that keeps nothing, and of any before its first step.
pub static NOTHING: StateForm = StateForm {
    kind: "nothing",
    vectors: &[],
    repeated: &[],
};

impl StateForm {
    /// Returns whether a state of this form can have `count` vectors.
    fn fits(&self, count: usize) -> bool {
        match count.checked_sub(self.vectors.len()) {
            None => false,
            Some(0) => true,
            Some(more) => !self.repeated.is_empty() && more.is_multiple_of(self.repeated.len()),
        }
    }
}

/// State of one optimizer, in the precision of θ.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState<R> {
    form: &'static StateForm,
    /// Number of steps since the state was all zeros, for optimizers that need it.
    pub steps: u64,
    /// Objective at θ, for optimizers that need it.
    pub value: f64,
    /// The vectors, in the order of their names.
    pub(super) vectors: Vec<Parameters<R>>,
}

/// All numbers of a state that are not in its vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StateScalars {
    /// Kind of the state.
    pub kind: StateKind,
    /// Number of steps since the state was all zeros.
    pub steps: u64,
    /// Objective at θ.
    pub value: f64,
}

/// Kind of an optimizer's state: the name of its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateKind(&'static StateForm);

impl From<&'static StateForm> for StateKind {
    fn from(form: &'static StateForm) -> Self {
        Self(form)
    }
}

impl Default for StateKind {
    fn default() -> Self {
        Self(&NOTHING)
    }
}

impl Serialize for StateKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.kind)
    }
}

impl<'de> Deserialize<'de> for StateKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = STATE_FORMS.into_iter().find(|form| form.kind == name);
        known.map(Self).ok_or_else(|| {
            let kinds = STATE_FORMS
                .map(|form| format!("`{}`", form.kind))
                .join(", ");
            D::Error::custom(format!("unknown variant `{name}`, expected one of {kinds}"))
        })
    }
}

impl<R> Default for OptimizerState<R> {
    fn default() -> Self {
        Self::new(&NOTHING, Vec::new())
    }
}

impl<R> OptimizerState<R> {
    /// Creates a state of these vectors.
    pub(super) fn new(form: &'static StateForm, vectors: Vec<Parameters<R>>) -> Self {
        debug_assert!(form.fits(vectors.len()));
        Self {
            form,
            steps: 0,
            value: 0.0,
            vectors,
        }
    }

    /// Returns the names of the vectors.
    pub fn form(&self) -> &'static StateForm {
        self.form
    }

    /// Returns the names of all vectors, in their order: `velocity`; `moments.first`,
    /// `moments.second`; `history.gradient`, `history.1.theta_change`, …
    pub fn names(&self) -> Vec<String> {
        let StateForm {
            kind,
            vectors,
            repeated,
        } = self.form;
        let fixed = vectors.iter().map(|name| match *name {
            "" => (*kind).to_owned(),
            name => format!("{kind}.{name}"),
        });
        let groups = (1..).flat_map(|group| {
            let names = repeated.iter();
            names.map(move |name| format!("{kind}.{group}.{name}"))
        });
        let more = self.vectors.len() - vectors.len();
        fixed.chain(groups.take(more)).collect()
    }

    /// Returns the vector of this name.
    pub fn vector(&self, name: &str) -> Option<&Parameters<R>> {
        let index = self.names().iter().position(|known| known == name)?;
        self.vectors.get(index)
    }
}

impl<R: Real> OptimizerState<R> {
    /// Creates the state before the first step: all zeros.
    pub fn zeros(form: &'static StateForm, layout: &Arc<Layout>) -> Self {
        let zeros = |_| Parameters::zeros(Arc::clone(layout));
        Self::new(form, form.vectors.iter().map(zeros).collect())
    }

    /// Returns the state if it is of this form, or else one of zeros.
    pub fn of_form(self, form: &'static StateForm, layout: &Arc<Layout>) -> Self {
        if self.form == form {
            self
        } else {
            Self::zeros(form, layout)
        }
    }

    /// Returns the vectors, to be changed by a step.
    ///
    /// # Panics
    /// If there are not K vectors.
    pub fn vectors_mut<const K: usize>(&mut self) -> &mut [Parameters<R>; K] {
        let vectors = self.vectors.as_mut_slice().try_into();
        vectors.expect("a state has the vectors of its form")
    }

    /// Returns the vectors, `(N,)` each, in the order of their names.
    pub fn vectors(&self) -> Vec<&[R]> {
        self.vectors.iter().map(Parameters::flat).collect()
    }

    /// Returns everything that is not a vector.
    pub fn scalars(&self) -> StateScalars {
        StateScalars {
            kind: StateKind(self.form),
            steps: self.steps,
            value: self.value,
        }
    }

    /// Creates a state from its parts; `None` if the number of vectors does not fit the kind, or a
    /// vector does not have N numbers.
    pub fn from_parts(
        scalars: StateScalars,
        vectors: Vec<Vec<R>>,
        layout: &Arc<Layout>,
    ) -> Option<Self> {
        let StateKind(form) = scalars.kind;
        let lengths_fit = vectors.iter().all(|vector| vector.len() == layout.len());
        if !lengths_fit || !form.fits(vectors.len()) {
            return None;
        }
        let parameters = |vector| Parameters::from_flat(Arc::clone(layout), vector);
        Some(Self {
            form,
            steps: scalars.steps,
            value: scalars.value,
            vectors: vectors.into_iter().map(parameters).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_names() {
        let layout = Arc::new(Layout::new(&[1, 1], true));
        let state = |kind: &str, count: usize| {
            let form = STATE_FORMS.into_iter().find(|form| form.kind == kind);
            let scalars = StateScalars {
                kind: StateKind(form.unwrap()),
                ..StateScalars::default()
            };
            OptimizerState::<f64>::from_parts(scalars, vec![vec![0.5; 2]; count], &layout)
        };
        let names = |kind, count| state(kind, count).unwrap().names();
        assert!(names("nothing", 0).is_empty());
        assert_eq!(names("velocity", 1), ["velocity"]);
        assert_eq!(names("moments", 2), ["moments.first", "moments.second"]);
        assert_eq!(
            names("history", 5),
            [
                "history.gradient",
                "history.1.theta_change",
                "history.1.gradient_change",
                "history.2.theta_change",
                "history.2.gradient_change",
            ]
        );
        assert!(
            state("moments", 2)
                .unwrap()
                .vector("moments.second")
                .is_some()
        );
        assert!(state("moments", 2).unwrap().vector("velocity").is_none());
        for (kind, count) in [
            ("nothing", 1),
            ("velocity", 2),
            ("moments", 1),
            ("history", 2),
        ] {
            assert_eq!(state(kind, count), None, "{kind} with {count} vectors");
        }
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let kind = |text: &str| serde_json::from_str::<StateKind>(text);
        for form in STATE_FORMS {
            let text = format!("{:?}", form.kind);
            assert_eq!(kind(&text).unwrap(), StateKind(form));
            assert_eq!(serde_json::to_string(&StateKind(form)).unwrap(), text);
        }
        let error = kind("\"speed\"").unwrap_err().to_string();
        assert!(
            error.contains("`speed`") && error.contains("`velocity`"),
            "{error}"
        );
    }
}
