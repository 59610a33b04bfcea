//! The processes that compute one result together, and what they exchange.
//!
//! A process is called a *rank*, as in MPI. Everything else in this crate knows only [`Ranks`]: who
//! am I, how many are there, gather parts from all, and agree. Without MPI there is one rank, and
//! nothing here costs anything. `transport.rs` says what a means of exchange must do; there are two:
//! MPI (`mpi.rs`, with the feature `mpi`) and threads of one process ([`Ranks::as_threads`]), with
//! which tests compare the bits of any number of ranks on any machine.
//!
//! # Agreement
//! All ranks run the same program on the same data, so they take the same decisions, except those
//! that depend on time, signals or files. These are taken by [`Ranks::agree`]: every rank calls it
//! at the same places, it stops all if a signal reached one, and it gives all the time that the
//! first rank measured. A rank that fails says so at the next meeting ([`Ranks::finish`]), where all
//! others end with it.
//!
//! # Counts
//! [`Ranks::traffic`] counts what results need: bytes delivered from one rank to another, and
//! collective calls. Agreements are not in it; they happen a few times a segment of some
//! milliseconds, [`NOTE_BYTES`] from each rank.

mod launcher;
#[cfg(feature = "mpi")]
mod mpi;
mod numbers;
mod reduce;
mod threads;
mod transport;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use launcher::Launcher;
pub use numbers::Parcel;
pub use reduce::Reduce;

use self::numbers::{bytes_of, bytes_of_mut};
use self::transport::Transport;
use crate::error::{Error, Result};

/// Bytes that each rank contributes to a meeting.
pub const NOTE_BYTES: usize = 48;

/// What ranks exchanged for their results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes delivered from a rank to another one, summed over all ranks.
    pub bytes: u64,
    /// Collective calls, each of which every rank takes part in.
    pub exchanges: u64,
}

/// The ranks of this run, as one of them sees them. Clones are handles of the same rank.
#[derive(Clone, Default)]
pub struct Ranks {
    /// `None`: one process without a means of exchange.
    shared: Option<Arc<Shared>>,
    reduce: Reduce,
}

struct Shared {
    transport: Box<dyn Transport>,
    /// Set when all have agreed to stop.
    stop: Arc<AtomicBool>,
    /// This rank's own wish to stop.
    wish: OnceLock<Arc<AtomicBool>>,
    /// The exit code of a rank that has announced its end: no meeting follows.
    ended: OnceLock<u8>,
    bytes: AtomicU64,
    exchanges: AtomicU64,
}

/// The subject of a meeting; all ranks must have come for the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Subject {
    /// Whether to go on, and the time that the first rank measured.
    GoOn = 1,
    /// A digest, equal on all ranks.
    Digest = 2,
    /// A number: the least of all counts.
    Least = 3,
    /// This rank ends.
    End = 4,
}

/// What a rank says at a meeting.
#[derive(Clone, Copy)]
struct Note {
    subject: Subject,
    /// A flag: the wish to stop, or a failure.
    flag: bool,
    code: u8,
    content: [u8; 32],
}

impl Note {
    fn new(subject: Subject, flag: bool, content: &[u8]) -> Self {
        let mut note = Self {
            subject,
            flag,
            code: 0,
            content: [0; 32],
        };
        note.content[..content.len()].copy_from_slice(content);
        note
    }

    fn to_bytes(self) -> [u8; NOTE_BYTES] {
        let mut bytes = [0; NOTE_BYTES];
        bytes[..3].copy_from_slice(&[self.subject as u8, u8::from(self.flag), self.code]);
        bytes[16..].copy_from_slice(&self.content);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let subjects = [Subject::GoOn, Subject::Digest, Subject::Least, Subject::End];
        let subject = subjects.into_iter().find(|&s| s as u8 == bytes[0]);
        Self {
            subject: subject.expect("all ranks run the same version"),
            flag: bytes[1] != 0,
            code: bytes[2],
            content: bytes[16..NOTE_BYTES].try_into().expect("a note's length"),
        }
    }

    fn number(&self) -> u64 {
        u64::from_le_bytes(self.content[..8].try_into().expect("8 of 32 bytes"))
    }
}

