//! SGD and Adam make the steps of PyTorch, L-BFGS finds the minima of scipy (tests/reference/
//! optimizers.py), and all train with gradients by any method. A run resumed from its checkpoint
//! has the same bits as an uninterrupted one; a run without a possible step ends and says why.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::support::breast_cancer::BreastCancer;
use crate::support::interruptions::train_with_interruptions;
use crate::support::reference_cases::{flat, numbers, reference_cases};
use nplus1::data::{Batch, Samples};
use nplus1::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, Reuse, Scheme, Summation,
};
use nplus1::gradient::random_direction::{
    DirectionsConfig, Distribution, ForwardGradientConfig, PerturbedQuantity, SpsaConfig,
};
use nplus1::gradient::{Control, GradientConfig};
use nplus1::kernels::Isa;
use nplus1::model::{Initialization, Loss, Network, OutputUnits, Parameters};
use nplus1::numeric::Real;
use nplus1::optimizer::{
    AdamConfig, History, LbfgsConfig, Optimizer, OptimizerConfig, OptimizerState, Schedule,
    SgdConfig, adam,
};
use nplus1::parallel::Workers;
use nplus1::train::{Ending, NoObserver, Observer, TrainConfig, Training, TrainingState};
use serde_json::Value;

fn reference() -> Value {
    let text = std::fs::read_to_string("tests/reference/optimizers.json").unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn adam_makes_pytorch_s_steps() {
    let mut compared = 0;
    for row in reference()["adam"].as_array().unwrap() {
        let case = reference_cases()
            .into_iter()
            .find(|case| case.name == row["case"])
            .unwrap();
        let setting =
            |name: &str, otherwise: f64| row["settings"][name].as_f64().unwrap_or(otherwise);
        let betas = numbers(&row["settings"]["betas"]);
        let adam = AdamConfig {
            learning_rate: setting("lr", 1e-3),
            beta1: betas.first().copied().unwrap_or(0.9),
            beta2: betas.last().copied().unwrap_or(0.999),
            epsilon: setting("eps", 1e-8),
            weight_decay: setting("weight_decay", 0.0),
            schedule: Schedule::Constant,
        };
        let layout = &case.network.layout;
        let samples = case.samples::<f64>();
        let rows: Vec<u32> = (0..case.rows as u32).collect();
        let pool = Arc::new(Workers::exactly(1).unwrap());
        let engine = &GradientConfig::Backprop;
        let mut engine = engine.engine(&case.network, &pool, Isa::detect(), &samples, case.rows);
        let mut theta = Parameters::from_flat(Arc::clone(layout), case.parameters.clone());
        let mut moments = OptimizerState::zeros(&adam::STATE, layout);
        let mut gradient = Parameters::zeros(Arc::clone(layout));
        let mut smallest = f64::INFINITY;
        let steps = row["steps"].as_u64().unwrap();
        for _ in 0..steps {
            let batch = Batch {
                samples: &samples,
                rows: &rows,
            };
            let control = Control::default();
            engine
                .gradient(&theta, batch, &mut gradient, &control)
                .unwrap();
            for g in gradient.flat() {
                smallest = smallest.min(g.abs());
            }
            adam.step(1.0, &mut theta, &gradient, &mut moments);
        }
        // A step is rate · m̂/√v̂. The relative error of an element is at most 1e-12·‖g‖/|g|,
        // because the gradients agree to 1e-12 of the norm (tests/library/reference_gradients.rs); each
        // step adds at most twice that, times the rate, to θ.
        let norm = case.gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let allowed = 2.0 * steps as f64 * adam.learning_rate * 1e-12 * norm / smallest;
        assert!(allowed < 1e-6, "the tolerance of {allowed:e} is too wide");
        let expected = flat(layout, &row["weights"], &row["biases"]);
        let starts = case.parameters.iter();
        for ((found, expected), start) in theta.flat().iter().zip(&expected).zip(starts) {
            assert!(
                (found - expected).abs() <= allowed,
                "{}: {found} for {expected}",
                case.name
            );
            assert_ne!(found, start);
            compared += 1;
        }
    }
    assert!(compared > 100);
}

/// Compares momentum, weight decay (also of biases) and a last mini-batch with fewer rows, for each
/// of the three implementations of SGD: in backprop, in incremental differences, and for engines
/// that only compute gradients.
#[test]
fn sgd_makes_pytorch_s_steps_by_every_engine() {
    let mut compared = 0;
    for row in reference()["sgd"].as_array().unwrap() {
        let case = reference_cases()
            .into_iter()
            .find(|case| case.name == row["case"])
            .unwrap();
        let setting = |name: &str| row["settings"][name].as_f64().unwrap_or(0.0);
        let sgd = SgdConfig {
            learning_rate: setting("lr"),
            momentum: setting("momentum"),
            weight_decay: setting("weight_decay"),
            schedule: Schedule::Constant,
        };
        assert!(sgd.weight_decay > 0.0);
        let count = |name: &str| row[name].as_u64().unwrap() as usize;
        let (epochs, batch_size) = (count("epochs"), count("batch_size"));
        assert!(
            !case.rows.is_multiple_of(batch_size),
            "the last mini-batch is not smaller"
        );
        let layout = &case.network.layout;
        let samples = case.samples::<f64>();
        let order: Vec<u32> = (0..case.rows as u32).collect();
        let pool = Arc::new(Workers::exactly(2).unwrap());
        let theta = Parameters::from_flat(Arc::clone(layout), case.parameters.clone());
        let expected = flat(layout, &row["weights"], &row["biases"]);
        // Gradients agree to 1e-12 of the norm (tests/library/reference_gradients.rs); the norm of a
        // mini-batch's gradient is assumed to be at most ten times that of all rows; the error of
        // each step enters θ times rate/(1 − μ).
        let norm = case.gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let steps = epochs * case.rows.div_ceil(batch_size);
        let reach = sgd.learning_rate / (1.0 - sgd.momentum);
        let allowed = steps as f64 * reach * 10.0 * norm * 1e-12;
        assert!(allowed < 1e-9, "the tolerance of {allowed:e} is too wide");
        for method in [
            GradientConfig::Backprop,
            difference(
                Scheme::Forward,
                Arithmetic::CancellationFree,
                Increment::Auto,
            ),
            GradientConfig::ForwardMode(Reuse::Full),
        ] {
            let mut engine =
                method.engine(&case.network, &pool, Isa::detect(), &samples, batch_size);
            engine.load(&theta);
            let rule = sgd.rule(case.network.l2, 1.0);
            for _ in 0..epochs {
                let control = Control::default();
                let workers = engine.most_workers().min(2);
                engine
                    .descend(
                        &samples, &order, batch_size, rule, workers, &mut 0.0, &control,
                    )
                    .unwrap();
            }
            let mut found = theta.clone();
            engine.store(&mut found);
            for (index, (found, expected)) in found.flat().iter().zip(&expected).enumerate() {
                assert!(
                    (found - expected).abs() <= allowed,
                    "{}, {}: {} is {found} for {expected}",
                    case.name,
                    method.method(),
                    layout.name(index)
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 1000, "{compared}");
}

/// The fields of `Training` that these tests vary.
struct Setting<'a, R> {
    samples: &'a Samples<R>,
    network: &'a Network,
    rows: &'a [u32],
    optimizer: OptimizerConfig,
    config: TrainConfig,
    gradient: GradientConfig,
}

impl<R: Real> Setting<'_, R> {
    /// Returns the training, with the other fields fixed.
    fn training<'s>(&'s self, pool: &'s Arc<Workers>, control: &'s Control) -> Training<'s, R> {
        Training {
            network: self.network,
            samples: self.samples,
            rows: self.rows,
            validation: None,
            classes: 2,
            gradient: &self.gradient,
            optimizer: &self.optimizer,
            config: &self.config,
            seed: 5,
            pool,
            isa: Isa::detect(),
            workers: None,
            split: None,
            control,
        }
    }

    /// Trains on two threads.
    fn run(
        &self,
        state: &mut TrainingState<R>,
        observer: &mut dyn Observer<R>,
        control: &Control,
    ) -> Ending {
        let pool = Arc::new(Workers::exactly(2).unwrap());
        let training = self.training(&pool, control);
        training.run(state, observer).unwrap()
    }
}

