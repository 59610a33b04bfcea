//! Gradients by finite differences, forward mode, node perturbation, numeric backprop and
//! random directions, and training by them, have the same bits on any number of workers, with any
//! kernel, in fused or separate steps, and in fresh or used memory. Steady steps of incremental
//! differences, incremental forward mode, node perturbation and numeric backprop allocate nothing.

use std::sync::Arc;

use crate::support::allocations;
use crate::support::networks::{images, uniform_scaling};
use crate::support::watchdog::time_limit;
use nplus1::data::{Batch, Samples};
use nplus1::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, NodePerturbationConfig, Reuse, Scheme, Summation,
};
use nplus1::gradient::random_direction::{
    DirectionSeed, DirectionsConfig, Distribution, ForwardGradientConfig, PerturbedQuantity,
    SpsaConfig,
};
use nplus1::gradient::{Control, GradientConfig, NumericBackpropConfig, Stopped, TrainingEngine};
use nplus1::kernels::Isa;
use nplus1::kernels::update::Rule;
use nplus1::model::{Initialization, Loss, Network, OutputUnits, Parameters};
use nplus1::numeric::Real;
use nplus1::parallel::Workers;

const ROWS: usize = 148;
const FEATURES: usize = 20;
const CLASSES: u16 = 5;

/// Returns images of 20 pixels: mostly 0 if `sparse`, else none 0; many pixels are equal.
fn samples<R: Real>(sparse: bool) -> Samples<R> {
    let data = images((ROWS, FEATURES), CLASSES, sparse, |hash| {
        (hash % 6 * 50) as u8 + 1
    });
    Samples::new(&Arc::new(data), &uniform_scaling(FEATURES, 255.0))
}

fn network(hidden: &[usize], output: OutputUnits, loss: Loss, l2: f64) -> Network {
    let sizes = [&[FEATURES], hidden, &[usize::from(CLASSES)]].concat();
    Network::new(&sizes, true, output, loss, l2).unwrap()
}

/// Returns a difference of each parameter, with the increment `auto`.
fn difference(
    scheme: Scheme,
    (reuse, arithmetic, summation): (Reuse, Arithmetic, Summation),
) -> GradientConfig {
    GradientConfig::Difference(DifferenceConfig {
        scheme,
        reuse,
        arithmetic,
        summation,
        increment: Increment::Auto,
        extrapolate: false,
    })
}

const INCREMENTAL: (Reuse, Arithmetic, Summation) = (
    Reuse::Incremental,
    Arithmetic::Plain,
    Summation::Differences,
);
const CANCELLATION_FREE: (Reuse, Arithmetic, Summation) = (
    Reuse::Incremental,
    Arithmetic::CancellationFree,
    Summation::Differences,
);
const FULL: (Reuse, Arithmetic, Summation) =
    (Reuse::Full, Arithmetic::Plain, Summation::Differences);
const FULL_LOSSES: (Reuse, Arithmetic, Summation) =
    (Reuse::Full, Arithmetic::Plain, Summation::Losses);
const PREFIX: (Reuse, Arithmetic, Summation) =
    (Reuse::Prefix, Arithmetic::Plain, Summation::Differences);

/// The deterministic methods that are neither backprop nor a difference in each parameter.
const OTHERS: [GradientConfig; 6] = [
    GradientConfig::ForwardMode(Reuse::Full),
    GradientConfig::ForwardMode(Reuse::Prefix),
    GradientConfig::ForwardMode(Reuse::Incremental),
    GradientConfig::NodePerturbation(NodePerturbationConfig {
        arithmetic: Arithmetic::Plain,
        increment: None,
    }),
    GradientConfig::NodePerturbation(NodePerturbationConfig {
        arithmetic: Arithmetic::CancellationFree,
        increment: None,
    }),
    GradientConfig::NumericBackprop(NumericBackpropConfig { increment: None }),
];

/// A method on a network and inputs, whose bits are compared between runs.
#[derive(Clone, Copy)]
struct Case {
    hidden: &'static [usize],
    output: OutputUnits,
    loss: Loss,
    l2: f64,
    sparse: bool,
    method: GradientConfig,
    batch_size: usize,
    steps: usize,
}

