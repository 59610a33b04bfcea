//! Training that is interrupted again and again, and goes on from the bytes of its checkpoints.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nplus1::gradient::Control;
use nplus1::model::Layout;
use nplus1::numeric::Real;
use nplus1::run::Checkpoint;
use nplus1::train::{Ending, EpochRecord, Observer, TrainingState};

/// An observer that sets the stop flag after the given number of progress reports.
pub struct Stopping {
    stop: Arc<AtomicBool>,
    left: usize,
}

impl<R> Observer<R> for Stopping {
    fn progress(&mut self, _: usize, _: usize, _: usize) {
        self.left = self.left.saturating_sub(1);
        self.stop.store(self.left == 0, Ordering::Relaxed);
    }
    fn wants_state(&self) -> bool {
        false
    }
    fn state(&mut self, _: &TrainingState<R>) -> nplus1::error::Result<()> {
        Ok(())
    }
    fn epoch(&mut self, _: &EpochRecord, _: &TrainingState<R>) -> nplus1::error::Result<()> {
        Ok(())
    }
}

/// Calls `train` with `state` until it finishes, and interrupts it after every three progress
/// reports; between two calls only the bytes of a checkpoint live on, as between two processes.
/// Returns the last state and the number of interruptions.
pub fn train_with_interruptions<R: Real>(
    mut state: TrainingState<R>,
    mut train: impl FnMut(&mut TrainingState<R>, &mut Stopping, &Control) -> Ending,
) -> (TrainingState<R>, usize) {
    let layout: Arc<Layout> = Arc::clone(state.parameters.layout());
    let path = Path::new("checkpoint-000001.bin");
    for interruptions in 0.. {
        let stop = Arc::new(AtomicBool::new(false));
        let control = Control::new(&stop);
        let ending = train(&mut state, &mut Stopping { stop, left: 3 }, &control);
        let bytes = Checkpoint::from_state("seed = 1\n".to_owned(), &state).to_bytes();
        let checkpoint = Checkpoint::from_bytes(&bytes, path).unwrap();
        state = checkpoint.state(&layout, path).unwrap();
        if ending == Ending::Finished {
            return (state, interruptions);
        }
        assert_eq!(ending, Ending::Interrupted);
    }
    unreachable!("the loop has no end")
}
