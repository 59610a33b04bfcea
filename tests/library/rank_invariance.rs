//! Training by several ranks gives the bits of one process, by every method, and exchanges the bytes
//! that the closed forms say. The ranks are threads of this process; `tests/commands/mpi.rs` starts
//! them with MPI.

use std::sync::Arc;

use crate::support::networks::{images, uniform_scaling};
use crate::support::watchdog::time_limit;
use nplus1::data::Samples;
use nplus1::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, NodePerturbationConfig, Reuse, Scheme, Summation,
};
use nplus1::gradient::operation_counts::communication::{self, Communication};
use nplus1::gradient::random_direction::{
    DirectionsConfig, Distribution, ForwardGradientConfig, PerturbedQuantity, SpsaConfig,
};
use nplus1::gradient::{Control, GradientConfig, NumericBackpropConfig};
use nplus1::kernels::Isa;
use nplus1::model::{Initialization, Loss, Network, OutputUnits};
use nplus1::numeric::Real;
use nplus1::optimizer::{AdamConfig, LbfgsConfig, OptimizerConfig, Schedule, SgdConfig};
use nplus1::parallel::cluster::{Reduce, Traffic};
use nplus1::parallel::{Ranks, Workers};
use nplus1::train::{NoObserver, TrainConfig, Training, TrainingState};

const ROWS: usize = 67;
const FEATURES: usize = 20;
const CLASSES: u16 = 5;
const EPOCHS: usize = 2;

#[derive(Clone, Copy)]
struct Case {
    hidden: &'static [usize],
    output: OutputUnits,
    loss: Loss,
    bias: bool,
    sparse: bool,
    batch: usize,
    method: GradientConfig,
    optimizer: Rule,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Sgd(f64),
    Adam,
    Lbfgs,
}

const PLAIN: Case = Case {
    hidden: &[19],
    output: OutputUnits::Sigmoid,
    loss: Loss::Quadratic,
    bias: true,
    sparse: true,
    batch: 10,
    method: GradientConfig::Backprop,
    optimizer: Rule::Sgd(0.0),
};

impl Case {
    fn network(&self) -> Network {
        let sizes = [&[FEATURES], self.hidden, &[usize::from(CLASSES)]].concat();
        Network::new(&sizes, self.bias, self.output, self.loss, 1e-3).unwrap()
    }

    fn optimizer(&self) -> OptimizerConfig {
        match self.optimizer {
            Rule::Sgd(momentum) => OptimizerConfig::Sgd(SgdConfig {
                learning_rate: 0.3,
                momentum,
                weight_decay: 1e-3,
                schedule: Schedule::Cosine,
            }),
            Rule::Adam => OptimizerConfig::Adam(AdamConfig {
                learning_rate: 1e-2,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                weight_decay: 0.0,
                schedule: Schedule::Constant,
            }),
            Rule::Lbfgs => OptimizerConfig::Lbfgs(LbfgsConfig {
                memory: 3,
                tolerance: 0.0,
            }),
        }
    }

    /// The bytes and collective calls of the whole training; `None` if they depend on the
    /// optimizer's decisions or on the lengths of segments.
    fn communication(&self, width: usize, reduce: Reduce) -> Option<Communication> {
        if !matches!(self.optimizer, Rule::Adam) && self.optimizer != Rule::Sgd(0.0) {
            return None;
        }
        let network = self.network();
        let of = |rows| communication::gradient(&self.method, &network, (rows, width), reduce);
        let mut sum = Communication::default();
        let starts = (0..ROWS).step_by(self.batch);
        for _ in 0..EPOCHS {
            let steps = starts.clone().map(|start| of(self.batch.min(ROWS - start)));
            sum = steps.fold(sum, |sum, step| sum + step);
            // The norm of the last mini-batch's gradient, which training reports.
            sum = sum + of((ROWS - 1) % self.batch + 1);
        }
        Some(sum)
    }
}

