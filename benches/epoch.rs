//! Seconds of one epoch (60,000 images, quadratic loss, f32) for the five reference networks and
//! for three with large mini-batches, by 1 worker, and by all threads split by units and by rows:
//! `cargo bench --bench epoch [-- a c]`. The divisions take turns. Medians; shuffle left out.

use std::sync::Arc;
use std::time::Instant;

use nplus1::data::{Samples, Scaling, SearchPaths, catalog};
use nplus1::gradient::{Backprop, Control, Descent, GradientEngine};
use nplus1::kernels::Isa;
use nplus1::kernels::update::Rule;
use nplus1::model::{Initialization, Loss, Network, OutputUnits};
use nplus1::numeric::statistics::{median, range};
use nplus1::parallel::{Split, Workers};

const CASES: [(&str, &[usize], usize, usize); 8] = [
    ("a", &[784, 30, 10], 10, 7),
    ("b", &[784, 100, 10], 10, 7),
    ("c", &[784, 100, 10], 128, 7),
    ("d", &[784, 512, 512, 10], 128, 3),
    ("e", &[784, 1024, 1024, 10], 1024, 3),
    ("f", &[784, 30, 10], 128, 15),
    ("g", &[784, 30, 10], 1024, 15),
    ("h", &[784, 100, 10], 1024, 15),
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
        targets: None,
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
            .expect("a network");
        let threads = Workers::available();
        let pool = Arc::new(Workers::exactly(threads).expect("threads"));
        let divisions = [
            (Split::Units, 1),
            (Split::Units, threads),
            (Split::Rows, threads),
        ];
        let mut engines = divisions.map(|(split, _)| {
            let mut engine = Backprop::new(&network, &pool, isa, batch);
            engine.set_split(split);
            engine.load(&Initialization::Scaled.draw(&network.layout, 1));
            engine
        });
        let rule = Rule {
            rate: 0.5,
            l2: 0.0,
            decay: 0.0,
            momentum: 0.0,
        };
        let mut seconds = divisions.map(|_| Vec::new());
        let mut busy = divisions.map(|_| 0.0);
        for _ in 0..=runs {
            for (k, &(_, workers)) in divisions.iter().enumerate() {
                let (start, cpu) = (Instant::now(), cpu_seconds());
                engines[k]
                    .descend(
                        &samples,
                        &order,
                        batch,
                        rule,
                        workers,
                        &mut 0.0,
                        &Control::default(),
                    )
                    .unwrap();
                busy[k] = cpu_seconds() - cpu;
                seconds[k].push(start.elapsed().as_secs_f64());
            }
        }
        for (k, (split, workers)) in divisions.into_iter().enumerate() {
            // The first run warms the caches.
            let seconds = &seconds[k][1..];
            let [least, most] = range(seconds).unwrap();
            println!(
                "{name} {sizes:?} batch {batch}, {workers} threads by {}: {:.4} s ({:.4} … {:.4}), calling thread {:.4} s",
                split.name(),
                median(seconds).unwrap(),
                least,
                most,
                busy[k],
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