/// Computes one gradient of a full mini-batch, then trains with momentum over mini-batches of which
/// the last is smaller; returns the gradient, the hash of θ, and the bits of the sum of the losses.
fn computed_bits<R: Real>(case: &Case, workers: usize, isa: Isa) -> (Vec<R>, String, u64) {
    let samples = samples::<R>(case.sparse);
    let network = network(case.hidden, case.output, case.loss, case.l2);
    let pool = Arc::new(Workers::exactly(workers).unwrap());
    let mut engine = case
        .method
        .engine(&network, &pool, isa, &samples, case.batch_size);
    let mut theta = Initialization::Scaled.draw::<R>(&network.layout, 3);
    let first = theta.sha256();
    let rows: Vec<u32> = (0..case.batch_size as u32).collect();
    let mut gradient = Parameters::zeros(Arc::clone(&network.layout));
    let batch = Batch {
        samples: &samples,
        rows: &rows,
    };
    let control = Control::default();
    // Uses this number of workers even where fewer would be faster.
    engine.limit_workers(workers);
    engine
        .gradient(&theta, batch, &mut gradient, &control)
        .unwrap();
    assert!(gradient.flat().iter().any(|&g| g != R::ZERO));
    // The last mini-batch is smaller.
    let rows = case.steps * case.batch_size - case.batch_size / 3;
    let order: Vec<u32> = (0..ROWS as u32).cycle().take(rows).collect();
    let rule = Rule {
        rate: R::from_f64(0.5),
        l2: R::from_f64(case.l2),
        decay: R::ZERO,
        momentum: R::from_f64(0.5),
    };
    let mut loss = 0.0;
    engine.load(&theta);
    let done = engine
        .descend(
            &samples,
            &order,
            case.batch_size,
            rule,
            workers,
            &mut loss,
            &control,
        )
        .unwrap();
    assert_eq!(done, rows);
    engine.store(&mut theta);
    let hash = theta.sha256();
    assert_ne!(hash, first, "training changed no weight");
    (gradient.flat().to_vec(), hash, loss.to_bits())
}

#[test]
fn a_gradient_is_partitioned_for_at_most_as_many_workers_as_have_work() {
    let _limit = time_limit();
    let most = |hidden: &[usize], rows: usize| {
        let network = network(hidden, OutputUnits::Sigmoid, Loss::CrossEntropy, 0.0);
        let samples = samples::<f32>(false);
        let pool = Arc::new(Workers::exactly(16).unwrap());
        let method = GradientConfig::Difference(DifferenceConfig {
            scheme: Scheme::Forward,
            reuse: Reuse::Incremental,
            arithmetic: Arithmetic::Plain,
            summation: Summation::Differences,
            increment: Increment::Auto,
            extrapolate: false,
        });
        let engine = method.engine(&network, &pool, Isa::detect(), &samples, rows);
        engine.most_workers()
    };
    assert_eq!(most(&[8], 1), 1);
    assert_eq!(most(&[8], 10), 11);
    assert_eq!(most(&[40], 128), 16);
}

/// Checks that the results have the same bits with every number of workers and every kernel.
fn assert_keeps_its_bits<R: Real>(case: &Case) {
    let name = format!(
        "{:?} {:?} {:?} sparse {} batch {} {:?}",
        case.hidden, case.output, case.loss, case.sparse, case.batch_size, case.method
    );
    let reference = computed_bits::<R>(case, 1, Isa::detect());
    for workers in [2, 3, 5, 8, 16] {
        let found = computed_bits::<R>(case, workers, Isa::detect());
        assert!(found == reference, "{workers} workers: {name}");
    }
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let found = computed_bits::<R>(case, 2, isa);
        assert!(found == reference, "{}: {name}", isa.name());
    }
}

fn assert_both_precisions_keep_their_bits(case: &Case) {
    assert_keeps_its_bits::<f32>(case);
    assert_keeps_its_bits::<f64>(case);
}

const SMALL: Case = Case {
    hidden: &[18],
    output: OutputUnits::Sigmoid,
    loss: Loss::Quadratic,
    l2: 0.0,
    sparse: true,
    method: GradientConfig::Backprop,
    batch_size: 10,
    steps: 20,
};