fn epochs(count: usize, batch_size: usize) -> TrainConfig {
    TrainConfig {
        epochs: Some(count),
        max_steps: None,
        max_seconds: None,
        batch_size,
        early_stopping: None,
    }
}

fn lbfgs(tolerance: f64) -> OptimizerConfig {
    OptimizerConfig::Lbfgs(LbfgsConfig {
        memory: 10,
        tolerance,
    })
}

#[test]
fn lbfgs_finds_scipy_s_minimum() {
    let data = BreastCancer::standardized();
    let samples = data.samples::<f64>();
    for row in reference()["lbfgs"].as_array().unwrap() {
        let l2 = row["l2"].as_f64().unwrap();
        let network = data.network(l2);
        let start = numbers(&row["start"]);
        let theta = Parameters::from_flat(Arc::clone(&network.layout), start);
        let setting = Setting {
            samples: &samples,
            network: &network,
            rows: &data.rows,
            optimizer: lbfgs(1e-8),
            config: epochs(1000, TrainConfig::ALL_ROWS),
            gradient: GradientConfig::Backprop,
        };
        let mut state = TrainingState::new(theta);
        let ending = setting.run(&mut state, &mut NoObserver, &Control::default());
        assert_eq!(ending, Ending::Converged);
        let history = History::from_state(state.optimizer_state.clone()).unwrap();
        let expected = row["objective"].as_f64().unwrap();
        let scipy = row["iterations"].as_u64().unwrap();
        println!(
            "l2 {l2}: {} iterations (scipy {scipy}), {:.12} (scipy {expected:.12})",
            state.epoch, history.value
        );
        // Where the curvature is at least l2, ‖g‖∞ ≤ 1e-8 for N = 257 parameters bounds the
        // objective's distance from the minimum by N·1e-16/(2·l2).
        if l2 == 2e-3 {
            let allowed = 257.0 * 1e-16 / (2.0 * l2) + 1e-15;
            assert!(
                (history.value - expected).abs() <= allowed,
                "{}",
                history.value - expected
            );
        } else {
            // There are several minima; all lie in this range.
            assert!(
                (0.0667..0.0674).contains(&history.value),
                "{}",
                history.value
            );
        }
        assert!(
            state.epoch < 2 * scipy as usize,
            "{} iterations",
            state.epoch
        );
        assert_eq!(state.steps, state.epoch as u64);
        let losses: Vec<f64> = state
            .records
            .iter()
            .map(|record| record.train_loss)
            .collect();
        assert!(losses.last() < losses.first());
    }
}