impl Ranks {
    /// Returns the one rank of a process that exchanges nothing.
    pub fn alone() -> Self {
        Self::default()
    }

    /// Returns `size` ranks that are to run on threads of this process, one each.
    pub fn as_threads(size: usize) -> Vec<Self> {
        let transports = threads::connect(size).into_iter();
        transports
            .map(|transport| Self::of(Box::new(transport)))
            .collect()
    }

    /// Joins the ranks that an MPI launcher has started, as the thread that calls it: all exchanges
    /// must be made by this thread.
    ///
    /// # Errors
    /// [`Error::Resources`] if the MPI library refuses.
    #[cfg(feature = "mpi")]
    pub fn join() -> Result<Self> {
        Ok(Self::of(Box::new(mpi::MpiTransport::join()?)))
    }

    fn of(transport: Box<dyn Transport>) -> Self {
        Self {
            shared: Some(Arc::new(Shared {
                transport,
                stop: Arc::default(),
                wish: OnceLock::new(),
                ended: OnceLock::new(),
                bytes: AtomicU64::new(0),
                exchanges: AtomicU64::new(0),
            })),
            reduce: Reduce::Exact,
        }
    }

    /// Returns these ranks with another way to bring gradients together.
    #[must_use]
    pub fn with_reduce(self, reduce: Reduce) -> Self {
        Self { reduce, ..self }
    }

    /// Returns how the gradients of backprop come together.
    pub fn reduce(&self) -> Reduce {
        self.reduce
    }

    /// Returns this rank's number, from 0.
    pub fn rank(&self) -> usize {
        self.shared
            .as_ref()
            .map_or(0, |shared| shared.transport.rank())
    }

    /// Returns the number of ranks.
    pub fn size(&self) -> usize {
        self.shared
            .as_ref()
            .map_or(1, |shared| shared.transport.size())
    }

    /// Returns the number of ranks on this machine, this one included.
    pub fn on_this_machine(&self) -> usize {
        self.shared
            .as_ref()
            .map_or(1, |shared| shared.transport.on_this_machine())
    }

    /// Returns whether this rank is the one that writes files and shows progress.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Returns whether there are other ranks.
    pub fn are_many(&self) -> bool {
        self.size() > 1
    }

    /// Returns what was exchanged so far.
    pub fn traffic(&self) -> Traffic {
        self.shared
            .as_ref()
            .map_or(Traffic::default(), |shared| Traffic {
                bytes: shared.bytes.load(Ordering::Relaxed),
                exchanges: shared.exchanges.load(Ordering::Relaxed),
            })
    }

    /// Returns the shared state if there are other ranks.
    fn many(&self) -> Option<&Shared> {
        self.shared
            .as_deref()
            .filter(|shared| shared.transport.size() > 1)
    }