#[test]
fn slow_incremental_differences_keep_their_bits() {
    let _limit = time_limit();
    for evaluation in [INCREMENTAL, CANCELLATION_FREE] {
        for scheme in [Scheme::Forward, Scheme::Central] {
            for (sparse, batch_size) in [(true, 10), (false, 10), (true, 128), (false, 128)] {
                assert_both_precisions_keep_their_bits(&Case {
                    sparse,
                    batch_size,
                    steps: if batch_size == 10 { 20 } else { 3 },
                    method: difference(scheme, evaluation),
                    ..SMALL
                });
            }
        }
    }
}

#[test]
fn slow_deep_incremental_differences_keep_their_bits() {
    let _limit = time_limit();
    for evaluation in [INCREMENTAL, CANCELLATION_FREE] {
        for (hidden, scheme, sparse) in [
            (&[18, 9][..], Scheme::Forward, true),
            (&[9, 18], Scheme::Central, false),
            (&[6, 17, 5], Scheme::Forward, false),
        ] {
            for (output, loss, l2) in [
                (OutputUnits::Softmax, Loss::CrossEntropy, 1e-3),
                (OutputUnits::Sigmoid, Loss::CrossEntropy, 0.0),
            ] {
                assert_both_precisions_keep_their_bits(&Case {
                    hidden,
                    output,
                    loss,
                    l2,
                    sparse,
                    method: difference(scheme, evaluation),
                    ..SMALL
                });
            }
        }
    }
}

#[test]
fn networks_without_hidden_units_keep_their_bits() {
    let _limit = time_limit();
    for evaluation in [INCREMENTAL, CANCELLATION_FREE, PREFIX] {
        assert_both_precisions_keep_their_bits(&Case {
            hidden: &[],
            method: difference(Scheme::Forward, evaluation),
            ..SMALL
        });
    }
}

#[test]
fn slow_whole_passes_keep_their_bits() {
    let _limit = time_limit();
    for (evaluation, scheme, sparse, batch_size, steps) in [
        (FULL, Scheme::Forward, true, 10, 20),
        (FULL, Scheme::Central, false, 10, 4),
        (FULL_LOSSES, Scheme::Forward, false, 10, 4),
        (PREFIX, Scheme::Forward, false, 128, 2),
        (PREFIX, Scheme::Central, true, 128, 2),
    ] {
        for (hidden, l2) in [(&[9][..], 0.0), (&[5, 4], 1e-3)] {
            assert_both_precisions_keep_their_bits(&Case {
                hidden,
                l2,
                sparse,
                batch_size,
                steps,
                method: difference(scheme, evaluation),
                ..SMALL
            });
        }
    }
}

/// Returns every random-direction method with `count` directions of either distribution.
fn random_direction_methods(count: usize) -> impl Iterator<Item = GradientConfig> {
    [Distribution::Rademacher, Distribution::Gaussian]
        .into_iter()
        .flat_map(move |distribution| {
            let directions = DirectionsConfig {
                count,
                distribution,
            };
            let forward = |perturbed| {
                GradientConfig::ForwardGradient(ForwardGradientConfig {
                    directions,
                    perturbed,
                })
            };
            [
                GradientConfig::Spsa(SpsaConfig {
                    directions,
                    increment: None,
                }),
                forward(PerturbedQuantity::Weights),
                forward(PerturbedQuantity::Activations),
            ]
        })
}

#[test]
fn slow_estimates_from_random_directions_keep_their_bits() {
    let _limit = time_limit();
    for (hidden, output, loss, l2, sparse, batch_size) in [
        (
            &[][..],
            OutputUnits::Softmax,
            Loss::CrossEntropy,
            0.0,
            true,
            10,
        ),
        (&[18], OutputUnits::Sigmoid, Loss::Quadratic, 0.0, true, 128),
        (
            &[18],
            OutputUnits::Softmax,
            Loss::CrossEntropy,
            1e-3,
            false,
            10,
        ),
        (
            &[9, 18],
            OutputUnits::Sigmoid,
            Loss::CrossEntropy,
            1e-3,
            true,
            10,
        ),
    ] {
        // Fewer directions than workers, and more.
        for method in random_direction_methods(1).chain(random_direction_methods(5)) {
            assert_both_precisions_keep_their_bits(&Case {
                hidden,
                output,
                loss,
                l2,
                sparse,
                method,
                batch_size,
                steps: if batch_size == 10 { 8 } else { 2 },
            });
        }
    }
}

