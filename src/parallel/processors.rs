//! The processors that this process may use: the order in which threads should take them, and the
//! time for which they were busy.
//!
//! A value that the operating system does not report is `None`, never guessed.

use std::fs;
use std::time::Instant;

/// Watches how busy other processes keep the machine.
#[derive(Clone, Copy, Debug)]
pub struct OtherLoad {
    start: Instant,
    before: Option<f64>,
}

impl OtherLoad {
    /// Watches from now on.
    pub fn watch() -> Self {
        Self {
            start: Instant::now(),
            before: seconds_of_others(),
        }
    }

    /// Returns the mean number of processors that other processes kept busy since then.
    pub fn processors(self) -> Option<f64> {
        let used = seconds_of_others()? - self.before?;
        Some(used.max(0.0) / self.start.elapsed().as_secs_f64())
    }
}

/// Returns the processor seconds that other processes have used since the machine started.
fn seconds_of_others() -> Option<f64> {
    Some(machine_busy_seconds()? - busy_seconds()?)
}

/// Returns the logical processors that this process may use, the first of each physical core before
/// the second of any: the first p entries are p different cores, if there are p cores. `None` if
/// the system does not pin threads.
pub fn in_order() -> Option<Vec<usize>> {
    let allowed = allowed()?;
    let core = |processor: usize| {
        let topology = format!("/sys/devices/system/cpu/cpu{processor}/topology");
        let read = |file: &str| fs::read_to_string(format!("{topology}/{file}")).ok();
        read("physical_package_id").zip(read("core_id"))
    };
    Some(by_core(&allowed, core))
}

/// Sorts `processors` so that the first of each core comes before the second of any core. A
/// processor whose core is unknown counts as a separate core.
fn by_core<C: PartialEq>(processors: &[usize], core: impl Fn(usize) -> Option<C>) -> Vec<usize> {
    let mut seen: Vec<(C, usize)> = Vec::new();
    let mut ranked: Vec<(usize, usize)> = Vec::new();
    for &processor in processors {
        let rank = match core(processor) {
            None => 0,
            Some(core) => match seen.iter_mut().find(|(known, _)| *known == core) {
                Some((_, count)) => {
                    *count += 1;
                    *count - 1
                }
                None => {
                    seen.push((core, 1));
                    0
                }
            },
        };
        ranked.push((rank, processor));
    }
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, processor)| processor).collect()
}

/// Returns the logical processors in this process's affinity mask.
#[cfg(target_os = "linux")]
fn allowed() -> Option<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None).ok()?;
    let processors = 0..rustix::thread::CpuSet::MAX_CPU;
    Some(
        processors
            .filter(|&processor| set.is_set(processor))
            .collect(),
    )
}

#[cfg(not(target_os = "linux"))]
fn allowed() -> Option<Vec<usize>> {
    None
}

/// Returns the number of logical processors of this machine, whether this process may use them or
/// not; the number that it may use if the system does not tell.
pub fn of_machine() -> usize {
    #[cfg(target_os = "linux")]
    {
        let online = fs::read_to_string("/sys/devices/system/cpu/online").ok();
        if let Some(online) = online.as_deref().and_then(count_in_ranges) {
            return online;
        }
    }
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Counts the numbers of a list such as `0-3,8`.
#[cfg(target_os = "linux")]
fn count_in_ranges(list: &str) -> Option<usize> {
    let range = |range: &str| -> Option<usize> {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
        (to + 1).checked_sub(from)
    };
    list.trim().split(',').map(range).sum()
}

/// Pins the calling thread to one logical processor if the system allows it.
pub(super) fn pin(processor: usize) {
    #[cfg(target_os = "linux")]
    {
        let mut set = rustix::thread::CpuSet::new();
        set.set(processor);
        // A failure is ignored: an unpinned thread is at worst slower.
        let _ = rustix::thread::sched_setaffinity(None, &set);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = processor;
}

/// Returns the processor time of this process in seconds, summed over its threads.
#[cfg(unix)]
pub fn busy_seconds() -> Option<f64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9)
}

/// Returns the processor time of this process in seconds, summed over its threads.
#[cfg(not(unix))]
pub fn busy_seconds() -> Option<f64> {
    None
}

/// Returns the time for which the machine's processors were busy since it started, in seconds,
/// summed over all processors and all processes. The resolution is about a hundredth of a second.
pub fn machine_busy_seconds() -> Option<f64> {
    busy_of(&fs::read_to_string("/proc/stat").ok()?)
}

/// Reads the busy seconds from the text of `/proc/stat`.
///
/// The unit is 1/100 s on every Linux (USER_HZ). User, nice, system, irq, softirq and steal count
/// as busy; idle and iowait do not; guest time is included in user time already.
fn busy_of(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<f64> = (line.split_whitespace())
        .map_while(|field| field.parse().ok())
        .collect();
    let [user, nice, system, _idle, _waiting, irq, softirq, steal, ..] = ticks[..] else {
        return None;
    };
    Some((user + nice + system + irq + softirq + steal) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_processor_of_every_core_comes_before_the_second_of_any() {
        // 0 and 2 share a core, 1 and 3 another; the core of 7 is unknown.
        let core = |processor| (processor < 4).then_some(processor % 2);
        assert_eq!(by_core(&[0, 1, 2, 3, 7], core), [0, 1, 7, 2, 3]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn processors_are_counted_in_a_list_of_ranges() {
        assert_eq!(count_in_ranges("0-3,8\n"), Some(5));
        assert_eq!(count_in_ranges("0"), Some(1));
        assert_eq!(count_in_ranges("x"), None);
        assert!(of_machine() >= 1);
    }

    #[test]
    fn idle_and_iowait_do_not_count_as_busy() {
        let stat = "cpu  100 20 30 9999 888 4 5 6 50 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(busy_of(stat), Some(1.65));
        assert_eq!(busy_of("cpu 1 2 3\n"), None);
        assert_eq!(busy_of("intr 5\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_affinity_and_the_processor_time_of_this_process_are_known() {
        let order = in_order().unwrap();
        assert!(!order.is_empty());
        let before = busy_seconds().unwrap();
        let mut sum = 0.0f64;
        while busy_seconds().unwrap() - before < 1e-3 {
            sum += std::hint::black_box(1.0);
        }
        assert!(sum > 0.0 && machine_busy_seconds().unwrap() > 0.0);
    }
}