fn difference(scheme: Scheme, arithmetic: Arithmetic, increment: Increment) -> GradientConfig {
    GradientConfig::Difference(DifferenceConfig {
        scheme,
        reuse: Reuse::Incremental,
        arithmetic,
        summation: Summation::Differences,
        increment,
        extrapolate: false,
    })
}

#[test]
fn every_gradient_method_trains_with_every_optimizer() {
    let data = BreastCancer::standardized();
    let samples = data.samples::<f64>();
    let network = data.network(2e-3);
    let rows = &data.rows[..100];
    let (plain, free) = (Arithmetic::Plain, Arithmetic::CancellationFree);
    let adam = OptimizerConfig::Adam(ADAM);
    for (optimizer, batch_size) in [(adam, 20), (lbfgs(1e-6), TrainConfig::ALL_ROWS)] {
        let mut losses = Vec::new();
        for gradient in [
            GradientConfig::Backprop,
            difference(Scheme::Forward, plain, Increment::Auto),
            difference(Scheme::Central, plain, Increment::Auto),
            difference(Scheme::Forward, free, Increment::Auto),
        ] {
            let setting = Setting {
                samples: &samples,
                network: &network,
                rows,
                optimizer: optimizer.clone(),
                config: epochs(5, batch_size),
                gradient,
            };
            let mut state = TrainingState::new(Initialization::Scaled.draw(&network.layout, 3));
            setting.run(&mut state, &mut NoObserver, &Control::default());
            losses.push(state.records.last().unwrap().train_loss);
            let first = state.records[0].train_loss;
            assert!(losses[losses.len() - 1] < 0.8 * first, "{losses:?} {first}");
        }
        // Quotients have a relative error of √u ≈ 1e-8, and 5 steps do not amplify it much.
        for loss in &losses {
            assert!((loss / losses[0] - 1.0).abs() < 1e-5, "{losses:?}");
        }
    }
}