#[test]
fn slow_forward_mode_node_perturbation_and_numeric_backprop_keep_their_bits() {
    let _limit = time_limit();
    for method in OTHERS {
        for (hidden, output, loss, l2) in [
            (&[][..], OutputUnits::Softmax, Loss::CrossEntropy, 0.0),
            (&[18], OutputUnits::Sigmoid, Loss::Quadratic, 1e-3),
            (&[9, 18], OutputUnits::Sigmoid, Loss::CrossEntropy, 0.0),
            (&[6, 17, 5], OutputUnits::Softmax, Loss::CrossEntropy, 1e-3),
        ] {
            for (sparse, batch_size, steps) in [(true, 10, 8), (false, 10, 8), (true, 128, 2)] {
                assert_both_precisions_keep_their_bits(&Case {
                    hidden,
                    output,
                    loss,
                    l2,
                    sparse,
                    method,
                    batch_size,
                    steps,
                });
            }
        }
    }
}

/// Returns the bytes that an engine and one gradient of 10 rows by it allocate.
fn allocated(config: &GradientConfig) -> usize {
    let samples = samples::<f32>(false);
    let network = network(&[18], OutputUnits::Sigmoid, Loss::Quadratic, 0.0);
    let pool = Arc::new(Workers::exactly(1).unwrap());
    let theta = Initialization::Scaled.draw::<f32>(&network.layout, 3);
    let rows: Vec<u32> = (0..10).collect();
    let before = allocations::allocated();
    let mut engine = config.engine(&network, &pool, Isa::detect(), &samples, 10);
    gradient_of(&mut *engine, &samples, &theta, &rows);
    allocations::allocated() - before
}

#[test]
fn directions_are_not_stored() {
    let _limit = time_limit();
    for (one, many) in random_direction_methods(1).zip(random_direction_methods(1001)) {
        let grown = allocated(&many) - allocated(&one);
        // One derivative per direction, or one for each of its 10 rows, is stored. A direction
        // itself has 473 components for the weights or 230 for the activations.
        assert!(grown <= 1000 * 10 * 4, "{many:?}: {grown} bytes");
    }
}

/// Trains for `steps` steps of 10 rows, in calls of `steps_per_call` steps that set the current
/// step as a resumed run does; returns the hash of the weights.
fn trained_in_calls(
    config: &GradientConfig,
    steps: usize,
    steps_per_call: usize,
    seed: u64,
) -> String {
    let samples = samples::<f32>(true);
    let network = network(&[9], OutputUnits::Sigmoid, Loss::Quadratic, 0.0);
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let mut theta = Initialization::Scaled.draw::<f32>(&network.layout, 3);
    let order: Vec<u32> = (0..ROWS as u32).cycle().take(10 * steps).collect();
    for (call, rows) in order.chunks(10 * steps_per_call).enumerate() {
        let mut engine = config.engine(&network, &pool, Isa::detect(), &samples, 10);
        engine.load(&theta);
        engine.set_direction_seed(DirectionSeed {
            seed,
            step: (call * steps_per_call) as u64,
        });
        let rule = Rule {
            rate: 0.1,
            ..Rule::gradient_only(0.0)
        };
        engine
            .descend(&samples, rows, 10, rule, 2, &mut 0.0, &Control::default())
            .unwrap();
        engine.store(&mut theta);
    }
    theta.sha256()
}

#[test]
fn directions_depend_on_the_seed_and_the_step_alone() {
    let _limit = time_limit();
    for config in random_direction_methods(2) {
        let whole = trained_in_calls(&config, 12, 12, 7);
        for steps_per_call in [1, 5] {
            let found = trained_in_calls(&config, 12, steps_per_call, 7);
            assert_eq!(found, whole, "{steps_per_call} steps per call, {config:?}");
        }
        assert_ne!(trained_in_calls(&config, 12, 12, 8), whole, "{config:?}");
    }
}

