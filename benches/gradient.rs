//! Measures one gradient by every method that studies compare, at 1 thread and at one thread per
//! physical core: 784-30-10 on 10 rows of MNIST and 4-8-3 on 10 rows of Iris, f32. Each gradient is
//! a step at a learning rate of 0 in a separate run, so the time includes starting and ending a
//! run; training makes many steps per run. `cargo bench --bench gradient [-- 4-8-3/backprop]`;
//! about two minutes.

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
/// Dataset, layer sizes, and the divisor of the features.
const CASES: [(&str, &[usize], f64); 2] =
    [("mnist", &[784, 30, 10], 255.0), ("iris", &[4, 8, 3], 1.0)];

fn gradients(criterion: &mut Criterion) {
    for (name, sizes, divisor) in CASES {
        let (dataset, _) =
            catalog::load(name, &SearchPaths::new(None)).expect("the dataset is committed");
        let scaling = Scaling {
            offset: vec![0.0; sizes[0]],
            divisor: vec![divisor; sizes[0]],
            targets: None,
        };
        let samples = Samples::<f32>::new(&dataset, &scaling);
        let network = Network::new(sizes, true, OutputUnits::Sigmoid, Loss::Quadratic, 0.0);
        let network = network.expect("the network is valid");
        let title: Vec<String> = sizes.iter().map(usize::to_string).collect();
        let mut group = criterion.benchmark_group(title.join("-"));
        for method in methods::all() {
            for threads in [1, Workers::available()] {
                let id = BenchmarkId::new(&method.label, format!("{threads} threads"));
                group.bench_function(id, |bencher| {
                    let mut gradient = gradient_of(&network, &samples, &method.gradient, threads);
                    bencher.iter(&mut gradient);
                });
            }
        }
        group.finish();
    }
}

/// Returns a function that computes the gradient on the same rows at each call.
fn gradient_of<'a>(
    network: &Network,
    samples: &'a Samples<f32>,
    method: &GradientConfig,
    threads: usize,
) -> impl FnMut() + 'a {
    let pool = Arc::new(Workers::exactly(threads).expect("the system starts the threads"));
    let mut engine = method.engine(network, &pool, Isa::detect(), samples, BATCH);
    engine.load(&Initialization::Scaled.draw(&network.layout, 1));
    let rows: Vec<u32> = (0..BATCH as u32).map(|row| row * 11).collect();
    let workers = engine.most_workers();
    move || {
        let (rule, control) = (Rule::gradient_only(0.0), Control::default());
        let mut loss = 0.0;
        engine
            .descend(samples, &rows, BATCH, rule, workers, &mut loss, &control)
            .expect("the run is not interrupted");
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