/// Compares the shortest of many predictions with the shortest of many steps, measured in turns on one
/// thread: both minima approach the undisturbed time, so the comparison is repeated until they agree.
#[test]
fn the_predicted_time_of_a_step_is_within_a_factor_of_2() {
    let data = BreastCancer::standardized();
    let samples = data.samples::<f64>();
    let network = data.network(1e-3);
    let (plain, batch_size) = (Arithmetic::Plain, 50);
    let whole = GradientConfig::Difference(DifferenceConfig {
        scheme: Scheme::Forward,
        reuse: Reuse::Full,
        arithmetic: plain,
        summation: Summation::Differences,
        increment: Increment::Auto,
        extrapolate: false,
    });
    for (gradient, steps) in [(GradientConfig::Backprop, 8), (whole, 1)] {
        let sgd = SgdConfig {
            learning_rate: 0.1,
            momentum: 0.0,
            weight_decay: 0.0,
            schedule: Schedule::Constant,
        };
        let setting = Setting {
            samples: &samples,
            network: &network,
            rows: &data.rows,
            optimizer: OptimizerConfig::Sgd(sgd),
            config: epochs(1, batch_size),
            gradient,
        };
        let pool = Arc::new(Workers::exactly(1).unwrap());
        let control = Control::default();
        let training = setting.training(&pool, &control);
        let theta = Initialization::Scaled.draw::<f64>(&network.layout, 3);
        let mut engine = training.engine();
        engine.load(&theta);
        let rate_zero = SgdConfig {
            learning_rate: 0.0,
            ..sgd
        };
        let rule = rate_zero.rule(network.l2, 1.0);
        let order = &data.rows[..steps * batch_size];
        let [mut predicted, mut taken] = [f64::INFINITY; 2];
        let agree = (0..600).any(|_| {
            let budget = Duration::from_millis(10);
            predicted = predicted.min(training.measure_seconds_per_step(&theta, budget).unwrap());
            let start = Instant::now();
            engine
                .descend(&samples, order, batch_size, rule, 1, &mut 0.0, &control)
                .unwrap();
            taken = taken.min(start.elapsed().as_secs_f64() / steps as f64);
            (0.5..2.0).contains(&(predicted / taken))
        });
        let method = gradient.method();
        assert!(agree, "{method}: {predicted:e} s predicted, {taken:e} s");
    }
}

const ADAM: AdamConfig = AdamConfig {
    learning_rate: 1e-2,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: 1e-4,
    schedule: Schedule::Cosine,
};

/// Checks that a run that is interrupted several times and resumed from its checkpoints ends in the
/// same state as an uninterrupted one.
fn assert_resumes_with_the_same_bits<R: Real>(
    optimizer: &OptimizerConfig,
    gradient: GradientConfig,
    batch_size: usize,
) {
    let data = BreastCancer::standardized();
    let samples = data.samples::<R>();
    let network = data.network(1e-3);
    let setting = Setting {
        samples: &samples,
        network: &network,
        rows: &data.rows,
        optimizer: optimizer.clone(),
        config: epochs(12, batch_size),
        gradient,
    };
    let start = || TrainingState::new(Initialization::Scaled.draw::<R>(&network.layout, 3));
    let timeless = |mut state: TrainingState<R>| {
        for record in &mut state.records {
            record.seconds = 0.0;
        }
        state
    };
    let mut whole = start();
    assert_eq!(
        setting.run(&mut whole, &mut NoObserver, &Control::default()),
        Ending::Finished
    );

    let (state, interruptions) = train_with_interruptions(start(), |state, stopping, control| {
        setting.run(state, stopping, control)
    });
    assert!(interruptions >= 3, "{interruptions}");
    assert!(
        timeless(state) == timeless(whole),
        "the resumed run differs from the uninterrupted one"
    );
}

#[test]
fn an_interrupted_run_goes_on_with_the_same_bits() {
    let adam = OptimizerConfig::Adam(ADAM);
    assert_resumes_with_the_same_bits::<f64>(&adam, GradientConfig::Backprop, 10);
    assert_resumes_with_the_same_bits::<f32>(&adam, GradientConfig::Backprop, 100);
    assert_resumes_with_the_same_bits::<f64>(
        &lbfgs(0.0),
        GradientConfig::Backprop,
        TrainConfig::ALL_ROWS,
    );
    assert_resumes_with_the_same_bits::<f32>(
        &lbfgs(0.0),
        GradientConfig::Backprop,
        TrainConfig::ALL_ROWS,
    );
}

