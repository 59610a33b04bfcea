//! Every section and key that a config may have, with its default and its meaning.
//!
//! The one place where defaults are written down: the reader takes them from here, as TOML text,
//! and reads them like a value of the file. Whatever is not listed here is refused.

/// What happens where a key is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The config is refused.
    Required,
    /// Nothing: the feature is off, or another key or section decides.
    Optional,
    /// This TOML value stands in.
    Default(&'static str),
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As configs spell it.
    pub name: &'static str,
    /// What happens where it is absent.
    pub presence: Presence,
    /// What it means, in one line.
    pub about: &'static str,
}

/// One `[section]`; the keys before the first header are a section with an empty name.
#[derive(Clone, Copy, Debug)]
pub struct SectionKeys {
    /// As configs spell it.
    pub name: &'static str,
    /// Its keys, in the order in which a resolved config lists them.
    pub keys: &'static [Key],
}

impl SectionKeys {
    /// The key of this name.
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
            "names the run's folder; without it, the config file's own name",
        ),
        default("seed", "1", "seeds every random stream"),
    ],
};

/// `[data]`.
pub static DATA: SectionKeys = SectionKeys {
    name: "data",
    keys: &[
        optional("dataset", "a dataset's name, or `train` with files"),
        optional(
            "train",
            "a CSV file, or [images, labels]; relative to the config file",
        ),
        optional(
            "test",
            "files like `train`'s; or rows or a fraction set aside for the test",
        ),
        optional(
            "label",
            "a CSV's label column: its header, or its number from 0; without it, the last",
        ),
        optional("validation", "rows or a fraction set aside for validation"),
        optional("folds", "cross-validation: number of stratified folds"),
        optional("limit", "only the first so many training rows"),
        default(
            "normalize",
            "\"unit\"",
            "none, unit (to 0…1) or standard (mean 0, deviation 1)",
        ),
    ],
};

/// `[model]`.
pub static MODEL: SectionKeys = SectionKeys {
    name: "model",
    keys: &[
        required("hidden", "units of each hidden layer; [] for none"),
        optional(
            "output",
            "sigmoid, softmax or linear; without it sigmoid, or linear with the logistic loss",
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

/// `[loss]`.
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

/// `[gradient]`.
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
            "of perturbed losses, or of forward-mode's rates: incremental (if absent), prefix or full passes",
        ),
        optional(
            "arithmetic",
            "of differences, and of node-perturbation: plain (if absent) or cancellation-free",
        ),
        optional(
            "summation",
            "differences of samples' losses (if absent), or of mean losses",
        ),
        optional(
            "increment",
            "auto (if absent), noise (measured), or a number for every parameter",
        ),
        optional(
            "relative_increment",
            "a number times max(1, the unit's largest |θ|), instead of `increment`",
        ),
        optional(
            "extrapolation",
            "none (if absent), or richardson: quotients at h and h/2",
        ),
        optional(
            "directions",
            "random directions of a step's spsa or forward-gradient; 1 if absent",
        ),
        optional(
            "distribution",
            "of their components: rademacher (±1, if absent) or gaussian",
        ),
        optional(
            "perturbed",
            "by forward-gradient: weights (if absent), or every sample's activations",
        ),
    ],
};

/// `[optimizer]`.
pub static OPTIMIZER: SectionKeys = SectionKeys {
    name: "optimizer",
    keys: &[
        default("kind", "\"sgd\"", "sgd, adam or lbfgs"),
        optional(
            "learning_rate",
            "the learning rate at the start; 1e-3 with adam if absent",
        ),
        optional("momentum", "of sgd: μ of v ← μv + g; 0 if absent"),
        optional("beta1", "of adam: β₁ of m ← β₁m + (1 − β₁)g; 0.9 if absent"),
        optional(
            "beta2",
            "of adam: β₂ of v ← β₂v + (1 − β₂)g²; 0.999 if absent",
        ),
        optional(
            "epsilon",
            "of adam: ε of θ ← θ − rate · m̂/(√v̂ + ε); 1e-8 if absent",
        ),
        optional(
            "weight_decay",
            "λ of g ← g + λθ, on biases too (`l2` of [loss] is on weights alone); 0 if absent",
        ),
        optional("schedule", "constant (if absent), step or cosine"),
        optional(
            "step_every",
            "epochs between drops; needed by the step schedule",
        ),
        optional(
            "step_factor",
            "what the learning rate is multiplied by at a drop; 0.1 if absent",
        ),
        optional("memory", "of lbfgs: pairs of changes kept; 10 if absent"),
        optional(
            "tolerance",
            "of lbfgs: converged once the gradient's largest |element| is at most this; 1e-5 if absent",
        ),
    ],
};

/// `step_factor` of the step schedule, where it is absent (with another schedule the key is
/// refused, so it has no default of its own).
pub const STEP_FACTOR: f64 = 0.1;

/// `[train]`.
pub static TRAIN: SectionKeys = SectionKeys {
    name: "train",
    keys: &[
        optional("epochs", "stop after so many epochs"),
        optional("max_steps", "stop after so many steps, instead of `epochs`"),
        optional(
            "max_seconds",
            "stop after so many seconds of training, alone or with either",
        ),
        optional(
            "batch_size",
            "rows of a mini-batch, 10 if absent; lbfgs takes all training rows",
        ),
        optional(
            "early_stopping",
            "patience in epochs, on validation loss; the best weights are restored",
        ),
    ],
};

/// `[run]`.
pub static RUN: SectionKeys = SectionKeys {
    name: "run",
    keys: &[
        default(
            "threads",
            "\"auto\"",
            "at most so many workers; auto: the physical cores that the process may use",
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
    fn no_key_is_listed_twice_in_a_section() {
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