/// Trains; returns the hash of the weights, the records without times, and the traffic.
fn train<R: Real>(case: &Case, ranks: Ranks, threads: usize) -> (String, String, Traffic) {
    let data = images((ROWS + 9, FEATURES), CLASSES, case.sparse, |hash| {
        (hash % 6 * 50) as u8 + 1
    });
    let samples = Samples::<R>::new(&Arc::new(data), &uniform_scaling(FEATURES, 255.0));
    let (network, optimizer) = (case.network(), case.optimizer());
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    let validation: Vec<u32> = (ROWS as u32..ROWS as u32 + 9).collect();
    let pool = Arc::new(Workers::of_ranks(threads, ranks).unwrap());
    let mut state = TrainingState::new(Initialization::Scaled.draw::<R>(&network.layout, 3));
    let first = state.parameters.sha256();
    let training = Training {
        network: &network,
        samples: &samples,
        rows: &rows,
        validation: Some(&validation),
        classes: usize::from(CLASSES),
        optimizer: &optimizer,
        config: &TrainConfig {
            epochs: Some(EPOCHS),
            max_steps: None,
            max_seconds: None,
            batch_size: match case.optimizer {
                Rule::Lbfgs => TrainConfig::ALL_ROWS,
                _ => case.batch,
            },
            early_stopping: None,
        },
        seed: 5,
        pool: &pool,
        isa: Isa::detect(),
        workers: None,
        split: None,
        gradient: &case.method,
        control: &Control::default(),
    };
    training.run(&mut state, &mut NoObserver).unwrap();
    for record in &mut state.records {
        record.seconds = 0.0;
    }
    let hash = state.parameters.sha256();
    assert_ne!(hash, first, "training changed no weight");
    let records = serde_json::to_string(&state.records).unwrap();
    (hash, records, pool.ranks().traffic())
}

/// Trains on `size` ranks of `threads` threads each.
fn train_on_ranks<R: Real>(
    case: &Case,
    (size, threads): (usize, usize),
    reduce: Reduce,
) -> Vec<(String, String, Traffic)> {
    std::thread::scope(|scope| {
        let ranks = Ranks::as_threads(size).into_iter();
        let running: Vec<_> = ranks
            .map(|ranks| scope.spawn(move || train::<R>(case, ranks.with_reduce(reduce), threads)))
            .collect();
        let ended = running.into_iter().map(|thread| thread.join().unwrap());
        ended.collect()
    })
}

fn assert_keeps_its_bits<R: Real>(case: &Case) {
    let (hash, records, _) = train::<R>(case, Ranks::alone(), 1);
    let name = format!(
        "{:?} {:?} batch {} sparse {} {:?} {:?}",
        case.hidden, case.output, case.batch, case.sparse, case.method, case.optimizer
    );
    for (size, threads) in [(2, 1), (3, 2), (4, 1)] {
        let expected = case.communication(R::BYTES, Reduce::Exact);
        for found in train_on_ranks::<R>(case, (size, threads), Reduce::Exact) {
            assert_eq!(found.0, hash, "{size} ranks of {threads}: {name}");
            assert_eq!(found.1, records, "{size} ranks of {threads}: {name}");
            if let Some(expected) = expected {
                let traffic = Traffic {
                    bytes: expected.delivered(size),
                    exchanges: expected.exchanges,
                };
                assert_eq!(found.2, traffic, "{size} ranks of {threads}: {name}");
            }
        }
    }
}

fn assert_both_precisions_keep_their_bits(case: &Case) {
    assert_keeps_its_bits::<f32>(case);
    assert_keeps_its_bits::<f64>(case);
}

#[test]
fn slow_backprop_keeps_its_bits_on_any_number_of_ranks() {
    let _limit = time_limit();
    let softmax = Case {
        output: OutputUnits::Softmax,
        loss: Loss::CrossEntropy,
        ..PLAIN
    };
    for hidden in [&[][..], &[19], &[19, 33], &[8, 17, 9]] {
        for sparse in [true, false] {
            for batch in [3, 32] {
                assert_both_precisions_keep_their_bits(&Case {
                    hidden,
                    sparse,
                    batch,
                    ..if sparse { softmax } else { PLAIN }
                });
            }
        }
    }
    assert_both_precisions_keep_their_bits(&Case {
        bias: false,
        hidden: &[19, 33],
        ..PLAIN
    });
}

