//! How many workers a step deserves, found out by measuring.
//!
//! A step too small to share, or a core that another process holds, makes more workers slower
//! than fewer. So work is handed out in segments of a few milliseconds; each candidate number of
//! workers is tried now and then, and the fastest does the rest. Timing decides who computes,
//! never what: the bits stay the same.

use std::time::Duration;

/// Length of a segment.
const SEGMENT: f64 = 4e-3;
/// Segments between two looks at another candidate.
const LOOK: u32 = 24;
/// A measurement shorter than this says nothing yet; the next takes four times as many steps.
const SHORTEST: Duration = Duration::from_micros(400);
/// Weight of the newest measurement of the number of workers in use.
const NEWEST: f64 = 0.5;

/// Picks the number of workers of the next segment.
#[derive(Clone, Debug)]
pub struct Pace {
    candidates: Vec<Candidate>,
    current: usize,
    since_look: u32,
    next_look: usize,
    fixed: bool,
}

#[derive(Clone, Debug)]
struct Candidate {
    workers: usize,
    seconds_a_step: Option<f64>,
    /// Steps of its first measurement.
    first: usize,
}

impl Pace {
    /// Between 1 and `most` workers.
    pub fn up_to(most: usize) -> Self {
        let mut workers = 1;
        let mut candidates = Vec::new();
        while workers < most {
            candidates.push(workers);
            workers *= 2;
        }
        candidates.push(most);
        Self::of(candidates, false)
    }

    /// Always `workers`: what the tests force.
    pub fn exactly(workers: usize) -> Self {
        Self::of(vec![workers], true)
    }

    fn of(candidates: Vec<usize>, fixed: bool) -> Self {
        let candidates: Vec<_> = candidates
            .into_iter()
            .map(|workers| Candidate {
                workers,
                seconds_a_step: None,
                first: 1,
            })
            .collect();
        Self {
            current: candidates.len() - 1,
            candidates,
            since_look: 0,
            next_look: 0,
            fixed,
        }
    }

    /// Workers and steps of the next segment.
    pub fn plan(&mut self) -> (usize, usize) {
        if let Some(untried) = self
            .candidates
            .iter()
            .rposition(|c| c.seconds_a_step.is_none())
        {
            self.current = untried;
        } else if !self.fixed && self.candidates.len() > 1 {
            self.since_look += 1;
            let best = self.best();
            self.current = best;
            if self.since_look > LOOK {
                self.since_look = 0;
                // The neighbors in turn.
                self.next_look += 1;
                let up = self.next_look.is_multiple_of(2);
                self.current = match best {
                    0 => 1,
                    _ if best + 1 == self.candidates.len() || !up => best - 1,
                    _ => best + 1,
                };
            }
        }
        let chosen = &self.candidates[self.current];
        let steps = match chosen.seconds_a_step {
            Some(seconds) => (SEGMENT / seconds.max(1e-9)).clamp(1.0, 1e6) as usize,
            None => chosen.first,
        };
        (chosen.workers, steps)
    }

    /// What the segment took.
    pub fn record(&mut self, steps: usize, taken: Duration) {
        // A look replaces what was known: between two looks the machine may have changed.
        let newest = if self.current == self.best() {
            NEWEST
        } else {
            1.0
        };
        let chosen = &mut self.candidates[self.current];
        if chosen.seconds_a_step.is_none() && taken < SHORTEST && steps >= chosen.first {
            chosen.first *= 4;
            return;
        }
        let measured = taken.as_secs_f64() / steps.max(1) as f64;
        let seconds = chosen
            .seconds_a_step
            .map_or(measured, |before| before + newest * (measured - before));
        chosen.seconds_a_step = Some(seconds);
    }

    fn best(&self) -> usize {
        let seconds = |k: usize| self.candidates[k].seconds_a_step.unwrap_or(0.0);
        (0..self.candidates.len())
            .min_by(|&a, &b| seconds(a).total_cmp(&seconds(b)))
            .expect("there is a candidate")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `segments` segments on a machine where a step takes `seconds(workers)`; returns how
    /// many steps each number of workers did.
    fn simulate(pace: &mut Pace, segments: usize, seconds: impl Fn(usize) -> f64) -> Vec<usize> {
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
        let mut pace = Pace::up_to(16);
        let steps = simulate(
            &mut pace,
            400,
            |workers| if workers == 4 { 1e-5 } else { 2e-5 },
        );
        assert!(steps[4] * 10 > steps.iter().sum::<usize>() * 9, "{steps:?}");
    }

    #[test]
    fn it_follows_a_machine_that_changes() {
        let mut pace = Pace::up_to(2);
        simulate(&mut pace, 100, |workers| 1e-5 / workers as f64);
        let steps = simulate(
            &mut pace,
            200,
            |workers| if workers == 1 { 1e-5 } else { 5e-5 },
        );
        assert!(steps[1] * 10 > steps.iter().sum::<usize>() * 8, "{steps:?}");
        let steps = simulate(&mut pace, 200, |workers| 1e-5 / workers as f64);
        assert!(steps[2] * 10 > steps.iter().sum::<usize>() * 8, "{steps:?}");
    }

    #[test]
    fn a_forced_number_stays() {
        let mut pace = Pace::exactly(5);
        let steps = simulate(&mut pace, 100, |_| 1e-3);
        assert_eq!(steps[5], steps.iter().sum::<usize>());
    }
}
