//! The memory that this process may still take, and buffers that are refused before they fail.
//!
//! Three limits count: what the machine has available, what the control groups of the process leave
//! (versions 1 and 2), and the address space (`RLIMIT_AS`, set by `ulimit -v`). A limit that the
//! operating system does not report is no limit, never a guess.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Requests of fewer bytes are left to the allocator: reading the limits takes some ten
/// microseconds.
const SMALL: u64 = 1 << 22;

/// The memory that is left, and the limit that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvailableMemory {
    /// Bytes.
    pub bytes: u64,
    /// The limit, for messages.
    pub limit: MemoryLimit,
}

/// What limits the memory of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// The memory of the machine.
    Machine,
    /// The limit of a control group, such as that of a container.
    ControlGroup,
    /// The limit of the address space.
    AddressSpace,
}

impl MemoryLimit {
    /// Names the limit, and where it is set.
    fn name(self) -> &'static str {
        match self {
            Self::Machine => "on this machine",
            Self::ControlGroup => "within the limit of the control group or container",
            Self::AddressSpace => "within the limit of the address space, `ulimit -v`",
        }
    }
}

/// Returns the memory that the process can still allocate: the smallest of the limits; `None` if the
/// operating system reports none.
pub fn available() -> Option<AvailableMemory> {
    #[cfg(unix)]
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current;
    #[cfg(not(unix))]
    let limit = None;
    smallest(Path::new("/"), limit)
}

/// Refuses work that needs more memory than is available. `needed` in bytes; `work` is a noun and its
/// verb, such as `the training needs`; `help` says what would need less.
///
/// # Errors
/// [`Error::Resources`] with both sizes.
pub fn check(needed: f64, work: &str, help: &str) -> Result<()> {
    match available() {
        Some(available) if needed > available.bytes as f64 => {
            Err(too_little(needed, available, work, help))
        }
        _ => Ok(()),
    }
}

/// Describes memory that does not suffice.
fn too_little(needed: f64, available: AvailableMemory, work: &str, help: &str) -> Error {
    Error::Resources(format!(
        "{work} {} of memory; {} are available {}\n  help: {help}, or allow more memory",
        bytes(needed),
        bytes(available.bytes as f64),
        available.limit.name()
    ))
}

/// Makes room for exactly `count` more elements in `buffer`. `work` and `help` as for [`check`].
///
/// # Errors
/// [`Error::Resources`] if there is not enough memory; `buffer` is unchanged.
pub fn reserve<T>(buffer: &mut Vec<T>, count: usize, work: &str, help: &str) -> Result<()> {
    let needed = count as f64 * size_of::<T>() as f64;
    if needed >= SMALL as f64 {
        check(needed, work, help)?;
    }
    buffer.try_reserve_exact(count).map_err(|_| {
        Error::Resources(format!(
            "{work} {} of memory, which the system refuses\n  help: {help}, or allow more memory",
            bytes(needed)
        ))
    })
}

/// Spells a number of bytes in the largest unit not above it: `512 B`, `3.2 MiB`.
pub fn bytes(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && value < 100.0);
    format!("{value:.decimals$} {}", units[unit])
}

/// Returns the smallest limit, from the files of the system below `root` and the limit of the address
/// space.
fn smallest(root: &Path, address_space: Option<u64>) -> Option<AvailableMemory> {
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_default();
    let machine = kibibytes(&read("proc/meminfo"), "MemAvailable");
    let used = kibibytes(&read("proc/self/status"), "VmSize").unwrap_or(0);
    let limits = [
        (MemoryLimit::Machine, machine),
        (
            MemoryLimit::ControlGroup,
            left_in_groups(root, &read("proc/self/cgroup")),
        ),
        (
            MemoryLimit::AddressSpace,
            address_space.map(|limit| limit.saturating_sub(used)),
        ),
    ];
    let limits = limits.into_iter().filter_map(|(limit, bytes)| {
        let bytes = bytes?;
        Some(AvailableMemory { bytes, limit })
    });
    limits.min_by_key(|available| available.bytes)
}

