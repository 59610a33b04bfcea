//! What it costs to share work, beyond the work: a superstep of a team; a run of one, in which all
//! workers meet once; the same by rayon's own `broadcast`, `scope` and `join`; at 1, 2, 4, … and all
//! cores; and a superstep of more workers than processors. `cargo bench --bench forkjoin`; half a
//! minute on 2 cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use nplus1::parallel::{Supersteps, Workers};

fn counts() -> Vec<usize> {
    let all = Workers::available();
    let powers = std::iter::successors(Some(1), |count| Some(2 * count));
    powers
        .take_while(|&count| count < all)
        .chain([all])
        .collect()
}

/// Seconds that `team` takes for so many supersteps of `workers` in one run.
fn supersteps(team: &Workers, workers: usize, count: u64) -> Duration {
    team.install(|| {
        let start = Instant::now();
        team.run(
            Supersteps::new(workers),
            vec![(); workers],
            async |(), mut step| {
                for _ in 0..count {
                    step = step.next().await;
                }
            },
        );
        start.elapsed()
    })
}

fn superstep(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("superstep");
    for workers in counts().into_iter().chain([8 * Workers::available()]) {
        let team = Workers::new(Some(workers)).expect("threads");
        group.bench_function(BenchmarkId::from_parameter(workers), |bencher| {
            bencher.iter_custom(|count| supersteps(&team, workers, count));
        });
    }
}

/// A run in which all workers meet once, begun on a thread of the team and on another.
fn run(criterion: &mut Criterion) {
    for inside in [true, false] {
        let place = if inside { "inside" } else { "from outside" };
        let mut group = criterion.benchmark_group(format!("run, {place}"));
        for workers in counts() {
            let team = Workers::new(Some(workers)).expect("threads");
            let once = || {
                team.run(
                    Supersteps::new(workers),
                    vec![(); workers],
                    async |(), step| {
                        let _ = step.next().await;
                    },
                );
            };
            group.bench_function(BenchmarkId::from_parameter(workers), |bencher| {
                if inside {
                    team.install(|| bencher.iter(once));
                } else {
                    bencher.iter(once);
                }
            });
        }
    }
}

/// Where tasks wait for one another, so that each is on a thread of its own.
struct Meeting {
    threads: usize,
    here: AtomicUsize,
}

impl Meeting {
    fn of(threads: usize) -> Self {
        let here = AtomicUsize::new(0);
        Self { threads, here }
    }

    fn wait(&self) {
        self.here.fetch_add(1, Ordering::AcqRel);
        let mut looks = 0;
        while self.here.load(Ordering::Acquire) < self.threads {
            looks += 1;
            if looks < 4000 {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

/// The same in rayon's own ways.
fn rayon_itself(criterion: &mut Criterion) {
    type Way = fn(&Meeting);
    fn halve(meeting: &Meeting, threads: usize) {
        match threads {
            1 => meeting.wait(),
            _ => {
                let half = threads / 2;
                rayon::join(|| halve(meeting, half), || halve(meeting, threads - half));
            }
        }
    }
    let ways: [(&str, Way); 3] = [
        ("broadcast", |meeting| {
            rayon::broadcast(|_| meeting.wait());
        }),
        ("scope", |meeting| {
            rayon::scope(|scope| {
                for _ in 0..meeting.threads {
                    scope.spawn(|_| meeting.wait());
                }
            });
        }),
        ("join", |meeting| halve(meeting, meeting.threads)),
    ];
    for (name, way) in ways {
        let mut group = criterion.benchmark_group(format!("rayon's {name}, inside"));
        for threads in counts() {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().expect("threads");
            group.bench_function(BenchmarkId::from_parameter(threads), |bencher| {
                pool.install(|| bencher.iter(|| way(&Meeting::of(threads))));
            });
        }
    }
}

fn settings() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = benches;
    config = settings();
    targets = superstep, run, rayon_itself
}
criterion_main!(benches);