/// The directions differ from step to step, and are the same when a run is resumed within an epoch.
#[test]
fn an_interrupted_run_with_random_directions_goes_on_with_the_same_bits() {
    let directions = DirectionsConfig {
        count: 2,
        distribution: Distribution::Gaussian,
    };
    let spsa = GradientConfig::Spsa(SpsaConfig {
        directions,
        increment: None,
    });
    let forward = |perturbed| {
        GradientConfig::ForwardGradient(ForwardGradientConfig {
            directions,
            perturbed,
        })
    };
    let sgd = OptimizerConfig::Sgd(SgdConfig {
        learning_rate: 1e-3,
        momentum: 0.5,
        weight_decay: 0.0,
        schedule: Schedule::Cosine,
    });
    let adam = OptimizerConfig::Adam(ADAM);
    assert_resumes_with_the_same_bits::<f64>(&sgd, spsa, 100);
    assert_resumes_with_the_same_bits::<f32>(&adam, spsa, 100);
    assert_resumes_with_the_same_bits::<f32>(&sgd, forward(PerturbedQuantity::Weights), 100);
    assert_resumes_with_the_same_bits::<f64>(&adam, forward(PerturbedQuantity::Activations), 100);
}

/// The stop flag is set before the run, so its first gradient is abandoned.
#[test]
fn an_interrupted_iteration_leaves_the_state_as_it_was() {
    let data = BreastCancer::standardized();
    let samples = data.samples::<f64>();
    let network = data.network(1e-3);
    let setting = Setting {
        samples: &samples,
        network: &network,
        rows: &data.rows[..50],
        optimizer: lbfgs(0.0),
        config: epochs(2, TrainConfig::ALL_ROWS),
        gradient: GradientConfig::Difference(DifferenceConfig {
            scheme: Scheme::Forward,
            reuse: Reuse::Full,
            arithmetic: Arithmetic::Plain,
            summation: Summation::Differences,
            increment: Increment::Auto,
            extrapolate: false,
        }),
    };
    let start = TrainingState::new(Initialization::Scaled.draw::<f64>(&network.layout, 3));
    let mut state = start.clone();
    let stopped = Control::new(&Arc::new(AtomicBool::new(true)));
    assert_eq!(
        setting.run(&mut state, &mut NoObserver, &stopped),
        Ending::Interrupted
    );
    assert!(state == start, "{} iterations", state.epoch);
}

#[test]
fn a_gradient_whose_error_reaches_its_size_ends_the_run_in_the_line_search() {
    let data = BreastCancer::standardized();
    let samples = data.samples::<f64>();
    let network = data.network(2e-3);
    let setting = Setting {
        samples: &samples,
        network: &network,
        rows: &data.rows,
        optimizer: lbfgs(1e-6),
        config: epochs(500, TrainConfig::ALL_ROWS),
        gradient: difference(
            Scheme::Forward,
            Arithmetic::Plain,
            Increment::Absolute(1e-1),
        ),
    };
    let mut state = TrainingState::new(Initialization::Scaled.draw::<f64>(&network.layout, 3));
    let control = Control::default();
    let ending = setting.run(&mut state, &mut NoObserver, &control);
    assert_eq!(ending, Ending::Stuck);
    assert!(
        state.epoch > 3,
        "only {} iterations before the end",
        state.epoch
    );
    assert!(state.parameters.flat().iter().all(|x| x.is_finite()));
    // The last search found no step. It belongs to no epoch, but its evaluations are counted.
    let search = state.partial.tally.evaluations;
    assert!(search >= 2 * 20 * 258, "{search}");
    assert_eq!(state.tally().evaluations, control.evaluations());
    // A second run ends in the same way and changes nothing.
    let mut before = state.clone();
    let again = Control::default();
    assert_eq!(
        setting.run(&mut state, &mut NoObserver, &again),
        Ending::Stuck
    );
    assert_eq!(again.evaluations(), search);
    before.partial.seconds = state.partial.seconds;
    assert!(state == before);
}

