//! A fused step of backprop gives the bits of the gradient followed by the update, and allocates
//! nothing.

use std::sync::Arc;

use crate::support::allocations;
use crate::support::networks::{images, uniform_scaling};
use crate::support::watchdog::time_limit;
use nplus1::data::{Batch, Samples};
use nplus1::gradient::{Backprop, Control, Descent, GradientEngine};
use nplus1::kernels::Isa;
use nplus1::kernels::update::Rule;
use nplus1::model::{Initialization, Loss, Network, OutputUnits, Parameters};
use nplus1::numeric::Real;
use nplus1::parallel::{Split, Workers};

fn samples<R: Real>(sparse: bool) -> Samples<R> {
    let data = images((64, 50), 10, sparse, |hash| (hash % 255) as u8 + 1);
    Samples::new(&Arc::new(data), &uniform_scaling(50, 255.0))
}

fn fused_equals_separate<R: Real>(
    split: Split,
    hidden: &[usize],
    (sparse, rows): (bool, u32),
    l2: f64,
) {
    let samples = samples::<R>(sparse);
    let mut sizes = vec![50];
    sizes.extend(hidden);
    sizes.push(10);
    let network = Network::new(&sizes, true, OutputUnits::Sigmoid, Loss::CrossEntropy, l2).unwrap();
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let mut engine = Backprop::new(&network, &pool, Isa::detect(), 64);
    engine.set_split(split);
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
        "{split:?} {hidden:?} sparse {sparse} rows {}",
        rows.len()
    );
}

#[test]
fn a_fused_step_has_the_bits_of_the_gradient_followed_by_the_update() {
    let _limit = time_limit();
    for hidden in [&[][..], &[30], &[40, 20], &[20, 40, 30]] {
        for sparse in [true, false] {
            for rows in [1, 10, 33] {
                for l2 in [0.0, 0.1] {
                    for split in Split::ALL {
                        fused_equals_separate::<f32>(split, hidden, (sparse, rows), l2);
                        fused_equals_separate::<f64>(split, hidden, (sparse, rows), l2);
                    }
                }
            }
        }
    }
}

#[test]
fn a_steady_step_allocates_nothing() {
    let _limit = time_limit();
    for hidden in [&[30][..], &[40, 20]] {
        for sparse in [true, false] {
            for (split, batch) in [
                (Split::Units, 10),
                (Split::Units, 33),
                (Split::Rows, 10),
                (Split::Rows, 33),
            ] {
                let samples = samples::<f32>(sparse);
                let mut sizes = vec![50];
                sizes.extend(hidden);
                sizes.push(10);
                let network =
                    Network::new(&sizes, true, OutputUnits::Sigmoid, Loss::Quadratic, 0.0).unwrap();
                let pool = Arc::new(Workers::exactly(1).unwrap());
                let mut engine = Backprop::new(&network, &pool, Isa::detect(), 64);
                engine.set_split(split);
                engine.load(&Initialization::Normal.draw(&network.layout, 1));
                let rule = Rule {
                    rate: 0.3,
                    l2: 0.0,
                    decay: 0.0,
                    momentum: 0.0,
                };
                let order: Vec<u32> = (0..64).cycle().take(64 * 20).collect();
                let mut allocations = |rows: usize| {
                    let before = allocations::allocations();
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
                    allocations::allocations() - before
                };
                allocations(batch);
                let (few, many) = (allocations(64), allocations(64 * 20));
                assert_eq!(
                    few, many,
                    "{split:?} {hidden:?} sparse {sparse} batch {batch}"
                );
            }
        }
    }
}
