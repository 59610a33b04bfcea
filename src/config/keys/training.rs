//! The keys of `[optimizer]`, `[train]` and `[run]`.

use std::ops::Bound;

use super::{Condition, Form, Interval, Key, SectionKeys, Selector};
use crate::config::sections::MOST;

/// Where the optimizer is chosen.
pub(in crate::config) const KIND: Selector = ("optimizer", "kind");
/// Where the schedule of the learning rate is chosen.
pub(in crate::config) const SCHEDULE: Selector = ("optimizer", "schedule");

/// The optimizers that step over mini-batches, with a learning rate.
const STEPPING: Condition = Condition {
    selector: KIND,
    values: &["sgd", "adam", "rmsprop"],
};
/// Conditions on the optimizer.
const MINIBATCHES: &[Condition] = &[STEPPING];
const SGD: &[Condition] = &[Condition {
    selector: KIND,
    values: &["sgd"],
}];
const ADAM: &[Condition] = &[Condition {
    selector: KIND,
    values: &["adam"],
}];
const RMSPROP: &[Condition] = &[Condition {
    selector: KIND,
    values: &["rmsprop"],
}];
const ADAPTIVE: &[Condition] = &[Condition {
    selector: KIND,
    values: &["adam", "rmsprop"],
}];
const LBFGS: &[Condition] = &[Condition {
    selector: KIND,
    values: &["lbfgs"],
}];
const STEP_SCHEDULE: &[Condition] = &[
    STEPPING,
    Condition {
        selector: SCHEDULE,
        values: &["step"],
    },
];

const POSITIVE: &[Form] = &[Form::Number(Interval {
    lower: Bound::Excluded(0.0),
    upper: Bound::Unbounded,
})];
const NOT_NEGATIVE: &[Form] = &[Form::Number(Interval {
    lower: Bound::Included(0.0),
    upper: Bound::Unbounded,
})];
const BELOW_ONE: &[Form] = &[Form::Number(Interval {
    lower: Bound::Included(0.0),
    upper: Bound::Excluded(1.0),
})];
const COUNT: &[Form] = &[Form::Integer {
    least: 1,
    most: MOST,
}];
const SECONDS: &[Form] = &[Form::Number(Interval {
    lower: Bound::Excluded(0.0),
    upper: Bound::Included(MOST as f64),
})];

/// The keys of `[optimizer]`.
pub static OPTIMIZER: SectionKeys = SectionKeys {
    name: "optimizer",
    any_of: &[],
    keys: &[
        Key::new(
            "kind",
            &[Form::Word(&["sgd", "adam", "rmsprop", "lbfgs"])],
            "sgd, adam, rmsprop or lbfgs",
        )
        .default("\"sgd\"")
        .set(
            "\"sgd\"",
            "sgd | adam | rmsprop | lbfgs (all rows at once, no learning rate)",
        ),
        Key::new(
            "learning_rate",
            POSITIVE,
            "initial learning rate; adam's default: 1e-3, rmsprop's: 1e-2",
        )
        .when(MINIBATCHES)
        .default_by(KIND, &[("adam", "1e-3"), ("rmsprop", "1e-2")])
        .set("0.5", ""),
        Key::new("momentum", BELOW_ONE, "μ of sgd's v ← μv + g; default 0")
            .when(SGD)
            .default("0.0")
            .set("0.0", "sgd only"),
        Key::new(
            "beta1",
            BELOW_ONE,
            "β₁ of adam's m ← β₁m + (1 − β₁)g; default 0.9",
        )
        .when(ADAM)
        .default("0.9")
        .shown("0.9", "adam only"),
        Key::new(
            "beta2",
            BELOW_ONE,
            "β₂ of adam's v ← β₂v + (1 − β₂)g²; default 0.999",
        )
        .when(ADAM)
        .default("0.999")
        .shown("0.999", "adam only"),
        Key::new(
            "rho",
            BELOW_ONE,
            "ρ of rmsprop's v ← ρv + (1 − ρ)g²; default 0.9",
        )
        .when(RMSPROP)
        .default("0.9")
        .shown("0.9", "rmsprop only"),
        Key::new(
            "epsilon",
            POSITIVE,
            "ε of adam's θ ← θ − rate · m̂/(√v̂ + ε) and rmsprop's θ ← θ − rate · g/(√v + ε); default 1e-8",
        )
        .when(ADAPTIVE)
        .default("1e-8")
        .shown("1e-8", "adam, rmsprop"),
        Key::new(
            "weight_decay",
            NOT_NEGATIVE,
            "λ of g ← g + λθ, for biases too (`l2` of [loss] is for weights only); default 0",
        )
        .when(MINIBATCHES)
        .default("0.0")
        .set("0.0", ""),
        Key::new(
            "schedule",
            &[Form::Word(&["constant", "step", "cosine"])],
            "constant (default), step or cosine",
        )
        .when(MINIBATCHES)
        .default("\"constant\"")
        .set("\"constant\"", "constant | step | cosine"),
        Key::new(
            "step_every",
            COUNT,
            "epochs between drops of the learning rate; required by the step schedule",
        )
        .when(STEP_SCHEDULE)
        .required()
        .shown(
            "10",
            "schedule = \"step\": epochs between drops of the learning rate",
        ),
        Key::new(
            "step_factor",
            &[Form::Number(Interval {
                lower: Bound::Excluded(0.0),
                upper: Bound::Included(1.0),
            })],
            "factor of the learning rate at a drop; default 0.1",
        )
        .when(STEP_SCHEDULE)
        .default("0.1")
        .shown(
            "0.1",
            "schedule = \"step\": factor of the learning rate at a drop",
        ),
        Key::new(
            "memory",
            &[Form::Integer {
                least: 1,
                most: 1000,
            }],
            "number of (θ, gradient) change pairs that lbfgs keeps; default 10",
        )
        .when(LBFGS)
        .default("10")
        .shown("10", "lbfgs: number of (θ, gradient) change pairs kept"),
        Key::new(
            "tolerance",
            NOT_NEGATIVE,
            "lbfgs has converged when the gradient's largest |element| is at most this; default 1e-5",
        )
        .when(LBFGS)
        .default("1e-5")
        .shown(
            "1e-5",
            "lbfgs: ends when the gradient's largest |element| is at most this",
        ),
    ],
};

