//! How many workers a step deserves, found out by measuring.
//!
//! A step too small to share, or a core that another process holds, makes more workers slower
//! than fewer. So work is handed out in segments of some milliseconds; each candidate number of
//! workers is tried now and then, and the fastest does the rest. Timing decides who computes,
//! never what: the bits stay the same.

use std::time::Duration;

/// Length of a segment, in seconds: a hundred times what it takes to wake the workers.
const SEGMENT: f64 = 8e-3;
/// A look at another candidate lasts so long, in seconds, and its last segment counts: a core that
/// was idle takes milliseconds to come up to speed, and a worker's share of θ to move to its caches.
const WARM: f64 = 12e-3;
/// How often what a look takes passes between two looks: seldom at first, when the data is still on
/// its way to the caches, then twice as often each time up to the last.
const FIRST_PAUSE: f64 = 1.0;
const LAST_PAUSE: f64 = 64.0;
/// The same for a look at a step that fills a segment alone. Such a step is worth sharing by its
/// size; only another process on a core makes fewer workers faster.
const SLOW_PAUSE: f64 = 20.0;

/// Picks the number of workers of the next segment.
#[derive(Clone, Debug)]
pub struct Tuner {
    candidates: Vec<Candidate>,
    current: usize,
    /// The best when last chosen.
    settled: usize,
    /// Seconds of the look in progress, if there is one.
    look: Option<f64>,
    /// Seconds.
    since_look: f64,
    pause: f64,
    next_look: usize,
}

#[derive(Clone, Debug)]
struct Candidate {
    workers: usize,
    /// The last three measurements: their median counts, so that one disturbed segment changes
    /// nothing. Before the first look ends, a guess.
    recent: Option<[f64; 3]>,
    /// Whether a look at it has ended.
    seen: bool,
}

impl Candidate {
    fn seconds_a_step(&self) -> Option<f64> {
        let [a, b, c] = self.recent?;
        Some(a.max(b).min(a.min(b).max(c)))
    }
}

impl Tuner {
    /// Between 1 and `most` workers.
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

    /// Always `workers`: what the tests force.
    pub fn exactly(workers: usize) -> Self {
        Self::of(vec![workers])
    }

    fn of(candidates: Vec<usize>) -> Self {
        let candidates: Vec<_> = candidates
            .into_iter()
            .map(|workers| Candidate {
                workers,
                recent: None,
                seen: false,
            })
            .collect();
        Self {
            current: candidates.len() - 1,
            settled: candidates.len() - 1,
            candidates,
            look: None,
            since_look: 0.0,
            pause: FIRST_PAUSE,
            next_look: 0,
        }
    }

    /// Workers and steps of the next segment.
    pub fn plan(&mut self) -> (usize, usize) {
        if self.look.is_none() {
            self.choose();
        }
        let chosen = &self.candidates[self.current];
        let steps = match chosen.seconds_a_step() {
            Some(seconds) => (SEGMENT / seconds.max(1e-9)).clamp(1.0, 1e6) as usize,
            None => 1,
        };
        (chosen.workers, steps)
    }

    /// The best candidate, or another one to look at.
    fn choose(&mut self) {
        let best = self.best();
        if best != self.settled {
            // Something has changed: look again soon.
            self.pause = FIRST_PAUSE;
            self.since_look = 0.0;
            self.settled = best;
        }
        self.current = best;
        let Some(other) = self.other(best) else {
            return;
        };
        let cost = self.cost_of_look(best, other);
        let slow = cost > WARM;
        let pause = match (self.candidates[other].seen, slow) {
            (false, false) => 0.0,
            (true, false) => self.pause,
            (_, true) => self.pause.max(SLOW_PAUSE),
        };
        if self.since_look < pause * cost {
            return;
        }
        if self.candidates[other].seen {
            self.pause = (2.0 * self.pause).min(LAST_PAUSE);
            self.next_look += 1;
        }
        self.since_look = 0.0;
        self.look = Some(0.0);
        self.current = other;
    }

    /// What to look at next: what was never seen, the most workers first; then the neighbors of the
    /// best in turn.
    fn other(&self, best: usize) -> Option<usize> {
        let unseen = self.candidates.iter().rposition(|c| !c.seen);
        if unseen.is_some() || self.candidates.len() == 1 {
            return unseen;
        }
        let up = self.next_look.is_multiple_of(2);
        Some(match best {
            0 => 1,
            _ if best + 1 == self.candidates.len() || !up => best - 1,
            _ => best + 1,
        })
    }

