//! Progress of gradients that take long: losses evaluated, of how many, and the time left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::arguments::Global;
use super::output::to_stderr;
use super::progress_bar::{ProgressForm, progress_bar};
use crate::gradient::Control;
use crate::study::table::duration;

/// How often the counter is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Plain lines come after so long, and not more often.
const PAUSE: Duration = Duration::from_secs(5);

/// Shows a control's counter until it is dropped.
#[derive(Debug)]
pub struct GradientProgress {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl GradientProgress {
    /// Watches `control` on the way to so many `evaluations`, as the global options say.
    pub fn start(global: &Global, control: &Control, evaluations: u64) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let bar = match ProgressForm::new(global) {
            ProgressForm::Bar => Some(true),
            ProgressForm::Lines => Some(false),
            ProgressForm::Hidden => None,
        };
        // Without a thread there is no progress, and nothing else is lost.
        let thread = bar.and_then(|bar| {
            let (flag, control) = (Arc::clone(&ended), control.clone());
            std::thread::Builder::new()
                .name("nplus1-meter".to_owned())
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
            // A panic there has told itself.
            let _ = thread.join();
        }
    }
}

fn watch(bar: bool, ended: &AtomicBool, control: &Control, evaluations: u64) {
    let bar = bar.then(|| progress_bar(Some(evaluations)));
    let start = Instant::now();
    let mut said = start;
    while !ended.load(Ordering::Relaxed) {
        std::thread::park_timeout(LOOK);
        let done = control.evaluations();
        if let Some(bar) = &bar {
            bar.set_position(done);
            bar.set_message(format!("{done} of {evaluations} evaluations"));
        } else if said.elapsed() >= PAUSE && done < evaluations {
            to_stderr(&line(done, evaluations, start.elapsed().as_secs_f64()));
            said = Instant::now();
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
    fn a_line_tells_the_losses_and_the_time_left() {
        assert_eq!(
            line(100, 400, 5.0),
            "100 of 400 evaluations, 15.00 s left\n"
        );
        assert_eq!(line(0, 400, 5.0), "0 of 400 evaluations\n");
    }
}