/// The keys of `[train]`.
pub static TRAIN: SectionKeys = SectionKeys {
    name: "train",
    any_of: &["epochs", "max_steps", "max_seconds"],
    keys: &[
        Key::new("epochs", COUNT, "number of epochs").set(
            "10",
            "or max_steps = …; max_seconds = … alone, or with either",
        ),
        Key::new(
            "max_steps",
            &[Form::Integer {
                least: 1,
                most: i64::MAX,
            }],
            "number of steps, instead of `epochs`",
        ),
        Key::new(
            "max_seconds",
            SECONDS,
            "seconds of training, alone or with `epochs` or `max_steps`",
        ),
        Key::new(
            "batch_size",
            COUNT,
            "rows of a mini-batch; default 10; lbfgs uses all training rows",
        )
        .when(MINIBATCHES)
        .default("10")
        .set("10", ""),
        Key::new(
            "early_stopping",
            COUNT,
            "epochs without a lower validation loss before training stops; restores the best weights",
        )
        .shown(
            "5",
            "stop after this many epochs without a lower validation loss",
        ),
    ],
};

/// The keys of `[run]`.
pub static RUN: SectionKeys = SectionKeys {
    name: "run",
    any_of: &[],
    keys: &[
        Key::new(
            "threads",
            &[
                Form::Word(&["auto"]),
                Form::Integer {
                    least: 1,
                    most: 1024,
                },
            ],
            "largest number of workers; auto: the physical cores that the process may use",
        )
        .default("\"auto\"")
        .set(
            "\"auto\"",
            "largest number of workers; auto: the physical cores",
        ),
        Key::new(
            "split",
            &[Form::Word(&["auto", "rows", "units"])],
            "of backprop: each worker takes rows, or panels of units; auto: measured, what is faster",
        )
        .default("\"auto\"")
        .set(
            "\"auto\"",
            "what backprop's workers divide: rows | units; auto: the faster one",
        ),
        Key::new(
            "reduce",
            &[Form::Word(&["exact", "fast"])],
            "of backprop on several ranks (MPI): exact gives the bits of one process; fast adds the ranks' gradients, so that the weights depend on the number of ranks",
        )
        .default("\"exact\"")
        .set(
            "\"exact\"",
            "several ranks (MPI): exact: same bits as one | fast: they depend on the ranks",
        ),
        Key::new(
            "checkpoint_seconds",
            &[Form::Number(Interval {
                lower: Bound::Included(1.0),
                upper: Bound::Included(MOST as f64),
            })],
            "seconds between checkpoints",
        )
        .default("60.0")
        .set("60.0", "seconds between checkpoints"),
        Key::new(
            "limit_seconds",
            SECONDS,
            "refuse a run that is predicted to take longer",
        )
        .shown("600.0", "refuse a run that is predicted to take longer"),
    ],
};
