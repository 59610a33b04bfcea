//! Ranks that are threads of one process: for tests of any number of ranks on any machine.

use std::sync::{Arc, Barrier, Mutex};

use super::transport::Transport;

/// One rank.
pub(super) struct ThreadTransport {
    rank: usize,
    board: Arc<Board>,
}

/// The place where ranks leave what others read.
struct Board {
    barrier: Barrier,
    parts: Mutex<Vec<Vec<u8>>>,
}

/// Returns `size` connected ranks.
pub(super) fn connect(size: usize) -> Vec<ThreadTransport> {
    let board = Arc::new(Board {
        barrier: Barrier::new(size),
        parts: Mutex::new(vec![Vec::new(); size]),
    });
    let rank = |rank| ThreadTransport {
        rank,
        board: Arc::clone(&board),
    };
    (0..size).map(rank).collect()
}

impl ThreadTransport {
    /// Leaves `own` on the board, and reads what all have left.
    fn exchange<T>(&self, own: &[u8], read: impl FnOnce(&[Vec<u8>]) -> T) -> T {
        let parts = || self.board.parts.lock().expect("no rank panics here");
        parts()[self.rank] = own.to_vec();
        self.board.barrier.wait();
        let result = read(&parts());
        self.board.barrier.wait();
        result
    }

    /// Adds the numbers of all ranks in the order of the ranks.
    fn sum<T: Copy + std::ops::Add<Output = T>, const SIZE: usize>(
        &self,
        values: &mut [T],
        to_bytes: impl Fn(T) -> [u8; SIZE],
        from_bytes: impl Fn([u8; SIZE]) -> T,
    ) {
        let own: Vec<u8> = values.iter().flat_map(|&value| to_bytes(value)).collect();
        self.exchange(&own, |parts| {
            for (k, value) in values.iter_mut().enumerate() {
                let number = |part: &Vec<u8>| {
                    let bytes = part[k * SIZE..(k + 1) * SIZE].try_into();
                    from_bytes(bytes.expect("as many bytes as a number has"))
                };
                let sum = parts.iter().map(number).reduce(|sum, number| sum + number);
                *value = sum.expect("there is at least one rank");
            }
        });
    }
}

impl Transport for ThreadTransport {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.board.parts.lock().expect("no rank panics here").len()
    }

    fn on_this_machine(&self) -> usize {
        self.size()
    }

    fn all_gather(&self, own: &[u8], all: &mut [u8], lengths: &[usize]) {
        self.exchange(own, |parts| {
            let mut rest = all;
            for (part, &length) in parts.iter().zip(lengths) {
                assert_eq!(part.len(), length, "ranks agree on the lengths");
                let (to, others) = rest.split_at_mut(length);
                to.copy_from_slice(part);
                rest = others;
            }
        });
    }

    fn broadcast(&self, bytes: &mut [u8]) {
        let own = bytes.to_vec();
        self.exchange(&own, |parts| bytes.copy_from_slice(&parts[0]));
    }

    fn sum_f32(&self, values: &mut [f32]) {
        self.sum(values, f32::to_ne_bytes, f32::from_ne_bytes);
    }

    fn sum_f64(&self, values: &mut [f64]) {
        self.sum(values, f64::to_ne_bytes, f64::from_ne_bytes);
    }

    fn abort(&self, code: u8) {
        panic!("rank {} ends all others with code {code}", self.rank);
    }

    fn close(&self) {}
}
