//! The conditions that make the results of a scaling study doubtful.

use super::placement::Placement;
use super::plan::{ScalingPlan, ScalingSample};
use super::rows::SynchronizationTime;
use crate::numeric::statistics;
use crate::study::table::counted;

/// Returns warnings about conditions that make the results doubtful.
///
/// `others` is the processor time that other processes used meanwhile, in processors, if the system
/// reports it; `[cores, processors]` are the numbers of physical cores and logical processors that
/// the process may use.
pub fn warnings(
    plan: &ScalingPlan,
    samples: &[ScalingSample],
    others: Option<f64>,
    [cores, processors]: [usize; 2],
) -> Vec<String> {
    /// Share of a processor below which other processes do not matter.
    const QUIET: f64 = 0.05;
    /// Relative change of the clock rate that does not matter.
    const STEADY: f64 = 0.05;
    /// Ratio of the slowest to the fastest synchronization: smaller between neighbors, three to
    /// five when threads move apart.
    const MAX_RATIO: f64 = 2.0;
    let mut warnings = Vec::new();
    if let Some(others) = others.filter(|&others| others > QUIET) {
        warnings.push(format!(
            "other processes used {others:.2} processors during the study: expect noise, and speedups that are too low"
        ));
    }
    let between = |most: usize, above: usize| -> Vec<String> {
        let counts = plan.threads.iter().copied();
        let within = counts.filter(|&threads| threads > above && threads <= most);
        within.map(|threads| threads.to_string()).collect()
    };
    let sharing = between(processors, cores);
    if !sharing.is_empty() {
        warnings.push(format!(
            "more threads than {} to use: {}; they share cores",
            counted(cores, "physical core"),
            sharing.join(", ")
        ));
    }
    let placements = samples.iter().map(|sample| Placement::of(sample, samples));
    let shared = placements.filter(|&placement| placement == Some(Placement::SharedCore));
    match (shared.count(), samples.iter().filter(|sample| sample.threads > 1).count()) {
        (0, _) => {}
        (shared, all) if shared == all => warnings.push(
            "in all samples several threads did arithmetic no faster than one, as on one physical core, or beside a process that holds one: no speedup could be seen; try again later, or on another machine".to_owned(),
        ),
        (shared, all) => warnings.push(format!(
            "in {shared} of {all} samples with several threads these did arithmetic hardly faster than one, as on one physical core, or beside a process that holds one; the medians leave these out"
        )),
    }
    let fewest = plan.threads.iter().min().copied().unwrap_or(1);
    let peaks: Vec<f64> = (samples.iter())
        .filter(|sample| sample.threads == fewest)
        .map(|sample| sample.peak_operations)
        .collect();
    let at = |quantile| statistics::quantile(&peaks, quantile);
    if let (Some(low), Some(high)) = (at(0.1), at(0.9))
        && low < (1.0 - STEADY) * high
    {
        warnings.push(format!(
            "the clock changed, or {} did not stay on a core: the peak rate varied from {:.1} to {:.1} GFLOP/s between samples",
            counted(fewest, "thread"),
            low / 1e9,
            high / 1e9
        ));
    }
    let within = plan
        .threads
        .iter()
        .filter(|&&threads| threads > 1 && threads <= processors);
    for meeting in within.filter_map(|&threads| SynchronizationTime::of(threads, samples)) {
        let [low, high] = meeting.range;
        if high > MAX_RATIO * low {
            warnings.push(format!(
                "synchronizing {} threads took {:.0} to {:.0} ns, depending on the sample: their processors did not always share a cache, or another process occupied one",
                meeting.threads,
                low * 1e9,
                high * 1e9
            ));
        }
    }
    warnings
}