    /// Seconds that a look at `other` takes at least: one step of it, as if its workers did no more
    /// than the best's.
    fn cost_of_look(&self, best: usize, other: usize) -> f64 {
        let best = &self.candidates[best];
        let workers = best.workers as f64 / self.candidates[other].workers as f64;
        let step = best
            .seconds_a_step()
            .map_or(0.0, |seconds| seconds * workers);
        step.max(WARM)
    }

    /// What the segment took.
    pub fn record(&mut self, steps: usize, taken: Duration) {
        let taken = taken.as_secs_f64();
        let measured = taken / steps.max(1) as f64;
        // The few steps at the end of an epoch tell what waking the workers costs, not a step.
        let tells = taken >= SEGMENT / 4.0;
        self.since_look += taken;
        let chosen = &mut self.candidates[self.current];
        match &mut self.look {
            // What was known is replaced: between two looks the machine may have changed.
            Some(seconds) => {
                *seconds += taken;
                chosen.recent = Some([measured; 3]);
                if *seconds >= WARM && tells {
                    chosen.seen = true;
                    self.look = None;
                }
            }
            None if tells => {
                let [_, second, third] = chosen.recent.unwrap_or([measured; 3]);
                chosen.recent = Some([second, third, measured]);
            }
            None => {}
        }
    }

    /// The fastest of those seen; before that, the most workers.
    fn best(&self) -> usize {
        let seconds = |k: usize| self.candidates[k].seconds_a_step().unwrap_or(f64::INFINITY);
        (0..self.candidates.len())
            .rev()
            .min_by(|&a, &b| seconds(a).total_cmp(&seconds(b)))
            .expect("there is a candidate")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `segments` segments on a machine where a step takes `seconds(workers)`; returns how
    /// many steps each number of workers did.
    fn simulate(pace: &mut Tuner, segments: usize, seconds: impl Fn(usize) -> f64) -> Vec<usize> {
        let mut steps_of = vec![0; 17];
        for _ in 0..segments {
            let (workers, steps) = pace.plan();
            steps_of[workers] += steps;
            pace.record(
                steps,
                Duration::from_secs_f64(seconds(workers) * steps as f64),
            );
        }
        steps_of
    }

    #[test]
    fn the_fastest_number_of_workers_does_nearly_all_steps() {
        let mut pace = Tuner::up_to(16);
        let steps = simulate(
            &mut pace,
            1000,
            |workers| if workers == 4 { 1e-5 } else { 2e-5 },
        );
        assert!(steps[4] * 10 > steps.iter().sum::<usize>() * 9, "{steps:?}");
    }

    #[test]
    fn it_follows_a_machine_that_changes() {
        let mut pace = Tuner::up_to(2);
        simulate(&mut pace, 100, |workers| 1e-5 / workers as f64);
        let steps = simulate(
            &mut pace,
            2000,
            |workers| if workers == 1 { 1e-5 } else { 5e-5 },
        );
        assert!(steps[1] * 10 > steps.iter().sum::<usize>() * 8, "{steps:?}");
        let steps = simulate(&mut pace, 2000, |workers| 1e-5 / workers as f64);
        assert!(steps[2] * 10 > steps.iter().sum::<usize>() * 8, "{steps:?}");
    }

    #[test]
    fn a_step_of_half_a_second_is_shared_from_the_first_on() {
        let mut pace = Tuner::up_to(2);
        let steps = simulate(&mut pace, 20, |workers| 0.5 / workers as f64);
        assert_eq!(steps[2], 20, "{steps:?}");
        // Now and then one worker is looked at all the same: a core may be busy.
        let steps = simulate(&mut pace, 200, |workers| 0.5 / workers as f64);
        assert!((1..10).contains(&steps[1]), "{steps:?}");
    }

    #[test]
    fn a_forced_number_stays() {
        let mut pace = Tuner::exactly(5);
        let steps = simulate(&mut pace, 100, |_| 1e-3);
        assert_eq!(steps[5], steps.iter().sum::<usize>());
    }
}