    /// Gathers a part from each rank: `all` becomes the parts in the order of the ranks, of
    /// `lengths` numbers; `own` is this rank's.
    ///
    /// # Panics
    /// If the lengths do not fit, and for other numbers than bytes, integers and floats.
    pub fn all_gather<T: Copy + 'static>(&self, own: &[T], all: &mut [T], lengths: &[usize]) {
        let Some(shared) = self.many() else {
            all.copy_from_slice(own);
            return;
        };
        let (rank, size) = (self.rank(), self.size());
        assert!(lengths.len() == size && lengths[rank] == own.len());
        assert_eq!(all.len(), lengths.iter().sum::<usize>());
        let lengths: Vec<_> = lengths
            .iter()
            .map(|length| length * size_of::<T>())
            .collect();
        let all = bytes_of_mut(all);
        shared.count(all.len() as u64 * (size as u64 - 1));
        shared.transport.all_gather(bytes_of(own), all, &lengths);
    }

    /// Gathers `values` in place: rank r has computed the r-th of consecutive ranges, of `lengths`
    /// numbers.
    pub fn all_gather_in_place<T: Copy + 'static>(&self, values: &mut [T], lengths: &[usize]) {
        if !self.are_many() {
            return;
        }
        let start: usize = lengths[..self.rank()].iter().sum();
        let own = values[start..start + lengths[self.rank()]].to_vec();
        self.all_gather(&own, values, lengths);
    }

    /// Replaces `values` by their sums over all ranks, in an order that depends on the number of
    /// ranks; the same on all.
    ///
    /// # Panics
    /// For other numbers than f32 and f64.
    pub fn sum<T: Copy + 'static>(&self, values: &mut [T]) {
        let Some(shared) = self.many() else { return };
        let bytes = size_of_val(values) as u64;
        shared.count(bytes * (self.size() as u64 - 1));
        if let Some(values) = numbers::cast_mut::<T, f32>(values) {
            shared.transport.sum_f32(values);
        } else {
            let values = numbers::cast_mut::<T, f64>(values);
            shared
                .transport
                .sum_f64(values.expect("sums are of f32 or f64"));
        }
    }

    /// Returns the stop flag for engines and loops: `wish` itself if there is one rank. Else a flag
    /// that all ranks set in the same call of [`Ranks::agree`], once any of them wishes it.
    pub fn stop_flag(&self, wish: &Arc<AtomicBool>) -> Arc<AtomicBool> {
        match self.many() {
            None => Arc::clone(wish),
            Some(shared) => {
                let _ = shared.wish.set(Arc::clone(wish));
                Arc::clone(&shared.stop)
            }
        }
    }

    /// Lets all ranks agree whether to stop, and on the time `elapsed`: returns the first rank's.
    ///
    /// # Errors
    /// [`Error::OtherRank`] if another rank has ended with an error.
    pub fn agree(&self, elapsed: Duration) -> Result<Duration> {
        let Some(shared) = self.many() else {
            return Ok(elapsed);
        };
        let wish = shared.wish.get();
        let wish = wish.is_some_and(|wish| wish.load(Ordering::Relaxed));
        let nanoseconds = elapsed.as_nanos() as u64;
        let note = Note::new(Subject::GoOn, wish, &nanoseconds.to_le_bytes());
        let notes = shared.meet(note)?;
        if notes.iter().any(|note| note.flag) {
            shared.stop.store(true, Ordering::Relaxed);
        }
        Ok(Duration::from_nanos(notes[0].number()))
    }

    /// Refuses ranks whose `digest` is not the first one's.
    ///
    /// # Errors
    /// [`Error::Usage`], the same on all ranks, which names `subject` and the first rank that
    /// differs; [`Error::OtherRank`].
    pub fn check_equal(&self, subject: &str, digest: [u8; 32], help: &str) -> Result<()> {
        let Some(shared) = self.many() else {
            return Ok(());
        };
        let notes = shared.meet(Note::new(Subject::Digest, false, &digest))?;
        let differs = |note: &Note| note.content != notes[0].content;
        match notes.iter().position(differs) {
            None => Ok(()),
            Some(rank) => Err(Error::Usage(format!(
                "rank {rank} has another {subject} than rank 0 (SHA-256 {}… instead of {}…)\n  help: {help}",
                hexadecimal(&notes[rank].content),
                hexadecimal(&notes[0].content),
            ))),
        }
    }

    /// Returns the least `number` of all ranks.
    ///
    /// # Errors
    /// [`Error::OtherRank`].
    pub fn least(&self, number: usize) -> Result<usize> {
        let Some(shared) = self.many() else {
            return Ok(number);
        };
        let number = (number as u64).to_le_bytes();
        let notes = shared.meet(Note::new(Subject::Least, false, &number))?;
        let least = notes.iter().map(Note::number).min();
        Ok(least.map_or(1, |least| least as usize))
    }

    /// Sends `bytes` of the first rank to all others, whose `bytes` are replaced.
    ///
    /// # Errors
    /// [`Error::OtherRank`], for instance if the first rank could not read what it was to send.
    pub fn share(&self, bytes: &mut Vec<u8>) -> Result<()> {
        let Some(shared) = self.many() else {
            return Ok(());
        };
        let length = (bytes.len() as u64).to_le_bytes();
        let notes = shared.meet(Note::new(Subject::Least, false, &length))?;
        bytes.resize(notes[0].number() as usize, 0);
        shared.transport.broadcast(bytes);
        Ok(())
    }

    /// Meets all ranks for the last time: this one ends, after a failure or not, with exit code
    /// `code`. Ranks that are still at work end at their next meeting. Nothing is exchanged after
    /// it. Returns the exit code of the job: that of the first rank that failed with one, or 0.
    ///
    /// The first rank that failed calls `say`, before any rank ends: once one has, a launcher may
    /// end all.
    pub fn finish(&self, failed: bool, code: u8, say: impl FnOnce()) -> u8 {
        let (code, says) = self.last_meeting(failed, code);
        if says {
            say();
        }
        if let Some(shared) = &self.shared {
            shared.transport.close();
        }
        code
    }

    /// Returns the exit code, and whether this rank says why.
    fn last_meeting(&self, failed: bool, code: u8) -> (u8, bool) {
        let Some(shared) = self.many() else {
            return (code, failed);
        };
        if let Some(&code) = shared.ended.get() {
            // Another rank's end was seen at a meeting before, and ends this rank silently.
            return (code, false);
        }
        let note = Note {
            code,
            ..Note::new(Subject::End, failed, &[])
        };
        let notes = shared.exchange(note);
        let has_failed = |note: &Note| note.subject == Subject::End && note.flag;
        let first = notes.iter().position(has_failed);
        (
            exit_code(&notes).unwrap_or(code),
            first == Some(self.rank()),
        )
    }

    /// Ends all ranks at once, with exit code `code`: after a defect, when they cannot meet.
    pub fn abort(&self, code: u8) {
        if let Some(shared) = self.many() {
            shared.transport.abort(code);
        }
    }

    /// Measures the seconds of one exchange in which each rank contributes `bytes` bytes: the
    /// median of `repeats`, as the first rank sees it.
    ///
    /// # Errors
    /// [`Error::OtherRank`].
    pub fn time_exchange(&self, bytes: usize, repeats: usize) -> Result<f64> {
        let lengths = vec![bytes; self.size()];
        let (own, mut all) = (vec![1u8; bytes], vec![0u8; bytes * self.size()]);
        let mut seconds = Vec::with_capacity(repeats);
        for _ in 0..repeats {
            self.agree(Duration::ZERO)?;
            let start = std::time::Instant::now();
            self.all_gather(&own, &mut all, &lengths);
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        let median = Duration::from_secs_f64(seconds[repeats / 2]);
        Ok(self.agree(median)?.as_secs_f64())
    }
}

