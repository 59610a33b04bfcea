//! Global allocators that count. A test file installs one with `#[global_allocator]`.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts allocations and their bytes per thread, because the test runner allocates on other
/// threads.
pub struct ThreadCounter;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// Returns the number of this thread's allocations so far.
pub fn allocations() -> usize {
    ALLOCATIONS.get()
}

/// Returns the bytes of this thread's allocations so far, freed or not.
pub fn allocated() -> usize {
    ALLOCATED.get()
}

// SAFETY: every call is passed unchanged to the system's allocator; counting does not touch the
// allocated memory.
unsafe impl GlobalAlloc for ThreadCounter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        ALLOCATED.with(|bytes| bytes.set(bytes.get() + layout.size()));
        // SAFETY: the caller guarantees what `alloc` requires of `layout`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees what `dealloc` requires of both arguments.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Counts the bytes in use by all threads, and their maximum.
pub struct MemoryCounter;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Returns the bytes in use.
pub fn in_use() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

/// Runs `task`; returns its result, and the peak of the bytes in use above those in use before.
pub fn peak_of<T>(task: impl FnOnce() -> T) -> (T, usize) {
    let before = in_use();
    PEAK.store(before, Ordering::Relaxed);
    let result = task();
    (result, PEAK.load(Ordering::Relaxed) - before)
}

// SAFETY: as for `ThreadCounter`.
unsafe impl GlobalAlloc for MemoryCounter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller guarantees what `alloc` requires of `layout`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller guarantees what `dealloc` requires of both arguments.
        unsafe { System.dealloc(pointer, layout) }
    }
}
