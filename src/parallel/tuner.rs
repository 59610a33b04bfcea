//! The tuner: chooses the division of a step by measurement: the number of workers, and what they
//! divide.
//!
//! More workers are slower than fewer if a step is too small to share, or if another process holds
//! a core; a split by rows pays with large mini-batches. So steps run in segments of about 8 ms. Now
//! and then a trial uses another division; if it is faster, it becomes the new choice. Timing
//! decides which workers compute, never what: the bits stay the same.

use std::time::Duration;

use super::Division;

/// Length of a segment in seconds: a hundred times what it takes to wake the workers.
const SEGMENT: f64 = 8e-3;
/// Shortest trial of another division, in seconds. Only its last segment counts: an idle
/// core needs milliseconds to reach full speed, and a worker's share of θ to move to its caches.
const TRIAL: f64 = 12e-3;
/// Pause between two trials, as a multiple of a trial's length: short at first, while the data is
/// still moving to the caches, then doubled after each trial up to the last.
const FIRST_PAUSE: f64 = 1.0;
const LAST_PAUSE: f64 = 64.0;
/// Shortest pause before a trial with a single step longer than [`TRIAL`]. Such a step is large
/// enough to share; fewer workers are faster only if another process holds a core.
const SLOW_PAUSE: f64 = 20.0;

/// Chooses the division of the next segment's steps.
#[derive(Clone, Debug)]
pub struct Tuner {
    candidates: Vec<Candidate>,
    current: usize,
    /// The best candidate when it was last determined.
    last_best: usize,
    /// Seconds that the trial in progress has taken, if there is one.
    trial: Option<f64>,
    /// Seconds since the last trial began or the best candidate changed.
    since_trial: f64,
    /// Pause before the next trial, as a multiple of a trial's length.
    pause: f64,
    /// Trials of candidates that had been tried before; its parity alternates the neighbors.
    repeated_trials: usize,
}

/// A division, and the time that a step takes with it.
#[derive(Clone, Debug)]
struct Candidate {
    division: Division,
    /// The last three measurements, in seconds per step: their median counts, so that one disturbed
    /// segment changes nothing. Provisional until the first trial has ended.
    recent: Option<[f64; 3]>,
    /// True once a trial of it has ended.
    tried: bool,
}

impl Candidate {
    /// Returns the median of the last three measurements.
    fn seconds_per_step(&self) -> Option<f64> {
        let [a, b, c] = self.recent?;
        Some(a.max(b).min(a.min(b).max(c)))
    }
}

impl Tuner {
    /// Creates a tuner that chooses among `divisions`, a ring in which neighbors are alike.
    ///
    /// # Panics
    /// Without any division.
    pub fn among(divisions: Vec<Division>) -> Self {
        let candidates = divisions.into_iter().map(|division| Candidate {
            division,
            recent: None,
            tried: false,
        });
        let mut tuner = Self {
            candidates: candidates.collect(),
            current: 0,
            last_best: 0,
            trial: None,
            since_trial: 0.0,
            pause: FIRST_PAUSE,
            repeated_trials: 0,
        };
        tuner.current = tuner.best();
        tuner.last_best = tuner.current;
        tuner
    }

    /// Returns the division and the number of steps of the next segment.
    pub fn plan(&mut self) -> (Division, usize) {
        if self.trial.is_none() {
            self.choose();
        }
        let chosen = &self.candidates[self.current];
        let steps = match chosen.seconds_per_step() {
            Some(seconds) => (SEGMENT / seconds.max(1e-9)).clamp(1.0, 1e6) as usize,
            None => 1,
        };
        (chosen.division, steps)
    }

    /// Makes the best candidate current, or begins a trial of another one if it is time.
    fn choose(&mut self) {
        let best = self.best();
        if best != self.last_best {
            // Something has changed: the next trial should come soon.
            self.pause = FIRST_PAUSE;
            self.since_trial = 0.0;
            self.last_best = best;
        }
        self.current = best;
        let Some(other) = self.next_candidate(best) else {
            return;
        };
        let cost = self.trial_cost(best, other);
        let slow = cost > TRIAL;
        let pause = match (self.candidates[other].tried, slow) {
            (false, false) => 0.0,
            (true, false) => self.pause,
            (_, true) => self.pause.max(SLOW_PAUSE),
        };
        if self.since_trial < pause * cost {
            return;
        }
        if self.candidates[other].tried {
            self.pause = (2.0 * self.pause).min(LAST_PAUSE);
            self.repeated_trials += 1;
        }
        self.since_trial = 0.0;
        self.trial = Some(0.0);
        self.current = other;
    }

    /// Returns the candidate of the next trial: one that was never tried, the most workers first;
    /// then the two neighbors of the best in turn.
    fn next_candidate(&self, best: usize) -> Option<usize> {
        let count = self.candidates.len();
        let untried = (0..count).rev().filter(|&k| !self.candidates[k].tried);
        let untried = untried.max_by_key(|&k| self.candidates[k].division.workers);
        if untried.is_some() || count == 1 {
            return untried;
        }
        let up = self.repeated_trials.is_multiple_of(2);
        Some((best + if up { 1 } else { count - 1 }) % count)
    }

    /// Returns the shortest duration of a trial of `other` in seconds: [`TRIAL`], or one step if
    /// that is longer, at the speed per worker that the best candidate has.
    fn trial_cost(&self, best: usize, other: usize) -> f64 {
        let best = &self.candidates[best];
        let workers = |candidate: &Candidate| candidate.division.workers as f64;
        let workers = workers(best) / workers(&self.candidates[other]);
        let step = best
            .seconds_per_step()
            .map_or(0.0, |seconds| seconds * workers);
        step.max(TRIAL)
    }

