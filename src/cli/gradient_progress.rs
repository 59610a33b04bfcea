//! Progress of long gradient computations: evaluations done, their total, and the time left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::arguments::Global;
use super::output::to_stderr;
use super::progress_bar::{ProgressForm, progress_bar};
use crate::gradient::Control;
use crate::study::table::duration;

/// Time between two readings of the counter.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Shortest time between two plain lines.
const PAUSE: Duration = Duration::from_secs(5);

/// Display of the counter of a control, until it is dropped.
#[derive(Debug)]
pub struct GradientProgress {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl GradientProgress {
    /// Shows the counter of `control` out of `evaluations`, as the global options ask for.
    pub fn start(global: &Global, control: &Control, evaluations: u64) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let bar = match ProgressForm::new(global) {
            ProgressForm::Bar => Some(true),
            ProgressForm::Lines => Some(false),
            ProgressForm::Hidden => None,
        };
        // Without the thread only the display is missing.
        let thread = bar.and_then(|bar| {
            let (flag, control) = (Arc::clone(&ended), control.clone());
            std::thread::Builder::new()
                .name("progress".to_owned())
                .spawn(move || watch(bar, &flag, &control, evaluations))
                .ok()
        });
        Self { ended, thread }
    }
}

impl Drop for GradientProgress {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic there has printed its message.
            let _ = thread.join();
        }
    }
}

fn watch(bar: bool, ended: &AtomicBool, control: &Control, evaluations: u64) {
    let bar = bar.then(|| progress_bar(Some(evaluations)));
    let start = Instant::now();
    let mut last_line = start;
    while !ended.load(Ordering::Relaxed) {
        std::thread::park_timeout(POLL_INTERVAL);
        let done = control.evaluations();
        if let Some(bar) = &bar {
            bar.set_position(done);
            bar.set_message(format!("{done} of {evaluations} evaluations"));
        } else if last_line.elapsed() >= PAUSE && done < evaluations {
            to_stderr(&line(done, evaluations, start.elapsed().as_secs_f64()));
            last_line = Instant::now();
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn line(done: u64, all: u64, seconds: f64) -> String {
    if done == 0 {
        return format!("0 of {all} evaluations\n");
    }
    let left = seconds / done as f64 * (all - done) as f64;
    format!("{done} of {all} evaluations, {} left\n", duration(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_evaluations_and_the_time_left() {
        assert_eq!(
            line(100, 400, 5.0),
            "100 of 400 evaluations, 15.00 s left\n"
        );
        assert_eq!(line(0, 400, 5.0), "0 of 400 evaluations\n");
    }
}
