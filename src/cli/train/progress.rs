//! Progress of training on standard error: a bar with the time left on a terminal, one line per
//! epoch elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar};

use crate::cli::arguments::Global;
use crate::cli::output::to_stderr;
use crate::cli::progress_bar::{ProgressForm, progress_bar};
use crate::gradient::Control;
use crate::study::table::{duration, loss, percent};
use crate::train::EpochRecord;

/// Without a terminal, the number of evaluations is printed after this long without output.
const SILENCE: Duration = Duration::from_secs(5);

/// Length of a run, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgressLength {
    /// Epochs of the run; absent if steps or seconds end it.
    pub epochs: Option<usize>,
    /// Steps of the run.
    pub steps: Option<u64>,
    /// Steps done before this process, by the run that is resumed.
    pub steps_before: u64,
    /// Evaluations per step. With more than one, evaluations are shown instead of steps, because a
    /// step may take minutes.
    pub evaluations: u64,
}

impl ProgressLength {
    fn shows_evaluations(&self) -> bool {
        self.evaluations > 1
    }
}

/// Display of the progress of one run.
#[derive(Debug)]
pub struct ProgressDisplay {
    form: DisplayStyle,
    length: ProgressLength,
    /// Counter of the evaluations of this process.
    control: Control,
    start: Instant,
    /// When a line was last written.
    last_line: Mutex<Instant>,
    /// Figures of the last epoch, as the bar shows them.
    figures: Mutex<String>,
    /// Steps when the clock was started, which took no time of this process.
    before: u64,
}

#[derive(Debug)]
enum DisplayStyle {
    Bar(ProgressBar),
    Plain,
    None,
}

impl ProgressDisplay {
    /// Creates the display that the global options and the terminal ask for.
    pub fn new(global: &Global, length: ProgressLength, control: Control) -> Self {
        let form = match ProgressForm::new(global) {
            ProgressForm::Bar => DisplayStyle::Bar(bar(length)),
            ProgressForm::Lines => DisplayStyle::Plain,
            ProgressForm::Hidden => DisplayStyle::None,
        };
        Self {
            form,
            length,
            control,
            start: Instant::now(),
            last_line: Mutex::new(Instant::now()),
            figures: Mutex::default(),
            before: length.steps_before,
        }
    }

    /// Creates a display that shows nothing.
    pub fn hidden() -> Self {
        Self {
            form: DisplayStyle::None,
            length: ProgressLength::default(),
            control: Control::default(),
            start: Instant::now(),
            last_line: Mutex::new(Instant::now()),
            figures: Mutex::default(),
            before: 0,
        }
    }

    /// Shows that `done` steps are done since the start of the run.
    pub fn steps(&self, done: u64) {
        if let DisplayStyle::Bar(bar) = &self.form
            && !self.length.shows_evaluations()
        {
            bar.set_position(done);
        }
    }

    /// Shows the evaluations so far, if a step takes many: on a terminal at every call, elsewhere
    /// as a line after some time without output.
    pub fn update(&self) {
        if !self.length.shows_evaluations() {
            return;
        }
        let done = self.control.evaluations();
        let before = self.before * self.length.evaluations;
        let all = self
            .length
            .steps
            .map(|steps| steps * self.length.evaluations);
        match &self.form {
            DisplayStyle::Bar(bar) => {
                bar.set_position(before + done);
                let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
                let count = count(before + done, all);
                bar.set_message(format!("{count}  {figures}"));
            }
            DisplayStyle::Plain => {
                let mut last_line = self
                    .last_line
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if last_line.elapsed() >= SILENCE {
                    *last_line = Instant::now();
                    let left = all.map(|all| all.saturating_sub(before + done));
                    let left = time_left(self.start.elapsed(), done, left);
                    to_stderr(&evaluations(before + done, all, left));
                }
            }
            DisplayStyle::None => {}
        }
    }

    /// Shows the figures of an epoch that is done.
    pub fn epoch(&self, record: &EpochRecord) {
        match &self.form {
            DisplayStyle::Bar(bar) => {
                bar.set_position(record.steps * self.length.evaluations.max(1));
                let text = figures(record);
                bar.set_message(text.clone());
                *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = text;
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
                *self
                    .last_line
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = Instant::now();
            }
            DisplayStyle::None => {}
        }
    }

    /// Removes the bar and prints the last figures.
    fn finish(&self) {
        if let DisplayStyle::Bar(bar) = &self.form {
            bar.finish_and_clear();
            let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
            if !figures.is_empty() {
                to_stderr(&format!("{figures}\n"));
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
    let unit = length.evaluations.max(1);
    let bar = progress_bar(length.steps.map(|steps| steps * unit));
    bar.set_position(length.steps_before * unit);
    bar.reset_eta();
    bar
}

/// Extrapolates the time left; unknown without an end or before the first step.
fn time_left(elapsed: Duration, steps: u64, left: Option<u64>) -> Option<f64> {
    (steps > 0).then(|| left.map(|left| elapsed.as_secs_f64() / steps as f64 * left as f64))?
}

/// Formats the evaluations done and the time left.
fn evaluations(done: u64, all: Option<u64>, left: Option<f64>) -> String {
    let mut text = count(done, all);
    if let Some(left) = left {
        text.push_str(&format!("  {} left", duration(left)));
    }
    text.push('\n');
    text
}

/// Formats `12 of 345 evaluations`.
fn count(done: u64, all: Option<u64>) -> String {
    match all {
        Some(all) => format!("{} of {} evaluations", HumanCount(done), HumanCount(all)),
        None => format!("{} evaluations", HumanCount(done)),
    }
}

/// Formats `epoch 3/30`, the figures, the seconds and the time left.
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

/// Formats the train loss and the validation figures, if there are any.
fn figures(record: &EpochRecord) -> String {
    let mut text = format!("train loss {}", loss(Some(record.train_loss)));
    if let Some(r2) = record.validation_r2 {
        text.push_str(&format!(
            "  validation R² {r2:.4} (loss {})",
            loss(record.validation_loss)
        ));
    } else if record.validation_loss.is_some() || record.validation_accuracy.is_some() {
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
            validation_r2: None,
            gradient_norm: 1.0,
            seconds: 1.5,
            tally: Tally::default(),
        }
    }

    #[test]
    fn a_plain_line_has_epoch_figures_and_time() {
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
    fn evaluations_are_shown_with_their_total_and_the_time_left() {
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
