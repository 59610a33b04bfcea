//! What becomes of the program when the system refuses memory: one line on standard error, and exit
//! code 5.
//!
//! Commands estimate their memory first, and large buffers are refused with their size
//! (`nplus1::memory`). For all other allocations, Rust ends a program that gets no memory by
//! SIGABRT, which shells report as 134. Here the allocator notes that it had none, and the handler of
//! that signal then ends the process in order. It only writes and exits: no memory is taken, no
//! destructor runs. What is on disk stays as after a kill: files are whole, locks are released by the
//! system, and a temporary file is removed by the next run in its folder.
//!
//! Threads that the standard library cannot start, or not set up, panic; their messages are known,
//! and end the process in the same way.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code of refused memory or threads.
const EXIT_CODE: i32 = 5;

const NO_MEMORY: &str = "error: not enough memory: the system refused an allocation\n  \
    help: take fewer rows (data.limit), narrower layers, a smaller train.batch_size or fewer --threads, or allow more memory (ulimit -v, the limit of the container)\n";
const NO_THREAD: &str = "error: the system refused to start a thread\n  \
    help: ask for fewer with --threads, or allow more memory and processes (ulimit -v, ulimit -u, the limit of the container)\n";

/// Messages with which the standard library panics if a thread cannot be started or set up.
const REFUSED_THREADS: [&str; 4] = [
    "failed to spawn thread",
    "failed to allocate an alternative stack",
    "failed to allocate a guard page",
    "failed to set up alternative stack guard page",
];

/// Whether an allocation has failed.
static FAILED: AtomicBool = AtomicBool::new(false);

/// The system's allocator, which notes that it had no memory.
pub struct WatchedAllocator;

impl WatchedAllocator {
    #[inline]
    fn noted(pointer: *mut u8) -> *mut u8 {
        if pointer.is_null() {
            FAILED.store(true, Ordering::Relaxed);
        }
        pointer
    }
}

// SAFETY: every call is passed on unchanged to the system's allocator, or answered with null, which
// says that there is no memory.
unsafe impl GlobalAlloc for WatchedAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if planted::fails(layout.size()) {
            return Self::noted(std::ptr::null_mut());
        }
        // SAFETY: the caller guarantees what `alloc` requires.
        Self::noted(unsafe { System.alloc(layout) })
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if planted::fails(layout.size()) {
            return Self::noted(std::ptr::null_mut());
        }
        // SAFETY: as for `alloc`.
        Self::noted(unsafe { System.alloc_zeroed(layout) })
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if planted::fails(size) {
            return Self::noted(std::ptr::null_mut());
        }
        // SAFETY: the caller guarantees what `realloc` requires.
        Self::noted(unsafe { System.realloc(pointer, layout, size) })
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees what `dealloc` requires.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Makes refused memory and threads end the process with exit code 5.
pub fn end_in_order() {
    planted::read();
    share_address_space();
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if is_refused_thread(info) {
            end(NO_THREAD);
        }
        default(info);
    }));
    #[cfg(unix)]
    // SAFETY: the handler only reads an atomic, writes and exits, all of which signals allow.
    unsafe {
        let handler: extern "C" fn(libc::c_int) = on_abort;
        libc::signal(libc::SIGABRT, handler as libc::sighandler_t);
    }
}

/// Where the address space is limited, lets all threads allocate from one arena: by default, glibc
/// reserves 64 MiB of addresses for each thread, of which it uses little.
fn share_address_space() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if rustix::process::getrlimit(rustix::process::Resource::As)
        .current
        .is_some()
    {
        // SAFETY: the call changes a setting of the allocator, before any other thread is started.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    }
}

/// Ends the process in order if it aborts for want of memory. Otherwise `abort` ends it itself.
#[cfg(unix)]
extern "C" fn on_abort(_: libc::c_int) {
    if FAILED.load(Ordering::Relaxed) {
        end(NO_MEMORY);
    }
}

fn is_refused_thread(info: &PanicHookInfo<'_>) -> bool {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let mut known = REFUSED_THREADS.iter();
    message.is_some_and(|message| known.any(|known| message.starts_with(known)))
}

/// Writes `message` and ends the process without running anything else.
fn end(message: &str) -> ! {
    #[cfg(unix)]
    // SAFETY: the pointer and the length are those of `message`; both calls are allowed in a handler
    // of a signal.
    unsafe {
        libc::write(2, message.as_ptr().cast(), message.len());
        libc::_exit(EXIT_CODE)
    }
    #[cfg(not(unix))]
    {
        eprint!("{message}");
        std::process::exit(EXIT_CODE)
    }
}

/// In test builds, fails one allocation that the environment chooses.
#[cfg(debug_assertions)]
mod planted {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    /// The variable: `N` or `N:BYTES`, the number of the allocation that fails, from 1, among those of
    /// at least `BYTES` bytes.
    const VARIABLE: &str = "NPLUS1_FAIL_ALLOCATION";
    /// The size from which allocations count by default.
    const LARGE: usize = 1 << 16;

    /// Allocations up to the one that fails; 0: none fails.
    static LEFT: AtomicU64 = AtomicU64::new(0);
    static LEAST: AtomicUsize = AtomicUsize::new(usize::MAX);

    /// Reads the variable.
    pub fn read() {
        let Ok(value) = std::env::var(VARIABLE) else {
            return;
        };
        let (number, least) = value.split_once(':').unwrap_or((&value, ""));
        LEFT.store(number.parse().unwrap_or(0), Ordering::Relaxed);
        LEAST.store(least.parse().unwrap_or(LARGE), Ordering::Relaxed);
    }

    /// Returns whether this allocation is the one that fails.
    pub fn fails(size: usize) -> bool {
        size >= LEAST.load(Ordering::Relaxed)
            && LEFT
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok_and(|left| left == 1)
    }
}

#[cfg(not(debug_assertions))]
mod planted {
    pub fn read() {}

    #[inline(always)]
    pub fn fails(_: usize) -> bool {
        false
    }
}