impl Shared {
    fn count(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.exchanges.fetch_add(1, Ordering::Relaxed);
    }

    /// Exchanges notes; returns those of all ranks.
    fn exchange(&self, note: Note) -> Vec<Note> {
        let size = self.transport.size();
        let mut all = vec![0; size * NOTE_BYTES];
        self.transport
            .all_gather(&note.to_bytes(), &mut all, &vec![NOTE_BYTES; size]);
        let notes: Vec<_> = all.chunks_exact(NOTE_BYTES).map(Note::from_bytes).collect();
        if let Some(code) = exit_code(&notes) {
            let _ = self.ended.set(code);
        }
        notes
    }

    /// Exchanges notes on one subject.
    ///
    /// # Errors
    /// [`Error::OtherRank`] if a rank ends instead.
    ///
    /// # Panics
    /// If ranks came for different subjects: they did not run the same program.
    fn meet(&self, note: Note) -> Result<Vec<Note>> {
        let ended = || self.ended.get().map(|&code| Error::OtherRank { code });
        if let Some(ended) = ended() {
            return Err(ended);
        }
        let notes = self.exchange(note);
        if let Some(ended) = ended() {
            return Err(ended);
        }
        assert!(
            notes.iter().all(|other| other.subject == note.subject),
            "all ranks meet for the same subject"
        );
        Ok(notes)
    }
}

/// Returns the exit code of the job: the first that is not 0 of the ranks that end; `None` if none
/// ends.
fn exit_code(notes: &[Note]) -> Option<u8> {
    let ends = notes.iter().filter(|note| note.subject == Subject::End);
    let mut codes = ends.map(|note| note.code);
    let first = codes.next()?;
    Some(if first == 0 {
        codes.find(|&code| code != 0).unwrap_or(0)
    } else {
        first
    })
}

