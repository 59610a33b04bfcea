//! The `[optimizer]` section: reads the optimizer and the keys that it has by the table of keys.

use super::fields::SectionReader;
use super::keys::{self, Form, Key};
use super::reader::Reader;
use super::sections::to_size;
use crate::optimizer::{Given, OPTIMIZERS, OptimizerConfig, Schedule, SgdConfig};

/// What is read from a section whose optimizer was refused.
const PLACEHOLDER: OptimizerConfig = OptimizerConfig::Sgd(SgdConfig {
    learning_rate: f64::NAN,
    momentum: 0.0,
    weight_decay: 0.0,
    schedule: Schedule::Constant,
});

/// The schedules, before their keys are read.
#[derive(Clone, Copy, PartialEq)]
enum ScheduleName {
    Constant,
    Step,
    Cosine,
}

/// Reads the section.
pub(super) fn read(reader: &Reader) -> OptimizerConfig {
    let section = reader.section(&keys::OPTIMIZER);
    let known = OPTIMIZERS.map(|definition| (definition.kind, definition));
    let Some(optimizer) = section.known_word("kind", &known) else {
        // Which keys an unknown optimizer has is not known, but each can be wrong by itself.
        for key in numbers() {
            read_number(&section, key, None);
        }
        read_schedule(reader, &section);
        return PLACEHOLDER;
    };
    let kind = optimizer.kind;
    refuse_meaningless(reader, &section, kind);
    let numbers: Vec<(&str, f64)> = numbers()
        .filter(|key| key.applies_with(keys::KIND, kind))
        .filter_map(|key| Some((key.name, read_number(&section, key, Some(kind))?)))
        .collect();
    let has_schedule = section.key("schedule").applies_with(keys::KIND, kind);
    let number = |name| {
        let read = numbers.iter().find(|(key, _)| *key == name);
        read.map_or(f64::NAN, |(_, number)| *number)
    };
    (optimizer.create)(&Given {
        number: &number,
        schedule: if has_schedule {
            read_schedule(reader, &section)
        } else {
            Schedule::Constant
        },
    })
}

/// Returns the keys that are numbers of an optimizer, not of its schedule.
pub(super) fn numbers() -> impl Iterator<Item = &'static Key> {
    let keys = keys::OPTIMIZER.keys.iter();
    keys.filter(|key| key.words().is_empty() && key.applicable(keys::SCHEDULE).is_none())
}

/// Reads a number, which is required or has a default with the optimizer `kind`; without a `kind` it
/// may be absent.
fn read_number(section: &SectionReader, key: &'static Key, kind: Option<&str>) -> Option<f64> {
    let name = key.name;
    let is_integer = matches!(key.forms, [Form::Integer { .. }]);
    match (is_integer, kind) {
        (true, Some(_)) => Some(section.integer(name) as f64),
        (true, None) => section.optional_integer(name).map(|number| number as f64),
        (false, Some(kind)) => Some(section.number_by(name, kind)),
        (false, None) => section.optional_number(name),
    }
}

/// Refuses the keys that do not apply to the optimizer, and names the optimizers that have them.
fn refuse_meaningless(reader: &Reader, section: &SectionReader, kind: &str) {
    for key in keys::OPTIMIZER.keys {
        if key.applies_with(keys::KIND, kind) || section.field(key.name).is_none() {
            continue;
        }
        let (kinds, key) = (kinds_with(key), key.name);
        reader.refuse_conflict(
            keys::KIND,
            ("optimizer", key),
            &format!("`{key}` has no meaning with {kind}"),
            &format!("set kind = {kinds}, or remove `{key}`"),
        );
    }
}

/// Spells the optimizers with which a key applies: `"sgd" or "adam"`.
pub(super) fn kinds_with(key: &Key) -> String {
    let kinds = key.applicable(keys::KIND).unwrap_or(&[]).iter();
    let kinds: Vec<String> = kinds.map(|kind| format!("{kind:?}")).collect();
    kinds.join(" or ")
}

fn read_schedule(reader: &Reader, section: &SectionReader) -> Schedule {
    let names = [
        ("constant", ScheduleName::Constant),
        ("step", ScheduleName::Step),
        ("cosine", ScheduleName::Cosine),
    ];
    let name = section.word("schedule", &names);
    let every = section.optional_integer("step_every").map(to_size);
    let factor = section.number("step_factor");
    match name {
        ScheduleName::Constant => {
            refuse_steps(reader, section, "constant");
            Schedule::Constant
        }
        ScheduleName::Cosine => {
            refuse_steps(reader, section, "cosine");
            Schedule::Cosine
        }
        ScheduleName::Step => {
            if section.field("step_every").is_none() {
                reader.refuse_missing(
                    "optimizer",
                    "the step schedule needs `step_every`".to_owned(),
                    "add `step_every = …` under [optimizer]",
                    "`step_every`: epochs between drops of the learning rate".to_owned(),
                );
            }
            Schedule::Step {
                every: every.unwrap_or(1),
                factor,
            }
        }
    }
}

/// Refuses the keys of the step schedule with the schedule `name`.
fn refuse_steps(reader: &Reader, section: &SectionReader, name: &str) {
    let keys = keys::OPTIMIZER.keys.iter();
    for key in keys.filter(|key| key.applicable(keys::SCHEDULE).is_some()) {
        let key = key.name;
        if section.field(key).is_some() {
            reader.refuse_conflict(
                keys::SCHEDULE,
                ("optimizer", key),
                &format!("`{key}` has no meaning with the {name} schedule"),
                &format!("set schedule = \"step\", or remove `{key}`"),
            );
        }
    }
}