/// Returns every method of this file.
fn every_method() -> impl Iterator<Item = GradientConfig> {
    [FULL, FULL_LOSSES, PREFIX, INCREMENTAL, CANCELLATION_FREE]
        .into_iter()
        .flat_map(|evaluation| {
            [Scheme::Forward, Scheme::Central].map(|scheme| difference(scheme, evaluation))
        })
        .chain(random_direction_methods(3))
        .chain(OTHERS)
}

/// Checks that one fused step gives the bits of the gradient followed by the update.
fn assert_fused_equals_separate<R: Real>(
    hidden: &[usize],
    sparse: bool,
    rows: u32,
    method: &GradientConfig,
) {
    let samples = samples::<R>(sparse);
    let network = network(hidden, OutputUnits::Sigmoid, Loss::CrossEntropy, 0.1);
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let mut engine = method.engine(&network, &pool, Isa::detect(), &samples, 33);
    let mut theta = Initialization::Normal.draw::<R>(&network.layout, 1);
    let rows: Vec<u32> = (0..rows).collect();
    let control = Control::default();
    let mut gradient = Parameters::zeros(Arc::clone(&network.layout));
    let batch = Batch {
        samples: &samples,
        rows: &rows,
    };
    engine
        .gradient(&theta, batch, &mut gradient, &control)
        .unwrap();
    let rate = R::from_f64(0.3);
    let rule = Rule {
        rate,
        l2: R::from_f64(network.l2),
        decay: R::ZERO,
        momentum: R::ZERO,
    };
    engine.load(&theta);
    engine
        .descend(&samples, &rows, rows.len(), rule, 2, &mut 0.0, &control)
        .unwrap();
    let mut fused = Parameters::zeros(Arc::clone(&network.layout));
    engine.store(&mut fused);
    for (w, &g) in theta.flat_mut().iter_mut().zip(gradient.flat()) {
        // The gradient contains the l2 term.
        *w = (-rate).mul_add(g, *w);
    }
    assert_eq!(fused, theta, "{hidden:?} sparse {sparse} {method:?}");
}

#[test]
fn a_fused_step_has_the_bits_of_the_gradient_followed_by_the_update() {
    let _limit = time_limit();
    for method in every_method() {
        for hidden in [&[][..], &[9], &[5, 4]] {
            for sparse in [true, false] {
                for rows in [1, 10, 33] {
                    assert_fused_equals_separate::<f32>(hidden, sparse, rows, &method);
                    assert_fused_equals_separate::<f64>(hidden, sparse, rows, &method);
                }
            }
        }
    }
}

/// Returns the gradient of `rows` by `engine`.
fn gradient_of<R: Real>(
    engine: &mut dyn TrainingEngine<R>,
    samples: &Samples<R>,
    theta: &Parameters<R>,
    rows: &[u32],
) -> Vec<R> {
    let poison = vec![R::from_f64(f64::NAN); theta.layout().len()];
    let mut gradient = Parameters::from_flat(Arc::clone(theta.layout()), poison);
    let batch = Batch { samples, rows };
    engine
        .gradient(theta, batch, &mut gradient, &Control::default())
        .unwrap();
    gradient.flat().to_vec()
}

#[test]
fn a_stop_flag_ends_a_gradient_of_many_passes() {
    let _limit = time_limit();
    let samples = samples::<f64>(true);
    let network = network(&[18], OutputUnits::Sigmoid, Loss::Quadratic, 0.0);
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let theta = Initialization::Scaled.draw::<f64>(&network.layout, 3);
    // The difference tables have 257 rows of a panel, so an incremental pass takes several blocks
    // of rows.
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    let control = Control::new(&Arc::new(std::sync::atomic::AtomicBool::new(true)));
    // Numeric backprop, and node perturbation of this number of rows, end before they check
    // the flag.
    let is_short = |method: &GradientConfig| {
        matches!(
            method,
            GradientConfig::NumericBackprop(_) | GradientConfig::NodePerturbation(_)
        )
    };
    for method in every_method().filter(|method| !is_short(method)) {
        let mut engine = method.engine(&network, &pool, Isa::detect(), &samples, ROWS);
        let mut gradient = Parameters::zeros(Arc::clone(&network.layout));
        let batch = Batch {
            samples: &samples,
            rows: &rows,
        };
        let result = engine.gradient(&theta, batch, &mut gradient, &control);
        assert_eq!(result.err(), Some(Stopped::Interrupted), "{method:?}");
    }
}

