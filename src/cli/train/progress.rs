//! Progress on standard error: a bar with the time left on a terminal, one plain line an epoch
//! elsewhere.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::arguments::{Global, ProgressMode};
use crate::cli::output::to_stderr;
use crate::gradient::Control;
use crate::study::table::{duration, loss, percent};
use crate::train::EpochRecord;

/// Without a terminal, evaluations are told when nothing else was for so long.
const SILENCE: Duration = Duration::from_secs(5);

/// How much there is to do, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgressLength {
    /// Epochs of the run; absent where steps or seconds end it.
    pub epochs: Option<usize>,
    /// Steps of the run.
    pub steps: Option<u64>,
    /// Steps done before, by the run that is resumed.
    pub steps_before: u64,
    /// Losses evaluated in a step. With more than one, evaluations are what is shown: a step may
    /// take minutes.
    pub evaluations: u64,
}

impl ProgressLength {
    fn shows_evaluations(&self) -> bool {
        self.evaluations > 1
    }
}

/// Where progress is shown.
#[derive(Debug)]
pub struct ProgressDisplay {
    form: DisplayStyle,
    length: ProgressLength,
    /// Counts the evaluations of this process.
    control: Control,
    start: Instant,
    /// When a line was last written.
    said: Mutex<Instant>,
    /// Steps when the clock was started: what came before took no time of this process.
    before: u64,
}

#[derive(Debug)]
enum DisplayStyle {
    Bar(ProgressBar),
    Plain,
    None,
}

impl ProgressDisplay {
    /// As the global options and the terminal say.
    pub fn new(global: &Global, length: ProgressLength, control: Control) -> Self {
        let terminal = std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let form = match global.progress {
            _ if global.quiet => DisplayStyle::None,
            ProgressMode::None => DisplayStyle::None,
            ProgressMode::Auto | ProgressMode::Bar if terminal => DisplayStyle::Bar(bar(length)),
            _ => DisplayStyle::Plain,
        };
        Self {
            form,
            length,
            control,
            start: Instant::now(),
            said: Mutex::new(Instant::now()),
            before: length.steps_before,
        }
    }

    /// Shows nothing.
    pub fn hidden() -> Self {
        Self {
            form: DisplayStyle::None,
            length: ProgressLength::default(),
            control: Control::default(),
            start: Instant::now(),
            said: Mutex::new(Instant::now()),
            before: 0,
        }
    }

    /// So many steps are done since the start of the run.
    pub fn steps(&self, done: u64) {
        if let DisplayStyle::Bar(bar) = &self.form
            && !self.length.shows_evaluations()
        {
            bar.set_position(done);
        }
    }

    /// Shows the evaluations made so far, if a step takes many: on a terminal at every look, else a
    /// line whenever nothing was said for a while.
    pub fn look(&self) {
        if !self.length.shows_evaluations() {
            return;
        }
        let done = self.control.evaluations();
        let before = self.before * self.length.evaluations;
        match &self.form {
            DisplayStyle::Bar(bar) => bar.set_position(before + done),
            DisplayStyle::Plain => {
                let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
                if said.elapsed() >= SILENCE {
                    *said = Instant::now();
                    let all = self
                        .length
                        .steps
                        .map(|steps| steps * self.length.evaluations);
                    let left = all.map(|all| all.saturating_sub(before + done));
                    let left = time_left(self.start.elapsed(), done, left);
                    to_stderr(&evaluations(before + done, all, left));
                }
            }
            DisplayStyle::None => {}
        }
    }

    /// An epoch is done.
    pub fn epoch(&self, record: &EpochRecord) {
        match &self.form {
            DisplayStyle::Bar(bar) => {
                bar.set_position(record.steps * self.length.evaluations.max(1));
                bar.set_message(figures(record));
            }
            DisplayStyle::Plain => {
                let left = time_left(
                    self.start.elapsed(),
                    record.steps.saturating_sub(self.before),
                    self.length
                        .steps
                        .map(|all| all.saturating_sub(record.steps)),
                );
                to_stderr(&line(record, self.length.epochs, left));
                *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            }
            DisplayStyle::None => {}
        }
    }

    /// Removes the bar; the last figures stay.
    fn finish(&self) {
        if let DisplayStyle::Bar(bar) = &self.form {
            let message = bar.message();
            bar.finish_and_clear();
            if !message.is_empty() {
                to_stderr(&format!("{message}\n"));
            }
        }
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        self.finish();
    }
}

