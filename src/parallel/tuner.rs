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
/// Length of the segment that a trial measures, in seconds.
const MEASURED: f64 = 4e-3;
/// Time before it, in seconds, in which a worker's share of θ moves to its caches; and the time in
/// which a core that was idle reaches full speed.
const WARM_UP: f64 = 2e-3;
const WAKE_UP: f64 = 8e-3;
/// Part of the time that repeated trials of slower divisions may cost.
const EXPLORATION: f64 = 0.02;
/// Least cost of a trial, as a part of its time: the workers' shares of θ move twice.
const LEAST_LOSS: f64 = 0.05;

/// Chooses the division of the next segment's steps.
#[derive(Clone, Debug)]
pub struct Tuner {
    candidates: Vec<Candidate>,
    current: usize,
    trial: Option<Trial>,
    /// Seconds of all steps.
    elapsed: f64,
    /// Seconds that repeated trials cost: their time, less the time of the same steps by the best
    /// division.
    lost: f64,
    /// Trials of candidates that had been tried before; its parity alternates the neighbors.
    repeated_trials: usize,
}

/// A trial in progress.
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// Seconds so far.
    taken: f64,
    /// Seconds before the measured segment.
    warm_up: f64,
    /// Seconds per step of the best division; infinite in the first trial of a candidate.
    best: f64,
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
            trial: None,
            elapsed: 0.0,
            lost: 0.0,
            repeated_trials: 0,
        };
        tuner.current = tuner.best();
        tuner
    }

    /// Returns the division and the number of steps of the next segment.
    pub fn plan(&mut self) -> (Division, usize) {
        if self.trial.is_none() {
            self.choose();
        }
        let length = match self.trial {
            None => SEGMENT,
            Some(trial) if trial.taken < trial.warm_up => trial.warm_up - trial.taken,
            Some(_) => MEASURED,
        };
        let chosen = &self.candidates[self.current];
        let steps = match chosen.seconds_per_step() {
            Some(seconds) => (length / seconds.max(1e-9)).clamp(1.0, 1e6) as usize,
            None => 1,
        };
        (chosen.division, steps)
    }

    /// Makes the best candidate current, or begins a trial of another one if trials have cost
    /// little so far.
    fn choose(&mut self) {
        let workers_before = self.candidates[self.current].division.workers;
        let best = self.best();
        self.current = best;
        let best_seconds = self.candidates[best].seconds_per_step();
        for other in self.next_candidates(best) {
            let Candidate {
                division, tried, ..
            } = self.candidates[other];
            let warm_up = match division.workers > workers_before || best_seconds.is_none() {
                true => WAKE_UP,
                false => WARM_UP,
            };
            if !self.is_affordable(other, best, warm_up) {
                continue;
            }
            self.repeated_trials += usize::from(tried);
            self.current = other;
            self.trial = Some(Trial {
                taken: 0.0,
                warm_up,
                // The first trial of a candidate is a cost that nothing saves.
                best: best_seconds.filter(|_| tried).unwrap_or(f64::INFINITY),
            });
            return;
        }
    }

    /// Returns the candidates of the next trial: one that was never tried, the most workers first;
    /// then the two neighbors of the best, in turn the first.
    fn next_candidates(&self, best: usize) -> Vec<usize> {
        let count = self.candidates.len();
        let untried = (0..count).rev().filter(|&k| !self.candidates[k].tried);
        if let Some(untried) = untried.max_by_key(|&k| self.candidates[k].division.workers) {
            return vec![untried];
        }
        let mut neighbors = vec![(best + 1) % count, (best + count - 1) % count];
        if !self.repeated_trials.is_multiple_of(2) {
            neighbors.reverse();
        }
        neighbors.retain(|&neighbor| neighbor != best);
        neighbors
    }

    /// Returns whether a trial of `other` is affordable: the first one if its steps are short, and
    /// others as long as repeated trials cost no more than [`EXPLORATION`].
    fn is_affordable(&self, other: usize, best: usize, warm_up: f64) -> bool {
        let Some(best_seconds) = self.candidates[best].seconds_per_step() else {
            return true;
        };
        let seconds = self.expected_seconds(other, best);
        if !self.candidates[other].tried && seconds <= MEASURED {
            return true;
        }
        let length = seconds.max(warm_up + MEASURED);
        let loss = length * (1.0 - best_seconds / seconds).max(LEAST_LOSS);
        self.lost + loss <= EXPLORATION * self.elapsed
    }

    /// Returns the seconds per step of candidate `other`: as measured, or at the speed per worker
    /// that the best candidate has.
    fn expected_seconds(&self, other: usize, best: usize) -> f64 {
        let [other, best] = [other, best].map(|k| &self.candidates[k]);
        let workers = |candidate: &Candidate| candidate.division.workers as f64;
        let predicted = best.seconds_per_step().unwrap_or(0.0) * workers(best) / workers(other);
        other.seconds_per_step().unwrap_or(predicted)
    }

    /// Records that the `steps` steps of the last segment took the time `taken`.
    pub fn record(&mut self, steps: usize, taken: Duration) {
        let taken = taken.as_secs_f64();
        let measured = taken / steps.max(1) as f64;
        self.elapsed += taken;
        let chosen = &mut self.candidates[self.current];
        // A few steps at the end of an epoch measure the cost of waking the workers, not of a step.
        match &mut self.trial {
            // Earlier measurements are replaced: the machine may have changed between two trials.
            Some(trial) => {
                trial.taken += taken;
                self.lost += (taken - steps as f64 * trial.best).max(0.0);
                chosen.recent = Some([measured; 3]);
                if trial.taken >= trial.warm_up + MEASURED / 2.0 && taken >= MEASURED / 2.0 {
                    chosen.tried = true;
                    self.trial = None;
                }
            }
            None if taken >= SEGMENT / 4.0 => {
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
