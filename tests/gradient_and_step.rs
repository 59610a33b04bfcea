//! A fused step has the bits of the gradient followed by the update, and allocates nothing.

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;
use std::sync::Arc;

use ndarray::Array2;
use nplus1::data::{Batch, Dataset, Features, Samples, Scaling};
use nplus1::gradient::{Backprop, Control, Descent, GradientEngine};
use nplus1::model::{Initialization, Loss, Network, Output, Parameters};
use nplus1::numeric::update::Rule;
use nplus1::numeric::{Isa, Real};
use nplus1::parallel::Team;

struct Counting;

thread_local! {
    /// Of this thread alone: the test's runner allocates on others.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(memory) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, memory: Memory) {
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(pointer, memory) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn samples<R: Real>(sparse: bool) -> Samples<R> {
    let features = Array2::from_shape_fn((64, 50), |(row, at)| {
        let hash = (row * 7919 + at * 104_729 + row * at * 31) % 1009;
        if sparse && !hash.is_multiple_of(4) {
            0
        } else {
            (hash % 255) as u8 + 1
        }
    });
    let dataset = Dataset {
        name: "images".to_owned(),
        features: Features::Bytes(features),
        labels: (0..64).map(|row| (row * 7 % 10) as u16).collect(),
        class_names: (0..10).map(|class| class.to_string()).collect(),
        image: None,
        unit_divisor: Some(255.0),
    };
    let scaling = Scaling {
        offset: vec![0.0; 50],
        divisor: vec![255.0; 50],
    };
    Samples::new(&Arc::new(dataset), &scaling)
}

fn fused_equals_separate<R: Real>(hidden: &[usize], sparse: bool, rows: u32, l2: f64) {
    let samples = samples::<R>(sparse);
    let mut sizes = vec![50];
    sizes.extend(hidden);
    sizes.push(10);
    let network = Network::new(&sizes, true, Output::Sigmoid, Loss::CrossEntropy, l2).unwrap();
    let team = Arc::new(Team::new(Some(2)).unwrap());
    let mut engine = Backprop::new(&network, &team, Isa::detect(), 64);
    let mut theta = Initialization::Normal.draw::<R>(&network.layout, 1);
    let rows: Vec<u32> = (0..rows).collect();
    let mut gradient = Parameters::zeros(Arc::clone(&network.layout));
    engine
        .gradient(
            &theta,
            Batch {
                samples: &samples,
                rows: &rows,
            },
            &mut gradient,
            &Control::default(),
        )
        .unwrap();
    let rate = R::from_f64(0.3);
    let rule = Rule {
        rate,
        l2: R::from_f64(l2),
        decay: R::ZERO,
        momentum: R::ZERO,
    };

    engine.load(&theta);
    engine
        .descend(
            &samples,
            &rows,
            rows.len(),
            rule,
            2,
            &mut 0.0,
            &Control::default(),
        )
        .unwrap();
    let mut fused = Parameters::zeros(Arc::clone(&network.layout));
    engine.store(&mut fused);
    for (w, &g) in theta.flat_mut().iter_mut().zip(gradient.flat()) {
        *w = (-rate).mul_add(g, *w);
    }
    assert_eq!(
        fused,
        theta,
        "{hidden:?} sparse {sparse} rows {}",
        rows.len()
    );
}

#[test]
fn a_fused_step_has_the_bits_of_the_gradient_then_the_update() {
    for hidden in [&[][..], &[30], &[40, 20], &[20, 40, 30]] {
        for sparse in [true, false] {
            for rows in [1, 10, 33] {
                for l2 in [0.0, 0.1] {
                    fused_equals_separate::<f32>(hidden, sparse, rows, l2);
                    fused_equals_separate::<f64>(hidden, sparse, rows, l2);
                }
            }
        }
    }
}

#[test]
fn a_steady_step_allocates_nothing() {
    for hidden in [&[30][..], &[40, 20]] {
        for sparse in [true, false] {
            for batch in [10, 33] {
                let samples = samples::<f32>(sparse);
                let mut sizes = vec![50];
                sizes.extend(hidden);
                sizes.push(10);
                let network =
                    Network::new(&sizes, true, Output::Sigmoid, Loss::Quadratic, 0.0).unwrap();
                let team = Arc::new(Team::new(Some(1)).unwrap());
                let mut engine = Backprop::new(&network, &team, Isa::detect(), 64);
                engine.load(&Initialization::Normal.draw(&network.layout, 1));
                let rule = Rule {
                    rate: 0.3,
                    l2: 0.0,
                    decay: 0.0,
                    momentum: 0.0,
                };
                let order: Vec<u32> = (0..64).cycle().take(64 * 20).collect();
                let mut allocations = |rows: usize| {
                    let before = ALLOCATIONS.get();
                    engine
                        .descend(
                            &samples,
                            &order[..rows],
                            batch,
                            rule,
                            1,
                            &mut 0.0,
                            &Control::default(),
                        )
                        .unwrap();
                    ALLOCATIONS.get() - before
                };
                allocations(batch);
                let (few, many) = (allocations(64), allocations(64 * 20));
                assert_eq!(few, many, "{hidden:?} sparse {sparse} batch {batch}");
            }
        }
    }
}
