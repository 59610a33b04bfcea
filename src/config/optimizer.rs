//! The `[optimizer]` section: reads the optimizer and the keys that only some optimizers have.

use super::fields::SectionReader;
use super::keys;
use super::reader::Reader;
use super::sections::{MOST, to_size};
use crate::optimizer::{AdamConfig, LbfgsConfig, OptimizerConfig, Schedule, SgdConfig};

/// The largest number of pairs that L-BFGS may keep.
const MOST_PAIRS: i64 = 1000;

/// The defaults of Adam: those of PyTorch's `torch.optim.Adam`.
const ADAM: AdamConfig = AdamConfig {
    learning_rate: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.0,
    schedule: Schedule::Constant,
};

/// The defaults of L-BFGS: those of scipy's L-BFGS-B.
const LBFGS: LbfgsConfig = LbfgsConfig {
    memory: 10,
    tolerance: 1e-5,
};

/// Keys, and the optimizers that they apply to.
const APPLICABLE: [(&str, &[&str]); 11] = [
    ("learning_rate", &["sgd", "adam"]),
    ("momentum", &["sgd"]),
    ("beta1", &["adam"]),
    ("beta2", &["adam"]),
    ("epsilon", &["adam"]),
    ("weight_decay", &["sgd", "adam"]),
    ("schedule", &["sgd", "adam"]),
    ("step_every", &["sgd", "adam"]),
    ("step_factor", &["sgd", "adam"]),
    ("memory", &["lbfgs"]),
    ("tolerance", &["lbfgs"]),
];

/// Reads the section.
pub(super) fn read(reader: &Reader) -> OptimizerConfig {
    let section = reader.section(&keys::OPTIMIZER);
    let kind = section.word("kind", &["sgd", "adam", "lbfgs"].map(|name| (name, name)));
    for (key, kinds) in APPLICABLE {
        if !kinds.contains(&kind) && section.field(key).is_some() {
            let allowed: Vec<String> = kinds.iter().map(|kind| format!("{kind:?}")).collect();
            reader.refuse_conflict(
                ("optimizer", "kind"),
                ("optimizer", key),
                &format!("`{key}` has no meaning with {kind}"),
                &format!("set kind = {}, or remove `{key}`", allowed.join(" or ")),
            );
        }
    }
    let rate = || section.optional_number("learning_rate", |rate| rate > 0.0, "a number above 0");
    let decay = || {
        let accept = |decay| decay >= 0.0;
        section
            .optional_number("weight_decay", accept, "a number, 0 or above")
            .unwrap_or(0.0)
    };
    let below_one = |key, default| {
        let accept = |number| (0.0..1.0).contains(&number);
        section
            .optional_number(key, accept, "a number from 0 to below 1")
            .unwrap_or(default)
    };
    match kind {
        "adam" => OptimizerConfig::Adam(AdamConfig {
            learning_rate: rate().unwrap_or(ADAM.learning_rate),
            beta1: below_one("beta1", ADAM.beta1),
            beta2: below_one("beta2", ADAM.beta2),
            epsilon: section
                .optional_number("epsilon", |epsilon| epsilon > 0.0, "a number above 0")
                .unwrap_or(ADAM.epsilon),
            weight_decay: decay(),
            schedule: read_schedule(reader, &section),
        }),
        "lbfgs" => OptimizerConfig::Lbfgs(LbfgsConfig {
            memory: section
                .optional_integer("memory", 1..=MOST_PAIRS)
                .map_or(LBFGS.memory, to_size),
            tolerance: section
                .optional_number("tolerance", |most| most >= 0.0, "a number, 0 or above")
                .unwrap_or(LBFGS.tolerance),
        }),
        _ => {
            // An unknown kind reads as the first: whether it needs a learning rate is not known.
            let known = reader.are_valid(&[("optimizer", "kind")]);
            if known && section.field("learning_rate").is_none() {
                section.refuse_missing("learning_rate");
            }
            OptimizerConfig::Sgd(SgdConfig {
                learning_rate: rate().unwrap_or(f64::NAN),
                momentum: below_one("momentum", 0.0),
                weight_decay: decay(),
                schedule: read_schedule(reader, &section),
            })
        }
    }
}

fn read_schedule(reader: &Reader, section: &SectionReader) -> Schedule {
    let words = ["constant", "step", "cosine"].map(|name| (name, name));
    let schedule = section
        .optional_word("schedule", &words)
        .unwrap_or("constant");
    let every = section
        .optional_integer("step_every", 1..=MOST)
        .map(to_size);
    let factor = section.optional_number(
        "step_factor",
        |factor| factor > 0.0 && factor <= 1.0,
        "a number above 0 and at most 1",
    );
    for key in ["step_every", "step_factor"] {
        if schedule != "step" && section.field(key).is_some() {
            reader.refuse_conflict(
                ("optimizer", "schedule"),
                ("optimizer", key),
                &format!("`{key}` has no meaning with the {schedule} schedule"),
                &format!("set schedule = \"step\", or remove `{key}`"),
            );
        }
    }
    if schedule == "step" && section.field("step_every").is_none() {
        reader.refuse_missing(
            "optimizer",
            "the step schedule needs `step_every`".to_owned(),
            "add `step_every = …` under [optimizer]",
            "`step_every`: epochs between drops of the learning rate".to_owned(),
        );
    }
    match schedule {
        "step" => Schedule::Step {
            every: every.unwrap_or(1),
            factor: factor.unwrap_or(keys::STEP_FACTOR),
        },
        "cosine" => Schedule::Cosine,
        _ => Schedule::Constant,
    }
}
