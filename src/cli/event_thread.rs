//! A thread that listens to events, so that terminal and disk stay off the timed path.
//!
//! Events go through a bounded channel: progress is dropped when the listener is behind, results
//! wait for it. After its first error the listener hears nothing more, and says so, so that a run
//! whose disk is full ends instead of training for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender};

use crate::error::{Error, Result};

/// Events under way: enough to ride out a slow disk, few enough to keep memory small.
const CAPACITY: usize = 64;

/// Time between two looks at what moves between events.
const LOOKS: Duration = Duration::from_millis(250);

/// Handles events of type `E` on its own thread.
#[derive(Debug)]
pub struct EventThread<E> {
    sender: Option<Sender<E>>,
    thread: Option<JoinHandle<Result<()>>>,
    failed: Arc<AtomicBool>,
}

impl<E: Send + 'static> EventThread<E> {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::Resources`] if the operating system refuses it.
    pub fn start(handle: impl FnMut(E) -> Result<()> + Send + 'static) -> Result<Self> {
        Self::start_watching(handle, || {})
    }

    /// Starts the thread, which also looks around a few times a second: what moves between events,
    /// in the middle of a step, is seen.
    ///
    /// # Errors
    /// [`Error::Resources`] if the operating system refuses it.
    pub fn start_watching(
        mut handle: impl FnMut(E) -> Result<()> + Send + 'static,
        mut look: impl FnMut() + Send + 'static,
    ) -> Result<Self> {
        let (sender, receiver) = crossbeam_channel::bounded(CAPACITY);
        let failed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&failed);
        let listen = move || {
            let mut outcome = Ok(());
            // Drains the channel after an error as well: a sender must never wait for nobody.
            let mut looked = Instant::now();
            loop {
                match receiver.recv_timeout(LOOKS) {
                    Ok(event) if outcome.is_ok() => {
                        outcome = handle(event);
                        flag.store(outcome.is_err(), Ordering::Relaxed);
                    }
                    Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return outcome,
                }
                if looked.elapsed() >= LOOKS {
                    look();
                    looked = Instant::now();
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("listener".to_owned())
            .spawn(listen)
            .map_err(|error| Error::Resources(format!("no thread for the logs: {error}")))?;
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread),
            failed,
        })
    }
}

impl<E> EventThread<E> {
    /// Sends an event that may be lost: dropped if the listener is behind.
    pub fn offer(&self, event: E) {
        if let Some(sender) = &self.sender {
            let _ = sender.try_send(event);
        }
    }

    /// Sends an event that must arrive: waits if the listener is behind.
    pub fn deliver(&self, event: E) {
        if let Some(sender) = &self.sender {
            // The receiver only goes if its thread panicked, which `finish` tells.
            let _ = sender.send(event);
        }
    }

    /// Whether an event could not be handled; [`EventThread::finish`] says why.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Waits until all events are handled.
    ///
    /// # Errors
    /// The first error of the handler.
    ///
    /// # Panics
    /// If the handler panicked.
    pub fn finish(mut self) -> Result<()> {
        drop(self.sender.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl<E> Drop for EventThread<E> {
    /// Waits as well, so that nothing is half written when a run ends with an error of its own.
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn delivered_events_arrive_all_and_in_order() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&heard);
        let listener = EventThread::start(move |event: usize| {
            ears.lock().unwrap().push(event);
            Ok(())
        })
        .unwrap();
        (0..10 * CAPACITY).for_each(|event| listener.deliver(event));
        listener.finish().unwrap();
        assert!(heard.lock().unwrap().iter().copied().eq(0..10 * CAPACITY));
    }

    #[test]
    fn offered_events_never_wait_for_a_slow_listener() {
        let (release, gate) = crossbeam_channel::bounded::<()>(0);
        let heard = Arc::new(Mutex::new(0));
        let ears = Arc::clone(&heard);
        let listener = EventThread::start(move |_: usize| {
            let _ = gate.recv();
            *ears.lock().unwrap() += 1;
            Ok(())
        })
        .unwrap();
        (0..10 * CAPACITY).for_each(|event| listener.offer(event));
        drop(release);
        listener.finish().unwrap();
        assert!(*heard.lock().unwrap() <= CAPACITY + 1);
    }

    #[test]
    fn the_first_error_is_told_and_nothing_is_handled_after_it() {
        let heard = Arc::new(Mutex::new(0));
        let ears = Arc::clone(&heard);
        let listener = EventThread::start(move |_: usize| {
            *ears.lock().unwrap() += 1;
            Err(Error::Resources("full".to_owned()))
        })
        .unwrap();
        (0..10 * CAPACITY).for_each(|event| listener.deliver(event));
        while !listener.has_failed() {
            std::thread::yield_now();
        }
        assert_eq!(listener.finish().unwrap_err().exit_code(), 5);
        assert_eq!(*heard.lock().unwrap(), 1);
    }
}
