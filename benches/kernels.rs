//! Measures kernels on one thread: σ with its derivative and the matrix products of typical
//! networks, in both precisions and with every instruction set that the processor has.
//! `cargo bench --bench kernels [-- sigmoid]`; a minute or two.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nplus1::kernels::Isa;
use nplus1::kernels::matmul::{LeftOperand, Product, Start};
use nplus1::kernels::panels::{Aligned, count, width};
use nplus1::kernels::update::Activate;
use nplus1::numeric::Real;

/// Number of units per activation, few enough to stay in the cache.
const UNITS: usize = 4096;
/// The products of forward passes: rows of the mini-batch, inputs, units.
const FORWARD: [[usize; 3]; 6] = [
    [10, 784, 30],
    [128, 784, 30],
    [10, 784, 100],
    [128, 784, 512],
    [128, 512, 512],
    [1024, 1024, 1024],
];

/// Returns numbers from −1 to 1.
fn numbers<R: Real>(len: usize) -> Aligned<R> {
    let mut numbers = Aligned::zeros(len);
    for (k, number) in numbers.iter_mut().enumerate() {
        *number = R::from_f64((k * 7919 % 1009) as f64 / 504.5 - 1.0);
    }
    numbers
}

/// Returns the instruction sets that the processor has.
fn instruction_sets() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

fn sigmoid(criterion: &mut Criterion) {
    fn in_precision<R: Real>(criterion: &mut Criterion, name: &str) {
        let mut group = criterion.benchmark_group(format!("sigmoid/{name}"));
        group.throughput(Throughput::Elements(UNITS as u64));
        for isa in instruction_sets() {
            let mut activations = numbers::<R>(UNITS);
            let mut slopes = numbers::<R>(UNITS);
            group.bench_function(isa.name(), |bencher| {
                bencher.iter(|| {
                    isa.run(Activate {
                        activations: black_box(&mut activations),
                        slopes: &mut slopes,
                    });
                });
            });
        }
    }
    in_precision::<f32>(criterion, "f32");
    in_precision::<f64>(criterion, "f64");
}

/// Measures z = x·Wᵀ, each operand in panels. The throughput counts a multiply-add as two
/// operations.
fn product(criterion: &mut Criterion) {
    fn in_precision<R: Real>(criterion: &mut Criterion, name: &str) {
        let mut group = criterion.benchmark_group(format!("product/{name}"));
        for [rows, depth, units] in FORWARD {
            let (p, panels) = (width::<R>(), count::<R>(units));
            let left = numbers::<R>(count::<R>(depth) * rows * p);
            let right = numbers::<R>(panels * depth * p);
            let mut out = numbers::<R>(panels * rows * p);
            group.throughput(Throughput::Elements(2 * (rows * depth * units) as u64));
            // The portable kernel would take seconds for the largest product.
            for isa in instruction_sets().filter(|&isa| isa != Isa::Portable || rows < 1024) {
                let shape = format!("{rows}x{depth}x{units}");
                group.bench_function(BenchmarkId::new(isa.name(), shape), |bencher| {
                    bencher.iter(|| {
                        isa.run(Product {
                            left: LeftOperand::rows_of(black_box(&left), rows * p),
                            rows,
                            depth,
                            right: &right,
                            right_stride: depth * p,
                            start: Start::Zero,
                            out: &mut out,
                            out_stride: rows * p,
                            panels,
                        });
                    });
                });
            }
        }
    }
    in_precision::<f32>(criterion, "f32");
    in_precision::<f64>(criterion, "f64");
}

fn settings() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
}

criterion_group! {
    name = benches;
    config = settings();
    targets = sigmoid, product
}
criterion_main!(benches);
