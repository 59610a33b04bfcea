//! Allocators that count. A test file takes one with `#[global_allocator]`.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what each thread allocates: a test's runner allocates on others.
pub struct OfThread;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// This thread's allocations so far.
pub fn allocations() -> usize {
    ALLOCATIONS.get()
}

/// Their bytes, whether freed again or not.
pub fn allocated() -> usize {
    ALLOCATED.get()
}

// SAFETY: every call goes to the system's allocator as it came; the counts touch no memory of it.
unsafe impl GlobalAlloc for OfThread {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        ALLOCATED.with(|bytes| bytes.set(bytes.get() + layout.size()));
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise about both is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Counts the bytes in use by all threads, and the most there were.
pub struct InUse;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Bytes in use.
pub fn in_use() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

/// What `task` returns, and the most bytes that were in use beyond those before it.
pub fn peak_of<T>(task: impl FnOnce() -> T) -> (T, usize) {
    let before = in_use();
    PEAK.store(before, Ordering::Relaxed);
    let done = task();
    (done, PEAK.load(Ordering::Relaxed) - before)
}

// SAFETY: as above.
unsafe impl GlobalAlloc for InUse {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