#[test]
fn memory_full_of_nan_changes_no_bit() {
    let _limit = time_limit();
    for method in every_method() {
        for sparse in [true, false] {
            for hidden in [&[][..], &[18], &[9, 18], &[6, 17, 5]] {
                let samples = samples::<f64>(sparse);
                let network = network(hidden, OutputUnits::Softmax, Loss::CrossEntropy, 0.1);
                let pool = Arc::new(Workers::exactly(2).unwrap());
                let engine = || method.engine(&network, &pool, Isa::detect(), &samples, 40);
                let theta = Initialization::Scaled.draw::<f64>(&network.layout, 3);
                let rows: Vec<u32> = (0..10).collect();
                let fresh = gradient_of(&mut *engine(), &samples, &theta, &rows);
                assert!(fresh.iter().all(|g| g.is_finite()));
                // NaN in θ fills the buffers of activations, changes and sums, for more rows than
                // the next gradient uses.
                let mut used = engine();
                let nan = vec![f64::NAN; network.layout.len()];
                let nan = Parameters::from_flat(Arc::clone(&network.layout), nan);
                let all: Vec<u32> = (0..40).collect();
                let poison = gradient_of(&mut *used, &samples, &nan, &all);
                assert!(poison.iter().any(|g| g.is_nan()));
                let found = gradient_of(&mut *used, &samples, &theta, &rows);
                assert_eq!(found, fresh, "{hidden:?} sparse {sparse} {method:?}");
            }
        }
    }
}

#[test]
fn a_steady_step_allocates_nothing() {
    let _limit = time_limit();
    let differences = [INCREMENTAL, CANCELLATION_FREE]
        .into_iter()
        .flat_map(|evaluation| {
            [Scheme::Forward, Scheme::Central].map(|scheme| difference(scheme, evaluation))
        });
    for method in differences.chain(OTHERS.into_iter().skip(2)) {
        for hidden in [&[18][..], &[9, 18]] {
            for sparse in [true, false] {
                let samples = samples::<f32>(sparse);
                let network = network(hidden, OutputUnits::Sigmoid, Loss::Quadratic, 0.0);
                let pool = Arc::new(Workers::exactly(1).unwrap());
                let mut engine = method.engine(&network, &pool, Isa::detect(), &samples, 33);
                engine.load(&Initialization::Normal.draw(&network.layout, 1));
                let rule = Rule::gradient_only(0.0);
                let order: Vec<u32> = (0..64).cycle().take(64 * 20).collect();
                let mut allocations = |rows: usize| {
                    let before = allocations::allocations();
                    let control = Control::default();
                    engine
                        .descend(&samples, &order[..rows], 10, rule, 1, &mut 0.0, &control)
                        .unwrap();
                    allocations::allocations() - before
                };
                allocations(10);
                let (few, many) = (allocations(64), allocations(64 * 20));
                assert_eq!(few, many, "{hidden:?} sparse {sparse} {method:?}");
            }
        }
    }
}

/// The hash of the weights after 20 steps of cancellation-free forward differences is the same on
/// every machine and in every version; a new value means changed arithmetic, which belongs in the
/// changelog.
#[test]
fn the_golden_hash_is_unchanged() {
    let _limit = time_limit();
    let case = Case {
        method: difference(Scheme::Forward, CANCELLATION_FREE),
        ..SMALL
    };
    let (_, hash, _) = computed_bits::<f32>(&case, 2, Isa::detect());
    assert_eq!(hash, GOLDEN);
}

const GOLDEN: &str = "fb8c91925ba136f928e4aef7a20f7de2de03fba883378d773c547c26134ea58b";
