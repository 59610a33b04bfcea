//! The processors that this process may use: in which order threads should take them, and how busy
//! they are.
//!
//! What the operating system does not tell is absent, never guessed.

use std::fs;

/// The logical processors that this process may use, the first of each physical core before the
/// second of any: so the first p are p cores, as far as they go. Absent where the system does not
/// pin threads.
pub fn in_order() -> Option<Vec<usize>> {
    let allowed = allowed()?;
    let core = |processor: usize| {
        let topology = format!("/sys/devices/system/cpu/cpu{processor}/topology");
        let read = |file: &str| fs::read_to_string(format!("{topology}/{file}")).ok();
        read("physical_package_id").zip(read("core_id"))
    };
    Some(by_core(&allowed, core))
}

/// `processors`, those that are the first of their core before the others; one whose core is unknown
/// is a core of its own.
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

#[cfg(target_os = "linux")]
fn allowed() -> Option<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None).ok()?;
    let all = 0..rustix::thread::CpuSet::MAX_CPU;
    Some(all.filter(|&processor| set.is_set(processor)).collect())
}

#[cfg(not(target_os = "linux"))]
fn allowed() -> Option<Vec<usize>> {
    None
}

/// Keeps the calling thread on one logical processor, where the system allows it.
pub(super) fn pin(processor: usize) {
    #[cfg(target_os = "linux")]
    {
        let mut set = rustix::thread::CpuSet::new();
        set.set(processor);
        // A thread that stays free is slower at worst.
        let _ = rustix::thread::sched_setaffinity(None, &set);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = processor;
}

/// Seconds that all threads of this process together have been on a processor.
#[cfg(unix)]
pub fn busy_seconds() -> Option<f64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9)
}

/// Seconds that all threads of this process together have been on a processor.
#[cfg(not(unix))]
pub fn busy_seconds() -> Option<f64> {
    None
}

/// Seconds that the machine's processors have been busy since it started, all processes and all
/// processors together, in steps of some hundredths.
pub fn machine_busy_seconds() -> Option<f64> {
    busy_of(&fs::read_to_string("/proc/stat").ok()?)
}

/// The busy seconds in the text of `/proc/stat`: a hundredth of a second is its unit on every Linux
/// (USER_HZ), user, nice, system, irq, softirq and steal are busy, idle and iowait are not, and
/// guests are in user already.
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
    fn every_core_comes_before_the_second_thread_of_any() {
        // 0 and 2 share a core, 1 and 3 another; 7 is told nothing of.
        let core = |processor| (processor < 4).then_some(processor % 2);
        assert_eq!(by_core(&[0, 1, 2, 3, 7], core), [0, 1, 7, 2, 3]);
    }

    #[test]
    fn idle_and_waiting_are_not_busy() {
        let stat = "cpu  100 20 30 9999 888 4 5 6 50 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(busy_of(stat), Some(1.65));
        assert_eq!(busy_of("cpu 1 2 3\n"), None);
        assert_eq!(busy_of("intr 5\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_may_use_processors_and_uses_them() {
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
