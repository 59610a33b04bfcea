//! One gradient by every method that studies compare, at 1 thread and at all: 784-30-10 on 10 rows
//! of MNIST and 4-8-3 on 10 rows of Iris, f32. A step at a rate of 0 in a run of its own, so what it
//! costs to begin and end a run is in it; training makes many steps a run.
//! `cargo bench --bench gradient [-- 4-8-3/backprop]`; about two minutes.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use nplus1::data::{Samples, Scaling, SearchPaths, catalog};
use nplus1::gradient::{Control, GradientConfig};
use nplus1::kernels::Isa;
use nplus1::kernels::update::Rule;
use nplus1::model::{Initialization, Loss, Network, OutputUnits};
use nplus1::parallel::Workers;
use nplus1::study::methods;

const BATCH: usize = 10;
const CASES: [(&str, &[usize], f64); 2] =
    [("mnist", &[784, 30, 10], 255.0), ("iris", &[4, 8, 3], 1.0)];

fn gradients(criterion: &mut Criterion) {
    for (set, sizes, divisor) in CASES {
        let (dataset, _) =
            catalog::load(set, &SearchPaths::new(None)).expect("the set is committed");
        let scaling = Scaling {
            offset: vec![0.0; sizes[0]],
            divisor: vec![divisor; sizes[0]],
        };
        let samples = Samples::<f32>::new(&dataset, &scaling);
        let network = Network::new(sizes, true, OutputUnits::Sigmoid, Loss::Quadratic, 0.0);
        let network = network.expect("a network");
        let title: Vec<String> = sizes.iter().map(usize::to_string).collect();
        let mut group = criterion.benchmark_group(title.join("-"));
        for method in methods::all() {
            for threads in [1, Workers::available()] {
                let place = BenchmarkId::new(&method.label, format!("{threads} threads"));
                group.bench_function(place, |bencher| {
                    let mut gradient = one(&network, &samples, &method.gradient, threads);
                    bencher.iter(&mut gradient);
                });
            }
        }
        group.finish();
    }
}

/// A gradient on the same rows, each time it is called.
fn one<'a>(
    network: &Network,
    samples: &'a Samples<f32>,
    method: &GradientConfig,
    threads: usize,
) -> impl FnMut() + 'a {
    let team = Arc::new(Workers::new(Some(threads)).expect("threads"));
    let mut engine = method.engine(network, &team, Isa::detect(), samples, BATCH);
    engine.load(&Initialization::Scaled.draw(&network.layout, 1));
    let rows: Vec<u32> = (0..BATCH as u32).map(|row| row * 11).collect();
    let workers = engine.most_workers();
    move || {
        let (rule, control) = (Rule::gradient_only(0.0), Control::default());
        let mut loss = 0.0;
        engine
            .descend(samples, &rows, BATCH, rule, workers, &mut loss, &control)
            .expect("nobody stops it");
    }
}

fn settings() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = benches;
    config = settings();
    targets = gradients
}
criterion_main!(benches);
