//! A thread that handles events, so that terminal and disk stay off the timed path.
//!
//! Events go through a bounded channel: progress is dropped if the thread is behind, results wait
//! for it. After its first error the thread handles no more events and sets a flag, so that a run
//! whose disk is full ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{self, RecvTimeoutError, Sender};

use crate::error::{Error, Result};

/// Capacity of the channel: enough for delays of a slow disk, and small in memory.
const CAPACITY: usize = 64;

/// Time between two updates without an event.
const UPDATE_INTERVAL: Duration = Duration::from_millis(250);

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
        Self::start_with_updates(handle, || {})
    }

    /// Starts the thread, which also calls `update` a few times per second, to show progress
    /// between events.
    ///
    /// # Errors
    /// [`Error::Resources`] if the operating system refuses it.
    pub fn start_with_updates(
        mut handle: impl FnMut(E) -> Result<()> + Send + 'static,
        mut update: impl FnMut() + Send + 'static,
    ) -> Result<Self> {
        let (sender, receiver) = channel::bounded(CAPACITY);
        let failed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&failed);
        let handle_all = move || {
            let mut outcome = Ok(());
            // Drains the channel after an error as well, so that no sender waits forever.
            let mut last_update = Instant::now();
            loop {
                match receiver.recv_timeout(UPDATE_INTERVAL) {
                    Ok(event) if outcome.is_ok() => {
                        outcome = handle(event);
                        flag.store(outcome.is_err(), Ordering::Relaxed);
                    }
                    Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return outcome,
                }
                if last_update.elapsed() >= UPDATE_INTERVAL {
                    update();
                    last_update = Instant::now();
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(handle_all)
            .map_err(|error| {
                Error::Resources(format!("cannot start the thread for the logs: {error}"))
            })?;
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread),
            failed,
        })
    }
}

impl<E> EventThread<E> {
    /// Sends an event, which is dropped if the thread is behind.
    pub fn offer(&self, event: E) {
        if let Some(sender) = &self.sender {
            let _ = sender.try_send(event);
        }
    }

    /// Sends an event, waiting if the thread is behind.
    pub fn deliver(&self, event: E) {
        if let Some(sender) = &self.sender {
            // The receiver is gone only if its thread panicked, which `finish` reports.
            let _ = sender.send(event);
        }
    }

    /// Returns whether an event failed; [`EventThread::finish`] returns the error.
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
    /// Waits as well, so that nothing is half written when a run ends with an error.
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
    fn delivered_events_all_arrive_in_order() {
        let received = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&received);
        let events = EventThread::start(move |event: usize| {
            sink.lock().unwrap().push(event);
            Ok(())
        })
        .unwrap();
        (0..10 * CAPACITY).for_each(|event| events.deliver(event));
        events.finish().unwrap();
        assert!(
            received
                .lock()
                .unwrap()
                .iter()
                .copied()
                .eq(0..10 * CAPACITY)
        );
    }

    #[test]
    fn offered_events_never_wait_for_a_handler_that_is_slow() {
        let (release, gate) = channel::bounded::<()>(0);
        let received = Arc::new(Mutex::new(0));
        let sink = Arc::clone(&received);
        let events = EventThread::start(move |_: usize| {
            let _ = gate.recv();
            *sink.lock().unwrap() += 1;
            Ok(())
        })
        .unwrap();
        (0..10 * CAPACITY).for_each(|event| events.offer(event));
        drop(release);
        events.finish().unwrap();
        assert!(*received.lock().unwrap() <= CAPACITY + 1);
    }

    #[test]
    fn the_first_error_is_returned_and_no_later_event_is_handled() {
        let received = Arc::new(Mutex::new(0));
        let sink = Arc::clone(&received);
        let events = EventThread::start(move |_: usize| {
            *sink.lock().unwrap() += 1;
            Err(Error::Resources("full".to_owned()))
        })
        .unwrap();
        (0..10 * CAPACITY).for_each(|event| events.deliver(event));
        while !events.has_failed() {
            std::thread::yield_now();
        }
        assert_eq!(events.finish().unwrap_err().exit_code(), 5);
        assert_eq!(*received.lock().unwrap(), 1);
    }
}
