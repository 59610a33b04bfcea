//! The messages of copies that were started before they were asked.
//!
//! A command that cannot run fails in each copy. So the messages of a copy are held back until it
//! is asked for the first time or the program has answered, whichever is first.

use std::sync::{Arc, Mutex};

use super::{MessageSink, locked};

/// What passes messages on, or holds them back.
pub(super) struct HeldMessages {
    show: MessageSink,
    /// `None` once the program has answered.
    held: Mutex<Option<Held>>,
}

#[derive(Default)]
struct Held {
    asked: Vec<usize>,
    lines: Vec<(usize, String)>,
}

impl HeldMessages {
    /// Creates what passes messages to `show`.
    pub(super) fn new(show: MessageSink) -> Self {
        Self {
            show,
            held: Mutex::new(Some(Held::default())),
        }
    }

    /// Returns the sink of the copies' messages.
    pub(super) fn sink(self: &Arc<Self>) -> MessageSink {
        let this = Arc::clone(self);
        Arc::new(move |worker, line| {
            let mut held = locked(&this.held);
            match &mut *held {
                Some(held) if !held.asked.contains(&worker) => {
                    held.lines.push((worker, line.to_owned()));
                }
                _ => (this.show)(worker, line),
            }
        })
    }

    /// Shows the messages of copy `worker` from now on: it is asked.
    pub(super) fn ask(&self, worker: usize) {
        if let Some(held) = &mut *locked(&self.held)
            && !held.asked.contains(&worker)
        {
            held.asked.push(worker);
            let shown = held.lines.extract_if(.., |(number, _)| *number == worker);
            shown.for_each(|(number, line)| (self.show)(number, &line));
        }
    }

    /// Shows all messages from now on: the program has answered.
    pub(super) fn answered(&self) {
        let held = locked(&self.held).take();
        let lines = held.map(|held| held.lines).unwrap_or_default();
        lines
            .iter()
            .for_each(|(number, line)| (self.show)(*number, line));
    }
}
