//! The tuner: chooses the number of workers for a step by measurement.
//!
//! More workers are slower than fewer if a step is too small to share, or if another process holds
//! a core. So steps run in segments of about 8 ms. Now and then a trial uses another number of
//! workers; if it is faster, it becomes the new choice. Timing decides which workers compute, never
//! what: the bits stay the same.

use std::time::Duration;

/// Length of a segment in seconds: a hundred times what it takes to wake the workers.
const SEGMENT: f64 = 8e-3;
/// Shortest trial of another number of workers, in seconds. Only its last segment counts: an idle
/// core needs milliseconds to reach full speed, and a worker's share of θ to move to its caches.
const TRIAL: f64 = 12e-3;
/// Pause between two trials, as a multiple of a trial's length: short at first, while the data is
/// still moving to the caches, then doubled after each trial up to the last.
const FIRST_PAUSE: f64 = 1.0;
const LAST_PAUSE: f64 = 64.0;
/// Shortest pause before a trial with a single step longer than [`TRIAL`]. Such a step is large
/// enough to share; fewer workers are faster only if another process holds a core.
const SLOW_PAUSE: f64 = 20.0;

/// Chooses the number of workers of the next segment.
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

/// A number of workers, and the time that a step takes with it.
#[derive(Clone, Debug)]
struct Candidate {
    workers: usize,
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
    /// Creates a tuner that chooses among the powers of two below `most`, and `most`.
    pub fn up_to(most: usize) -> Self {
        let mut workers = 1;
        let mut candidates = Vec::new();
        while workers < most {
            candidates.push(workers);
            workers *= 2;
        }
        candidates.push(most);
        Self::of(candidates)
    }

    /// Creates a tuner that always chooses `workers`.
    pub fn exactly(workers: usize) -> Self {
        Self::of(vec![workers])
    }

    fn of(candidates: Vec<usize>) -> Self {
        let candidates: Vec<_> = candidates
            .into_iter()
            .map(|workers| Candidate {
                workers,
                recent: None,
                tried: false,
            })
            .collect();
        Self {
            current: candidates.len() - 1,
            last_best: candidates.len() - 1,
            candidates,
            trial: None,
            since_trial: 0.0,
            pause: FIRST_PAUSE,
            repeated_trials: 0,
        }
    }

    /// Returns the number of workers and the number of steps of the next segment.
    pub fn plan(&mut self) -> (usize, usize) {
        if self.trial.is_none() {
            self.choose();
        }
        let chosen = &self.candidates[self.current];
        let steps = match chosen.seconds_per_step() {
            Some(seconds) => (SEGMENT / seconds.max(1e-9)).clamp(1.0, 1e6) as usize,
            None => 1,
        };
        (chosen.workers, steps)
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
        let untried = self.candidates.iter().rposition(|c| !c.tried);
        if untried.is_some() || self.candidates.len() == 1 {
            return untried;
        }
        let up = self.repeated_trials.is_multiple_of(2);
        Some(match best {
            0 => 1,
            _ if best + 1 == self.candidates.len() || !up => best - 1,
            _ => best + 1,
        })
    }

    /// Returns the shortest duration of a trial of `other` in seconds: [`TRIAL`], or one step if
    /// that is longer, at the speed per worker that the best candidate has.
    fn trial_cost(&self, best: usize, other: usize) -> f64 {
        let best = &self.candidates[best];
        let workers = best.workers as f64 / self.candidates[other].workers as f64;
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
        (0..self.candidates.len())
            .rev()
            .min_by(|&a, &b| seconds(a).total_cmp(&seconds(b)))
            .expect("a tuner has at least one candidate")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `segments` segments on a machine where a step takes `seconds(workers)`; returns the
    /// number of steps that each number of workers did.
    fn simulate(tuner: &mut Tuner, segments: usize, seconds: impl Fn(usize) -> f64) -> Vec<usize> {
        let mut steps_of = vec![0; 17];
        for _ in 0..segments {
            let (workers, steps) = tuner.plan();
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
        let mut tuner = Tuner::up_to(16);
        let steps = simulate(
            &mut tuner,
            1000,
            |workers| if workers == 4 { 1e-5 } else { 2e-5 },
        );
        assert!(steps[4] * 10 > steps.iter().sum::<usize>() * 9, "{steps:?}");
    }

    #[test]
    fn the_choice_follows_a_machine_that_changes() {
        let mut tuner = Tuner::up_to(2);
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
        let mut tuner = Tuner::up_to(2);
        let steps = simulate(&mut tuner, 20, |workers| 0.5 / workers as f64);
        assert_eq!(steps[2], 20, "{steps:?}");
        // One worker is still tried now and then: a core may be busy.
        let steps = simulate(&mut tuner, 200, |workers| 0.5 / workers as f64);
        assert!((1..10).contains(&steps[1]), "{steps:?}");
    }

    #[test]
    fn a_fixed_number_of_workers_never_changes() {
        let mut tuner = Tuner::exactly(5);
        let steps = simulate(&mut tuner, 100, |_| 1e-3);
        assert_eq!(steps[5], steps.iter().sum::<usize>());
    }
}
