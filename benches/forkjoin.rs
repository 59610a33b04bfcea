//! Measures the cost of synchronizing threads: a superstep of a worker pool; a run in which all
//! workers meet once; the same with rayon's `broadcast`, `scope` and `join`; at 1, 2, 4, … and all
//! cores; and a superstep with more workers than processors. `cargo bench --bench forkjoin`; half a
//! minute on 2 cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use nplus1::parallel::{Supersteps, Workers};

/// Returns the numbers of workers: 1, 2, 4, … and that of the physical cores.
fn counts() -> Vec<usize> {
    let cores = Workers::available();
    let powers = std::iter::successors(Some(1), |count| Some(2 * count));
    powers
        .take_while(|&count| count < cores)
        .chain([cores])
        .collect()
}

/// Returns the time that `pool` takes for `count` supersteps of `workers` workers in one run.
fn supersteps(pool: &Workers, workers: usize, count: u64) -> Duration {
    pool.install(|| {
        let start = Instant::now();
        pool.run(
            Supersteps::new(workers),
            vec![(); workers],
            |(), mut step| {
                for _ in 0..count {
                    step = step.next();
                }
            },
        );
        start.elapsed()
    })
}

fn superstep(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("superstep");
    for workers in counts().into_iter().chain([8 * Workers::available()]) {
        let pool = Workers::exactly(workers).expect("the system starts the threads");
        group.bench_function(BenchmarkId::from_parameter(workers), |bencher| {
            bencher.iter_custom(|count| supersteps(&pool, workers, count));
        });
    }
}

/// Measures a run in which all workers meet once, started inside the pool and outside.
fn run(criterion: &mut Criterion) {
    for inside in [true, false] {
        let place = if inside { "inside" } else { "from outside" };
        let mut group = criterion.benchmark_group(format!("run, {place}"));
        for workers in counts() {
            let pool = Workers::exactly(workers).expect("the system starts the threads");
            let once = || {
                pool.run(Supersteps::new(workers), vec![(); workers], |(), step| {
                    let _ = step.next();
                });
            };
            group.bench_function(BenchmarkId::from_parameter(workers), |bencher| {
                if inside {
                    pool.install(|| bencher.iter(once));
                } else {
                    bencher.iter(once);
                }
            });
        }
    }
}

/// A barrier that tasks wait at, so that each runs on a different thread.
struct Meeting {
    threads: usize,
    arrived: AtomicUsize,
}

impl Meeting {
    fn of(threads: usize) -> Self {
        let arrived = AtomicUsize::new(0);
        Self { threads, arrived }
    }

    fn wait(&self) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        let mut spins = 0;
        while self.arrived.load(Ordering::Acquire) < self.threads {
            spins += 1;
            if spins < 4000 {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

/// Measures the same meeting with rayon's `broadcast`, `scope` and `join`.
fn rayon_primitives(criterion: &mut Criterion) {
    type Primitive = fn(&Meeting);
    fn halve(meeting: &Meeting, threads: usize) {
        match threads {
            1 => meeting.wait(),
            _ => {
                let half = threads / 2;
                rayon::join(|| halve(meeting, half), || halve(meeting, threads - half));
            }
        }
    }
    let primitives: [(&str, Primitive); 3] = [
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
    for (name, meet) in primitives {
        let mut group = criterion.benchmark_group(format!("rayon's {name}, inside"));
        for threads in counts() {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().expect("the system starts the threads");
            group.bench_function(BenchmarkId::from_parameter(threads), |bencher| {
                pool.install(|| bencher.iter(|| meet(&Meeting::of(threads))));
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
    targets = superstep, run, rayon_primitives
}
criterion_main!(benches);