    /// Records that the `steps` steps of the last segment took the time `taken`.
    pub fn record(&mut self, steps: usize, taken: Duration) {
        let taken = taken.as_secs_f64();
        let measured = taken / steps.max(1) as f64;
        // A few steps at the end of an epoch measure the cost of waking the workers, not of a step.
        let representative = taken >= SEGMENT / 4.0;
        self.since_trial += taken;
        let chosen = &mut self.candidates[self.current];
        match &mut self.trial {
            // Earlier measurements are replaced: the machine may have changed between two trials.
            Some(seconds) => {
                *seconds += taken;
                chosen.recent = Some([measured; 3]);
                if *seconds >= TRIAL && representative {
                    chosen.tried = true;
                    self.trial = None;
                }
            }
            None if representative => {
                let [_, second, third] = chosen.recent.unwrap_or([measured; 3]);
                chosen.recent = Some([second, third, measured]);
            }
            None => {}
        }
    }

    /// Returns the fastest measured candidate; before any measurement, the one with the most
    /// workers.
    fn best(&self) -> usize {
        let seconds = |k: usize| {
            self.candidates[k]
                .seconds_per_step()
                .unwrap_or(f64::INFINITY)
        };
        let workers = |k: usize| self.candidates[k].division.workers;
        (0..self.candidates.len())
            .min_by(|&a, &b| {
                let faster = seconds(a).total_cmp(&seconds(b));
                faster.then(workers(b).cmp(&workers(a)))
            })
            .expect("a tuner has at least one candidate")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::Split;

    /// Returns a tuner among up to `most` workers of a method with one partition.
    fn up_to(most: usize) -> Tuner {
        Tuner::among(Division::candidates(&[(None, most)]))
    }

    /// Runs `segments` segments on a machine where a step takes `seconds(workers)`; returns the
    /// number of steps that each number of workers did.
    fn simulate(tuner: &mut Tuner, segments: usize, seconds: impl Fn(usize) -> f64) -> Vec<usize> {
        let mut steps_of = vec![0; 17];
        for _ in 0..segments {
            let (Division { workers, .. }, steps) = tuner.plan();
            steps_of[workers] += steps;
            tuner.record(
                steps,
                Duration::from_secs_f64(seconds(workers) * steps as f64),
            );
        }
        steps_of
    }

    #[test]
    fn the_fastest_number_of_workers_does_nearly_all_steps() {
        let mut tuner = up_to(16);
        let steps = simulate(
            &mut tuner,
            1000,
            |workers| if workers == 4 { 1e-5 } else { 2e-5 },
        );
        assert!(steps[4] * 10 > steps.iter().sum::<usize>() * 9, "{steps:?}");
    }

    #[test]
    fn the_choice_follows_a_machine_that_changes() {
        let mut tuner = up_to(2);
        simulate(&mut tuner, 100, |workers| 1e-5 / workers as f64);
        let steps = simulate(
            &mut tuner,
            2000,
            |workers| if workers == 1 { 1e-5 } else { 5e-5 },
        );
        assert!(steps[1] * 10 > steps.iter().sum::<usize>() * 8, "{steps:?}");
        let steps = simulate(&mut tuner, 2000, |workers| 1e-5 / workers as f64);
        assert!(steps[2] * 10 > steps.iter().sum::<usize>() * 8, "{steps:?}");
    }

    #[test]
    fn a_step_of_half_a_second_is_shared_from_the_first_step_on() {
        let mut tuner = up_to(2);
        let steps = simulate(&mut tuner, 20, |workers| 0.5 / workers as f64);
        assert_eq!(steps[2], 20, "{steps:?}");
        // One worker is still tried now and then: a core may be busy.
        let steps = simulate(&mut tuner, 200, |workers| 0.5 / workers as f64);
        assert!((1..10).contains(&steps[1]), "{steps:?}");
    }

    #[test]
    fn a_fixed_number_of_workers_never_changes() {
        let division = Division {
            split: None,
            workers: 5,
        };
        let mut tuner = Tuner::among(vec![division]);
        let steps = simulate(&mut tuner, 100, |_| 1e-3);
        assert_eq!(steps[5], steps.iter().sum::<usize>());
    }

    #[test]
    fn the_faster_split_does_nearly_all_steps() {
        let splits = [(Some(Split::Units), 2), (Some(Split::Rows), 16)];
        let candidates = Division::candidates(&splits);
        let numbers = |split| {
            let of_split = candidates.iter().filter(|c| c.split == Some(split));
            of_split.map(|c| c.workers).collect::<Vec<_>>()
        };
        assert_eq!(numbers(Split::Units), [1, 2]);
        assert_eq!(numbers(Split::Rows), [16, 8, 4, 2]);
        for (fast, workers) in [(Split::Rows, 4), (Split::Units, 2), (Split::Units, 1)] {
            let mut tuner = Tuner::among(candidates.clone());
            let (mut fast_steps, mut all_steps) = (0, 0);
            for _ in 0..2000 {
                let (division, steps) = tuner.plan();
                let is_fast = division.split == Some(fast) && division.workers == workers;
                let seconds = if is_fast { 1e-5 } else { 2e-5 };
                tuner.record(steps, Duration::from_secs_f64(seconds * steps as f64));
                all_steps += steps;
                fast_steps += if is_fast { steps } else { 0 };
            }
            assert!(fast_steps * 10 > all_steps * 9, "{fast:?} {workers}");
        }
    }
}