#[test]
fn a_linear_model_converges_and_is_still_converged_when_resumed() {
    let data = BreastCancer::standardized();
    let samples = data.samples::<f64>();
    let network = Network::new(&[30, 1], true, OutputUnits::Linear, Loss::Logistic, 1e-2).unwrap();
    let setting = Setting {
        samples: &samples,
        network: &network,
        rows: &data.rows,
        optimizer: lbfgs(1e-6),
        config: epochs(500, TrainConfig::ALL_ROWS),
        gradient: difference(
            Scheme::Central,
            Arithmetic::CancellationFree,
            Increment::Auto,
        ),
    };
    let mut state = TrainingState::new(Parameters::zeros(Arc::clone(&network.layout)));
    let control = Control::default();
    assert_eq!(
        setting.run(&mut state, &mut NoObserver, &control),
        Ending::Converged
    );
    // At least one gradient per iteration, and one at the initial θ.
    let tally = state.tally().evaluations;
    assert_eq!(tally, control.evaluations());
    let gradients = tally / (2 * 31);
    assert!(
        gradients > state.steps && gradients < 2 * state.steps,
        "{gradients} gradients in {} iterations",
        state.steps
    );
    let (epochs, before) = (state.epoch, state.parameters.clone());
    assert_eq!(
        setting.run(&mut state, &mut NoObserver, &control),
        Ending::Converged
    );
    assert_eq!((state.epoch, state.parameters), (epochs, before));
    assert_eq!(
        tally,
        control.evaluations(),
        "evaluations after convergence"
    );
}

/// Reads the logistic regression of scikit-learn (tests/reference/logistic.py).
fn logistic() -> Value {
    let text = std::fs::read_to_string("tests/reference/logistic.json").unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn logistic_regression_ends_at_scikit_learn_s_weights() {
    let reference = logistic();
    let number = |name: &str| reference[name].as_f64().unwrap();
    let mut expected = numbers(&reference["weights"]);
    expected.push(number("bias"));
    let data = BreastCancer::standardized();
    let samples = data.samples::<f64>();
    let l2 = number("l2");
    let network = Network::new(&[30, 1], true, OutputUnits::Linear, Loss::Logistic, l2).unwrap();
    let adam = OptimizerConfig::Adam(AdamConfig {
        learning_rate: 0.05,
        weight_decay: 0.0,
        ..ADAM
    });
    let (tolerance, rows) = (1e-9, data.rows.len());
    // L-BFGS with both kinds of gradient; Adam on all rows, so that the gradient has no sampling
    // noise.
    for (optimizer, config, gradient) in [
        (
            lbfgs(tolerance),
            epochs(500, TrainConfig::ALL_ROWS),
            GradientConfig::Backprop,
        ),
        (
            lbfgs(tolerance),
            epochs(500, TrainConfig::ALL_ROWS),
            difference(
                Scheme::Central,
                Arithmetic::CancellationFree,
                Increment::Absolute(1e-7),
            ),
        ),
        (adam, epochs(4000, rows), GradientConfig::Backprop),
    ] {
        let setting = Setting {
            samples: &samples,
            network: &network,
            rows: &data.rows,
            optimizer,
            config,
            gradient,
        };
        let kind = setting.optimizer.kind();
        let mut state = TrainingState::new(Initialization::Scaled.draw(&network.layout, 3));
        let ending = setting.run(&mut state, &mut NoObserver, &Control::default());
        let size = match ending {
            Ending::Converged => tolerance * 31f64.sqrt(),
            _ => state.records.last().unwrap().gradient_norm,
        };
        assert!(size < 1e-5, "{kind}: {ending:?} at {size:e}");
        // Where the smallest curvature is μ, the minimum is at most ‖g‖/μ away; twice that is
        // allowed, because the curvature changes between θ and the minimum.
        let allowed = 2.0 * size / number("smallest_curvature");
        let found = state.parameters.flat();
        let squares = found.iter().zip(&expected).map(|(a, b)| (a - b).powi(2));
        let distance = squares.sum::<f64>().sqrt();
        println!(
            "{kind}: {} epochs, {distance:e} of {allowed:e}",
            state.epoch
        );
        assert!(
            distance <= allowed,
            "{kind}: {distance:e} above {allowed:e}"
        );
        // So the objective is at most ‖g‖²/μ above its minimum.
        let objective =
            state.records.last().unwrap().train_loss + network.penalty(&state.parameters);
        let above = objective - number("objective");
        let most = size * size / number("smallest_curvature") + 1e-15;
        if ending == Ending::Converged {
            assert!(above.abs() <= most, "{kind}: {above:e} above {most:e}");
        }
    }
}
