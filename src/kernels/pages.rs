//! Huge pages for buffers that are read at random.
//!
//! Rows of a mini-batch lie anywhere in tens of megabytes. On pages of 4 KiB, nearly every row
//! costs a walk through the page table before its data can be requested.

/// Asks the system to back the spare capacity of `values` with huge pages. Only memory that was
/// never touched benefits, so the call belongs before the first value is pushed. A refusal is
/// ignored.
pub fn prefer_huge<T>(values: &mut Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let spare = values.spare_capacity_mut();
        let bytes = size_of_val(spare);
        let skipped = spare.as_ptr().addr().wrapping_neg() % PAGE;
        if bytes > skipped + PAGE {
            let start = spare.as_mut_ptr().cast::<u8>().wrapping_add(skipped);
            // SAFETY: the range begins at a page and lies in this allocation; advice changes no
            // content.
            unsafe { libc::madvise(start.cast(), bytes - skipped, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = values;
}
