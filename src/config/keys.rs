//! All sections and keys of a config, each key with its meaning.
//!
//! A default of a key is TOML text here, which the reader reads like a value of the file; keys
//! whose default depends on another key get it from the section that reads them. A key or section
//! that is not listed here is refused.

/// The effect of an absent key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The config is refused.
    Required,
    /// No fault: the feature is off, or another key or section decides.
    Optional,
    /// This TOML value is used.
    Default(&'static str),
}

/// A key of a section.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The name in configs.
    pub name: &'static str,
    /// The effect of its absence.
    pub presence: Presence,
    /// The meaning, in one line.
    pub about: &'static str,
}

/// A `[section]`; the keys before the first header form a section with an empty name.
#[derive(Clone, Copy, Debug)]
pub struct SectionKeys {
    /// The name in configs.
    pub name: &'static str,
    /// The keys, in the order in which a resolved config lists them.
    pub keys: &'static [Key],
}

impl SectionKeys {
    /// Returns the key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

const fn required(name: &'static str, about: &'static str) -> Key {
    Key {
        name,
        presence: Presence::Required,
        about,
    }
}

const fn optional(name: &'static str, about: &'static str) -> Key {
    Key {
        name,
        presence: Presence::Optional,
        about,
    }
}

const fn default(name: &'static str, value: &'static str, about: &'static str) -> Key {
    Key {
        name,
        presence: Presence::Default(value),
        about,
    }
}

/// The keys before the first section.
pub static TOP: SectionKeys = SectionKeys {
    name: "",
    keys: &[
        optional(
            "name",
            "name of the run's folder; default: the config file's name",
        ),
        default("seed", "1", "seed of every random stream"),
    ],
};

/// The keys of `[data]`.
pub static DATA: SectionKeys = SectionKeys {
    name: "data",
    keys: &[
        optional(
            "dataset",
            "name of a dataset; for your own files, `train` instead",
        ),
        optional(
            "train",
            "a CSV file, or [images, labels]; relative to the config file",
        ),
        optional(
            "test",
            "test files, in the same form as `train`; or a number or fraction of rows set aside for the test",
        ),
        optional(
            "label",
            "label column of a CSV: its header, or its number from 0; default: the last column",
        ),
        optional(
            "validation",
            "number or fraction of rows set aside for validation",
        ),
        optional("folds", "number of stratified folds of a cross-validation"),
        optional("limit", "number of training rows to use, from the first"),
        default(
            "normalize",
            "\"unit\"",
            "none, unit (scaled to 0…1) or standard (mean 0, deviation 1)",
        ),
    ],
};

/// The keys of `[model]`.
pub static MODEL: SectionKeys = SectionKeys {
    name: "model",
    keys: &[
        required("hidden", "units of each hidden layer; [] for none"),
        optional(
            "output",
            "sigmoid, softmax or linear; default: sigmoid, or linear with the logistic loss",
        ),
        default(
            "initialization",
            "\"scaled\"",
            "normal N(0, 1), scaled N(0, 1/fan_in) or xavier",
        ),
        default("bias", "true", "whether layers have biases"),
        default("precision", "\"f32\"", "f32 or f64"),
    ],
};

/// The keys of `[loss]`.
pub static LOSS: SectionKeys = SectionKeys {
    name: "loss",
    keys: &[
        default(
            "kind",
            "\"cross-entropy\"",
            "quadratic, cross-entropy or logistic",
        ),
        default("l2", "0.0", "λ of ½λ Σ weights²"),
    ],
};

/// The keys of `[gradient]`.
pub static GRADIENT: SectionKeys = SectionKeys {
    name: "gradient",
    keys: &[
        default(
            "method",
            "\"backprop\"",
            "backprop, numeric-backprop, forward-difference, central-difference, forward-mode, node-perturbation, spsa or forward-gradient",
        ),
        optional(
            "evaluation",
            "evaluation of perturbed losses, or of forward-mode's derivatives: incremental (default), prefix or full",
        ),
        optional(
            "arithmetic",
            "arithmetic of differences and of node-perturbation: plain (default) or cancellation-free",
        ),
        optional(
            "summation",
            "differences (of each sample's loss; default) or losses (of the mean losses)",
        ),
        optional(
            "increment",
            "auto (default), noise (from measured noise), or a number for every parameter",
        ),
        optional(
            "relative_increment",
            "factor of max(1, the unit's largest |θ|), instead of `increment`",
        ),
        optional(
            "extrapolation",
            "none (default) or richardson (combines the quotients at h and h/2)",
        ),
        optional(
            "directions",
            "number of random directions per step of spsa and forward-gradient; default 1",
        ),
        optional(
            "distribution",
            "distribution of the directions' components: rademacher (±1, default) or gaussian",
        ),
        optional(
            "perturbed",
            "what forward-gradient perturbs: weights (default), or every sample's activations",
        ),
    ],
};

/// The keys of `[optimizer]`.
pub static OPTIMIZER: SectionKeys = SectionKeys {
    name: "optimizer",
    keys: &[
        default("kind", "\"sgd\"", "sgd, adam or lbfgs"),
        optional(
            "learning_rate",
            "initial learning rate; adam's default: 1e-3",
        ),
        optional("momentum", "μ of sgd's v ← μv + g; default 0"),
        optional("beta1", "β₁ of adam's m ← β₁m + (1 − β₁)g; default 0.9"),
        optional("beta2", "β₂ of adam's v ← β₂v + (1 − β₂)g²; default 0.999"),
        optional(
            "epsilon",
            "ε of adam's θ ← θ − rate · m̂/(√v̂ + ε); default 1e-8",
        ),
        optional(
            "weight_decay",
            "λ of g ← g + λθ, for biases too (`l2` of [loss] is for weights only); default 0",
        ),
        optional("schedule", "constant (default), step or cosine"),
        optional(
            "step_every",
            "epochs between drops of the learning rate; required by the step schedule",
        ),
        optional(
            "step_factor",
            "factor of the learning rate at a drop; default 0.1",
        ),
        optional(
            "memory",
            "number of (θ, gradient) change pairs that lbfgs keeps; default 10",
        ),
        optional(
            "tolerance",
            "lbfgs has converged when the gradient's largest |element| is at most this; default 1e-5",
        ),
    ],
};

/// The default of `step_factor` with the step schedule. The key has no default in the table:
/// another schedule refuses it.
pub const STEP_FACTOR: f64 = 0.1;

/// The keys of `[train]`.
pub static TRAIN: SectionKeys = SectionKeys {
    name: "train",
    keys: &[
        optional("epochs", "number of epochs"),
        optional("max_steps", "number of steps, instead of `epochs`"),
        optional(
            "max_seconds",
            "seconds of training, alone or with `epochs` or `max_steps`",
        ),
        optional(
            "batch_size",
            "rows of a mini-batch; default 10; lbfgs uses all training rows",
        ),
        optional(
            "early_stopping",
            "epochs without a lower validation loss before training stops; restores the best weights",
        ),
    ],
};

/// The keys of `[run]`.
pub static RUN: SectionKeys = SectionKeys {
    name: "run",
    keys: &[
        default(
            "threads",
            "\"auto\"",
            "largest number of workers; auto: the physical cores that the process may use",
        ),
        default(
            "split",
            "\"auto\"",
            "of backprop: each worker takes rows, or panels of units; auto: measured, what is faster",
        ),
        default("checkpoint_seconds", "60.0", "seconds between checkpoints"),
        optional(
            "limit_seconds",
            "refuse a run that is predicted to take longer",
        ),
    ],
};

/// Every section, in the order in which a resolved config lists them.
pub static SECTIONS: [&SectionKeys; 7] =
    [&DATA, &MODEL, &LOSS, &GRADIENT, &OPTIMIZER, &TRAIN, &RUN];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_toml_value() {
        for section in SECTIONS.into_iter().chain([&TOP]) {
            for key in section.keys {
                if let Presence::Default(text) = key.presence {
                    assert!(text.parse::<toml_edit::Value>().is_ok(), "{}", key.name);
                }
            }
        }
    }

    #[test]
    fn a_section_lists_each_key_once() {
        for section in SECTIONS.into_iter().chain([&TOP]) {
            for (index, key) in section.keys.iter().enumerate() {
                assert!(
                    section.keys[..index]
                        .iter()
                        .all(|other| other.name != key.name),
                    "{}",
                    key.name
                );
            }
        }
    }
}
