//! Measures the seconds of one epoch (60,000 images, quadratic loss, f32) of the five reference
//! networks, at 1 thread and at one thread per physical core: `cargo bench --bench epoch [-- a c]`.
//! Prints medians, without the shuffle.

use std::sync::Arc;
use std::time::Instant;

use nplus1::data::{Samples, Scaling, SearchPaths, catalog};
use nplus1::gradient::{Backprop, Control, Descent};
use nplus1::kernels::Isa;
use nplus1::kernels::update::Rule;
use nplus1::model::{Initialization, Loss, Network, OutputUnits};
use nplus1::parallel::Workers;

/// Name, layer sizes, rows of a mini-batch, and timed epochs.
const CASES: [(&str, &[usize], usize, usize); 5] = [
    ("a", &[784, 30, 10], 10, 7),
    ("b", &[784, 100, 10], 10, 7),
    ("c", &[784, 100, 10], 128, 7),
    ("d", &[784, 512, 512, 10], 128, 3),
    ("e", &[784, 1024, 1024, 10], 1024, 3),
];

fn main() {
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|name| name.len() == 1)
        .collect();
    let (dataset, _) = catalog::load("mnist", &SearchPaths::new(None)).expect("MNIST is committed");
    let scaling = Scaling {
        offset: vec![0.0; 784],
        divisor: vec![255.0; 784],
    };
    let samples = Samples::<f32>::new(&dataset, &scaling);
    let order: Vec<u32> = (0..60_000u32)
        .map(|k| (u64::from(k) * 48_271 % 60_000) as u32)
        .collect();
    let isa = Isa::detect();
    println!("kernel {}", isa.name());
    for (name, sizes, batch, runs) in CASES {
        if !chosen.is_empty() && !chosen.iter().any(|chosen| chosen == name) {
            continue;
        }
        let network = Network::new(sizes, true, OutputUnits::Sigmoid, Loss::Quadratic, 0.0)
            .expect("the network is valid");
        for threads in [1, Workers::available()] {
            let pool =
                Arc::new(Workers::new(Some(threads)).expect("the system starts the threads"));
            let mut engine = Backprop::new(&network, &pool, isa, batch);
            engine.load(&Initialization::Scaled.draw(&network.layout, 1));
            let rule = Rule {
                rate: 0.5,
                l2: 0.0,
                decay: 0.0,
                momentum: 0.0,
            };
            let mut busy = 0.0;
            let mut seconds: Vec<f64> = (0..=runs)
                .map(|_| {
                    let (start, cpu) = (Instant::now(), cpu_seconds());
                    engine
                        .descend(
                            &samples,
                            &order,
                            batch,
                            rule,
                            threads,
                            &mut 0.0,
                            &Control::default(),
                        )
                        .unwrap();
                    busy = cpu_seconds() - cpu;
                    start.elapsed().as_secs_f64()
                })
                .skip(1)
                .collect();
            seconds.sort_by(f64::total_cmp);
            println!(
                "{name} {sizes:?} batch {batch}, {threads} threads: {:.4} s ({:.4} … {:.4}), calling thread {busy:.4} s",
                seconds[runs / 2],
                seconds[0],
                seconds[runs - 1]
            );
        }
    }
}

/// Returns the CPU seconds of this thread; 0 if the system does not report them.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds: f64 = text
        .split(' ')
        .next()
        .and_then(|first| first.parse().ok())
        .unwrap_or(0.0);
    nanoseconds * 1e-9
}