#[test]
fn slow_every_optimizer_keeps_its_bits_on_any_number_of_ranks() {
    let _limit = time_limit();
    for method in [
        GradientConfig::Backprop,
        difference(Reuse::Incremental),
        difference(Reuse::Full),
    ] {
        for optimizer in [Rule::Sgd(0.9), Rule::Adam, Rule::Lbfgs] {
            assert_both_precisions_keep_their_bits(&Case {
                optimizer,
                method,
                ..PLAIN
            });
        }
    }
}

fn difference(reuse: Reuse) -> GradientConfig {
    GradientConfig::Difference(DifferenceConfig {
        scheme: Scheme::Forward,
        reuse,
        arithmetic: Arithmetic::Plain,
        summation: Summation::Differences,
        increment: Increment::Auto,
        extrapolate: false,
    })
}

#[test]
fn slow_differences_and_forward_mode_keep_their_bits_on_any_number_of_ranks() {
    let _limit = time_limit();
    let GradientConfig::Difference(incremental) = difference(Reuse::Incremental) else {
        unreachable!()
    };
    let of = GradientConfig::Difference;
    let methods = [
        of(incremental),
        of(DifferenceConfig {
            arithmetic: Arithmetic::CancellationFree,
            ..incremental
        }),
        of(DifferenceConfig {
            scheme: Scheme::Central,
            extrapolate: true,
            ..incremental
        }),
        difference(Reuse::Full),
        of(DifferenceConfig {
            reuse: Reuse::Prefix,
            scheme: Scheme::Central,
            increment: Increment::Noise,
            ..incremental
        }),
        GradientConfig::ForwardMode(Reuse::Full),
        GradientConfig::ForwardMode(Reuse::Prefix),
        GradientConfig::ForwardMode(Reuse::Incremental),
        GradientConfig::NodePerturbation(NodePerturbationConfig {
            arithmetic: Arithmetic::Plain,
            increment: None,
        }),
        GradientConfig::NumericBackprop(NumericBackpropConfig { increment: None }),
    ];
    for method in methods {
        for (hidden, sparse) in [(&[19][..], true), (&[8, 17], false)] {
            assert_both_precisions_keep_their_bits(&Case {
                hidden,
                sparse,
                method,
                batch: 32,
                ..PLAIN
            });
        }
    }
}

#[test]
fn random_directions_keep_their_bits_and_exchange_scalars_only() {
    let _limit = time_limit();
    for count in [1, 7] {
        let directions = DirectionsConfig {
            count,
            distribution: Distribution::Gaussian,
        };
        let forward = |perturbed| {
            GradientConfig::ForwardGradient(ForwardGradientConfig {
                directions,
                perturbed,
            })
        };
        for method in [
            GradientConfig::Spsa(SpsaConfig {
                directions,
                increment: None,
            }),
            forward(PerturbedQuantity::Weights),
            forward(PerturbedQuantity::Activations),
        ] {
            assert_both_precisions_keep_their_bits(&Case { method, ..PLAIN });
        }
    }
}

#[test]
fn fast_reduction_gives_all_ranks_the_same_weights_near_the_exact_ones() {
    let _limit = time_limit();
    for optimizer in [Rule::Sgd(0.0), Rule::Sgd(0.9), Rule::Adam] {
        let case = Case { optimizer, ..PLAIN };
        let (exact, ..) = train::<f64>(&case, Ranks::alone(), 1);
        let found = train_on_ranks::<f64>(&case, (3, 2), Reduce::Fast);
        assert!(found.iter().all(|(hash, ..)| *hash == found[0].0));
        assert_ne!(found[0].0, exact, "the sums are in another order");
        if let Some(expected) = case.communication(8, Reduce::Fast) {
            assert_eq!(found[0].2.bytes, expected.delivered(3));
            assert_eq!(found[0].2.exchanges, expected.exchanges);
        }
    }
}