/// Returns the first bytes of a digest as text.
fn hexadecimal(digest: &[u8; 32]) -> String {
    digest[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `work` on each of `size` ranks; returns the results in the order of the ranks.
    fn on_each<T: Send>(size: usize, work: impl Fn(Ranks) -> T + Sync) -> Vec<T> {
        let work = &work;
        std::thread::scope(|scope| {
            let ranks = Ranks::as_threads(size).into_iter();
            let running: Vec<_> = ranks.map(|rank| scope.spawn(move || work(rank))).collect();
            let ended = running.into_iter().map(|thread| thread.join().unwrap());
            ended.collect()
        })
    }

    #[test]
    fn parts_come_together_in_the_order_of_the_ranks_and_bytes_are_counted() {
        let results = on_each(3, |ranks| {
            let mut all = [0f32; 6];
            let own = vec![ranks.rank() as f32; ranks.rank() + 1];
            ranks.all_gather(&own, &mut all, &[1, 2, 3]);
            let mut sum = [ranks.rank() as f64, 1.0];
            ranks.sum(&mut sum);
            (all, sum, ranks.traffic())
        });
        for (all, sum, traffic) in results {
            assert_eq!(all, [0., 1., 1., 2., 2., 2.]);
            assert_eq!(sum, [3.0, 3.0]);
            assert_eq!((traffic.bytes, traffic.exchanges), (2 * (24 + 16), 2));
        }
    }

    #[test]
    fn all_ranks_stop_if_one_wishes_it_and_all_take_the_first_ones_time() {
        let results = on_each(3, |ranks| {
            let wish = Arc::new(AtomicBool::new(false));
            let stop = ranks.stop_flag(&wish);
            let before = ranks.agree(Duration::from_millis(5 + ranks.rank() as u64));
            wish.store(ranks.rank() == 2, Ordering::Relaxed);
            let not_yet = !stop.load(Ordering::Relaxed);
            ranks.agree(Duration::ZERO).unwrap();
            (before.unwrap(), not_yet, stop.load(Ordering::Relaxed))
        });
        assert_eq!(results, [(Duration::from_millis(5), true, true); 3]);
    }

    #[test]
    fn a_rank_that_fails_ends_all_others_with_its_code_and_prints_alone() {
        // The exit code, and whether the rank says why.
        let finish = |ranks: &Ranks, failed, code| {
            let mut says = false;
            let code = ranks.finish(failed, code, || says = true);
            (code, says)
        };
        let results = on_each(4, |ranks| {
            if ranks.rank() == 2 {
                return finish(&ranks, true, 8);
            }
            let error = ranks.agree(Duration::ZERO).unwrap_err();
            assert_eq!(error.exit_code(), 8);
            assert!(ranks.agree(Duration::ZERO).is_err(), "no further meeting");
            finish(&ranks, true, error.exit_code())
        });
        assert_eq!(results, [(8, false), (8, false), (8, true), (8, false)]);
        let all_fail = on_each(3, |ranks| finish(&ranks, true, 2));
        assert_eq!(all_fail, [(2, true), (2, false), (2, false)]);
        let none = on_each(2, |ranks| finish(&ranks, false, 0));
        assert_eq!(none, [(0, false); 2]);
    }

    #[test]
    fn a_rank_with_other_data_is_named_by_all() {
        let errors = on_each(3, |ranks| {
            let digest = [u8::from(ranks.rank() == 1); 32];
            ranks
                .check_equal("dataset", digest, "copy it")
                .unwrap_err()
                .to_string()
        });
        assert!(errors[0].starts_with("rank 1 has another dataset than rank 0 (SHA-256 01010101"));
        assert!(errors.iter().all(|error| *error == errors[0]));
    }

    #[test]
    fn what_the_first_rank_shares_and_the_least_number_reach_all() {
        let results = on_each(3, |ranks| {
            let mut bytes = match ranks.is_first() {
                true => vec![7, 8, 9],
                false => vec![1],
            };
            ranks.share(&mut bytes).unwrap();
            (bytes, ranks.least(10 - ranks.rank()).unwrap())
        });
        assert!(results.iter().all(|result| *result == (vec![7, 8, 9], 8)));
    }
}
