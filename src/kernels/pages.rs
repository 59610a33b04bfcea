//! Large pages for what is read at random.
//!
//! Rows of a mini-batch lie anywhere in tens of megabytes; on pages of 4 KiB nearly every one
//! costs a walk through the page table before its data can even be asked for.

/// Asks the system to back the room of `values` with huge pages. Only memory that was never
/// touched gains, so it comes before the first value; where the system refuses, nothing is lost.
pub fn prefer_huge<T>(values: &mut Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let room = values.spare_capacity_mut();
        let bytes = size_of_val(room);
        let skipped = room.as_ptr().addr().wrapping_neg() % PAGE;
        if bytes > skipped + PAGE {
            let start = room.as_mut_ptr().cast::<u8>().wrapping_add(skipped);
            // SAFETY: whole pages of this allocation; advice changes no content.
            unsafe { libc::madvise(start.cast(), bytes - skipped, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = values;
}
