//! Huge pages for buffers that are read at random, or are large.
//!
//! Rows of a mini-batch lie anywhere in tens of megabytes. On pages of 4 KiB, nearly every row
//! costs a walk through the page table before its data can be requested. And the values of a step
//! over many rows take gigabytes, which the system provides and takes back page by page.

/// Asks the system to back `memory` with huge pages: zeros that were never touched, or the spare
/// capacity of a vector. Memory that has its pages does not benefit. A refusal is ignored.
pub fn prefer_huge<T>(memory: *mut [T]) {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let start = memory.cast::<u8>();
        let bytes = memory.len() * size_of::<T>();
        let skipped = start.addr().wrapping_neg() % PAGE;
        if bytes > skipped + PAGE {
            let start = start.wrapping_add(skipped);
            // SAFETY: the range begins at a page; advice changes no content, wherever it is.
            unsafe { libc::madvise(start.cast(), bytes - skipped, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}