/// Returns what the memory limits of the control groups in `groups`, the text of
/// `/proc/self/cgroup`, and of the groups around them leave.
fn left_in_groups(root: &Path, groups: &str) -> Option<u64> {
    let mut least: Option<u64> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        // Version 2 has one hierarchy, without names of controllers.
        let (mount, files) = match controllers {
            "" => (
                "sys/fs/cgroup",
                ["memory.max", "memory.current", "inactive_file"],
            ),
            _ if controllers.split(',').any(|name| name == "memory") => (
                "sys/fs/cgroup/memory",
                [
                    "memory.limit_in_bytes",
                    "memory.usage_in_bytes",
                    "total_inactive_file",
                ],
            ),
            _ => continue,
        };
        let mount = root.join(mount);
        let group = PathBuf::from(path.trim_start_matches('/'));
        // In a container the path may be that of the host: its folders are missing then, and those
        // of the container are at the root.
        for group in group.ancestors() {
            least = least
                .into_iter()
                .chain(left_in_group(&mount.join(group), files))
                .min();
        }
    }
    least
}

/// Returns what the limit of a control group leaves. Cached files that nobody uses count as used
/// there, although they give way.
fn left_in_group(group: &Path, [most, used, reclaimable]: [&str; 3]) -> Option<u64> {
    let read = |file: &str| fs::read_to_string(group.join(file)).ok();
    let number = |file: &str| -> Option<u64> { read(file)?.trim().parse().ok() };
    let (most, used) = (number(most)?, number(used)?);
    let statistics = read("memory.stat").unwrap_or_default();
    let cached = statistics.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == reclaimable).then(|| value.trim().parse::<u64>().ok())?
    });
    Some(most.saturating_sub(used.saturating_sub(cached.unwrap_or(0))))
}

/// Returns a field of `/proc/meminfo` or `/proc/self/status` that is in kibibytes, converted to bytes.
pub fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let count = line.strip_prefix(':')?.trim().strip_suffix("kB")?;
    count.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the files of a system.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let meminfo = ("proc/meminfo", "MemFree: 1 kB\nMemAvailable: 8192 kB\n");
        for (name, content) in files.iter().chain([&meminfo]) {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    fn found(files: &[(&str, &str)], limit: Option<u64>) -> (u64, MemoryLimit) {
        let available = smallest(system(files).path(), limit).unwrap();
        (available.bytes, available.limit)
    }

    #[test]
    fn the_smallest_limit_counts() {
        assert_eq!(found(&[], None), (8 << 20, MemoryLimit::Machine));
        let status = ("proc/self/status", "VmPeak:\t9 kB\nVmSize:\t    1024 kB\n");
        assert_eq!(
            found(&[status], Some(3 << 20)),
            (2 << 20, MemoryLimit::AddressSpace)
        );
        assert_eq!(
            found(&[status], Some(1 << 19)),
            (0, MemoryLimit::AddressSpace)
        );
    }

    #[test]
    fn control_groups_of_both_versions_count_and_so_do_those_around_them() {
        let second = [
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/memory.current", "1\n"),
            ("sys/fs/cgroup/a/memory.max", "5000000\n"),
            ("sys/fs/cgroup/a/memory.current", "4000000\n"),
            (
                "sys/fs/cgroup/a/memory.stat",
                "anon 7\ninactive_file 500000\n",
            ),
        ];
        assert_eq!(found(&second, None), (1_500_000, MemoryLimit::ControlGroup));
        let first = [
            (
                "proc/self/cgroup",
                "5:cpu:/x\n4:hugetlb,memory:/host/path\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "3000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1000\n"),
        ];
        assert_eq!(found(&first, None), (2000, MemoryLimit::ControlGroup));
        let none = [("proc/self/cgroup", "0::/a/b\n"), second[1], second[2]];
        assert_eq!(found(&none, None), (8 << 20, MemoryLimit::Machine));
    }

    #[test]
    fn bytes_are_spelled_in_the_largest_unit() {
        assert_eq!(bytes(512.0), "512 B");
        assert_eq!(bytes(3.25 * 1_048_576.0), "3.2 MiB");
    }

    #[test]
    fn too_large_a_buffer_is_refused_with_both_sizes() {
        let mut buffer: Vec<u64> = Vec::new();
        reserve(&mut buffer, 10, "ten numbers need", "take fewer").unwrap();
        assert!(buffer.capacity() >= 10);
        let error = reserve(&mut buffer, 1 << 58, "these need", "take fewer").unwrap_err();
        assert_eq!(error.exit_code(), 5);
        let message = error.to_string();
        for part in ["these need 2048 PiB", "are available", "help: take fewer"] {
            assert!(message.contains(part), "no `{part}` in {message}");
        }
        assert!(reserve(&mut buffer, 1 << 61, "these need", "take fewer").is_err());
    }
}
