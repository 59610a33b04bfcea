//! Promise: loading MNIST peaks at the size of its data, held once.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use nplus1::data::{Places, catalog};

/// Counts the bytes in use, and the most there were.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; the counts touch no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise about both is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn loading_mnist_holds_no_byte_twice() {
    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let (train, test) = catalog::load("mnist", &Places::new(None)).unwrap();
    let peak = PEAK.load(Ordering::Relaxed) - before;
    let rows = train.rows() + test.map_or(0, |test| test.rows());
    // A byte a pixel; a byte and two a label; half a megabyte of buffers and paths.
    let data = rows * (784 + 3);
    assert!(peak >= rows * 784, "{peak} bytes cannot hold the data");
    assert!(peak <= data + (1 << 19), "{peak} bytes for {data} of data");
}