fn bar(length: ProgressLength) -> ProgressBar {
    let style = match (length.steps.is_some(), length.shows_evaluations()) {
        (true, false) => "{msg} {wide_bar} {percent:>3} %, {eta} left",
        (false, false) => "{msg} {spinner} step {pos}, {elapsed}",
        (true, true) => "{msg} {wide_bar} {human_pos} of {human_len} evaluations, {eta} left",
        (false, true) => "{msg} {spinner} {human_pos} evaluations, {elapsed}",
    };
    let unit = length.evaluations.max(1);
    let all = length.steps.map(|steps| steps * unit);
    let bar = ProgressBar::with_draw_target(all, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(style).expect("the templates above are right"));
    bar.set_position(length.steps_before * unit);
    bar.reset_eta();
    bar
}

/// The time left if the rest goes as fast; unknown without an end, or before the first step.
fn time_left(elapsed: Duration, steps: u64, left: Option<u64>) -> Option<f64> {
    (steps > 0).then(|| left.map(|left| elapsed.as_secs_f64() / steps as f64 * left as f64))?
}

/// How far the evaluations are, and the time left.
fn evaluations(done: u64, all: Option<u64>, left: Option<f64>) -> String {
    let mut text = match all {
        Some(all) => format!("{} of {} evaluations", HumanCount(done), HumanCount(all)),
        None => format!("{} evaluations", HumanCount(done)),
    };
    if let Some(left) = left {
        text.push_str(&format!("  {} left", duration(left)));
    }
    text.push('\n');
    text
}

/// `epoch 3/30`, then the figures, the seconds and the time left.
fn line(record: &EpochRecord, epochs: Option<usize>, left: Option<f64>) -> String {
    let mut text = match epochs {
        Some(epochs) => {
            let width = epochs.to_string().len();
            format!("epoch {:>width$}/{epochs}", record.epoch)
        }
        None => format!("epoch {}", record.epoch),
    };
    text.push_str(&format!("  {}", figures(record).trim_start()));
    text.push_str(&format!("  {}", duration(record.seconds)));
    if let Some(left) = left.filter(|&left| left > 0.0) {
        text.push_str(&format!("  {} left", duration(left)));
    }
    text.push('\n');
    text
}

/// Train loss, and the validation figures if there are any.
fn figures(record: &EpochRecord) -> String {
    let mut text = format!("train loss {}", loss(Some(record.train_loss)));
    if record.validation_loss.is_some() || record.validation_accuracy.is_some() {
        text.push_str(&format!(
            "  validation {} (loss {})",
            percent(record.validation_accuracy),
            loss(record.validation_loss)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::tally::Tally;

    fn record() -> EpochRecord {
        EpochRecord {
            epoch: 3,
            steps: 300,
            learning_rate: 0.1,
            train_loss: 0.25,
            validation_loss: Some(0.5),
            validation_accuracy: Some(0.875),
            gradient_norm: 1.0,
            seconds: 1.5,
            tally: Tally::default(),
        }
    }

    #[test]
    fn a_plain_line_tells_epoch_figures_and_time() {
        assert_eq!(
            line(&record(), Some(30), Some(61.0)),
            "epoch  3/30  train loss 0.25000  validation 87.50 % (loss 0.50000)  1.50 s  61.00 s left\n"
        );
        let bare = EpochRecord {
            validation_loss: None,
            validation_accuracy: None,
            ..record()
        };
        assert_eq!(
            line(&bare, None, None),
            "epoch 3  train loss 0.25000  1.50 s\n"
        );
    }

    #[test]
    fn evaluations_are_told_with_all_of_them_and_the_time_left() {
        assert_eq!(
            evaluations(1_234_567, Some(9_876_543), Some(61.0)),
            "1,234,567 of 9,876,543 evaluations  61.00 s left\n"
        );
        assert_eq!(evaluations(12, None, None), "12 evaluations\n");
    }

    #[test]
    fn time_left_is_extrapolated_from_this_process_alone() {
        let elapsed = Duration::from_secs(10);
        assert_eq!(time_left(elapsed, 100, Some(50)), Some(5.0));
        assert_eq!(time_left(elapsed, 0, Some(50)), None);
        assert_eq!(time_left(elapsed, 100, None), None);
    }
}
