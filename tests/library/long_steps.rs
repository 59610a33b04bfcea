//! A step that takes long is stopped in the middle: θ, velocity and loss are those of the last whole
//! step, and the steps that are left give the bits of a run that was not stopped. Every method's
//! evaluations are stopped in the middle, too, and so is the evaluation of an epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::networks::{images, uniform_scaling};
use crate::support::watchdog::time_limit;
use nplus1::data::{Batch, Samples};
use nplus1::error::Result;
use nplus1::gradient::finite_difference::{Arithmetic, DifferenceConfig, Reuse};
use nplus1::gradient::random_direction::{
    DirectionsConfig, Distribution, ForwardGradientConfig, PerturbedQuantity, SpsaConfig,
};
use nplus1::gradient::{
    Backprop, Control, Descent, GradientConfig, GradientEngine, Stopped, TrainingEngine,
};
use nplus1::kernels::Isa;
use nplus1::kernels::update::Rule;
use nplus1::model::{Forward, Initialization, Loss, Network, OutputUnits, Parameters};
use nplus1::optimizer::{LbfgsConfig, OptimizerConfig, Schedule, SgdConfig};
use nplus1::parallel::{Split, Workers};
use nplus1::train::{Ending, EpochRecord, Observer, TrainConfig, Training, TrainingState};

/// Rows of a mini-batch: one step has some 6·10⁸ multiplications.
const ROWS: usize = 2000;
const STEPS: usize = 3;

fn samples(sparse: bool) -> Samples<f32> {
    samples_of(ROWS, sparse)
}

fn samples_of(rows: usize, sparse: bool) -> Samples<f32> {
    let data = images((rows, 100), 10, sparse, |hash| (hash % 255) as u8 + 1);
    Samples::new(&Arc::new(data), &uniform_scaling(100, 255.0))
}

fn network() -> Network {
    network_of(&[250, 300])
}

fn network_of(hidden: &[usize]) -> Network {
    let sizes = [&[100], hidden, &[10]].concat();
    Network::new(&sizes, true, OutputUnits::Softmax, Loss::CrossEntropy, 1e-4).unwrap()
}

/// What descent keeps between two steps.
#[derive(Clone, Debug, PartialEq)]
struct State {
    theta: Parameters<f32>,
    velocity: Parameters<f32>,
    loss: f64,
}

/// Loads `state`, takes `steps` steps unless `control` stops them, and returns the state after it
/// and the number of whole steps.
fn descend(
    engine: &mut dyn TrainingEngine<f32>,
    samples: &Samples<f32>,
    state: &State,
    steps: usize,
    control: &Control,
) -> (State, usize) {
    let rows = samples.rows();
    let order: Vec<u32> = (0..rows as u32).collect::<Vec<_>>().repeat(steps);
    let rule = Rule {
        rate: 0.1,
        l2: 1e-4,
        decay: 0.0,
        momentum: 0.5,
    };
    let mut after = state.clone();
    engine.load(&state.theta);
    engine.load_velocity(&state.velocity);
    let loss = &mut after.loss;
    let done = engine
        .descend(samples, &order, rows, rule, 2, loss, control)
        .unwrap();
    assert_eq!(done % rows, 0, "a part of a step counts");
    engine.store(&mut after.theta);
    assert!(engine.store_velocity(&mut after.velocity));
    (after, done / rows)
}

fn stopped_steps_of_backprop_leave_no_trace(split: Split, sparse: bool) {
    let (samples, network) = (samples(sparse), network());
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let mut engine = Backprop::new(&network, &pool, Isa::detect(), ROWS);
    engine.set_split(split);
    stopped_steps_leave_no_trace(&mut engine, &samples, &network);
}

fn stopped_steps_leave_no_trace(
    engine: &mut dyn TrainingEngine<f32>,
    samples: &Samples<f32>,
    network: &Network,
) {
    let first = State {
        theta: Initialization::Scaled.draw::<f32>(&network.layout, 3),
        velocity: Initialization::Normal.draw::<f32>(&network.layout, 4),
        loss: 0.25,
    };
    let start = Instant::now();
    let mut states = vec![first];
    for _ in 0..STEPS {
        let last = states.last().unwrap();
        let (next, done) = descend(engine, samples, last, 1, &Control::default());
        assert!(done == 1 && next != *last);
        states.push(next);
    }
    let step = start.elapsed() / STEPS as u32;
    let mut stopped = 0;
    // In each step, at several places; the flag may be set before the first, too.
    for place in 0..STEPS * 2 {
        let flag = Arc::new(AtomicBool::new(place == 0));
        let delay = step * place as u32 / 2 + Duration::from_millis(1);
        let (after, done) = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(delay);
                flag.store(true, Ordering::Relaxed);
            });
            descend(engine, samples, &states[0], STEPS, &Control::new(&flag))
        });
        assert!(place > 0 || done == 0, "a stopped control begins no step");
        assert!(after == states[done], "{done} steps are done");
        stopped += usize::from(done < STEPS);
        let left = STEPS - done;
        let (end, _) = descend(engine, samples, &after, left, &Control::default());
        assert!(end == states[STEPS], "stopped after {done} steps");
    }
    assert!(stopped > 1, "no step was stopped");
}

#[test]
fn slow_a_step_by_units_is_stopped_in_the_middle_and_leaves_no_trace() {
    let _limit = time_limit();
    stopped_steps_of_backprop_leave_no_trace(Split::Units, true);
    stopped_steps_of_backprop_leave_no_trace(Split::Units, false);
}

#[test]
fn slow_a_step_by_rows_is_stopped_in_the_middle_and_leaves_no_trace() {
    let _limit = time_limit();
    stopped_steps_of_backprop_leave_no_trace(Split::Rows, true);
    stopped_steps_of_backprop_leave_no_trace(Split::Rows, false);
}

#[test]
fn slow_a_step_by_incremental_differences_is_stopped_in_the_middle_and_leaves_no_trace() {
    let _limit = time_limit();
    let (samples, network) = (samples_of(6, true), network());
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let method = differences(Reuse::Incremental);
    let mut engine = method.engine(&network, &pool, Isa::detect(), &samples, 6);
    stopped_steps_leave_no_trace(&mut *engine, &samples, &network);
}

#[test]
fn long_steps_are_followed_by_a_short_one() {
    let _limit = time_limit();
    let (samples, network) = (samples(true), network());
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let mut engine = Backprop::new(&network, &pool, Isa::detect(), ROWS);
    let order: Vec<u32> = (0..ROWS as u32).chain(7..17).collect();
    let theta = Initialization::Scaled.draw::<f32>(&network.layout, 3);
    let rule = Rule::gradient_only(0.0);
    let mut descend = |parts: &[&[u32]]| {
        engine.load(&theta);
        let (mut after, mut loss) = (theta.clone(), 0.0);
        for order in parts {
            let rule = Rule { rate: 0.1, ..rule };
            let control = Control::default();
            let done = engine.descend(&samples, order, ROWS, rule, 2, &mut loss, &control);
            assert_eq!(done, Ok(order.len()));
        }
        engine.store(&mut after);
        (after, loss)
    };
    let at_once = descend(&[&order]);
    let (long, short) = order.split_at(ROWS);
    assert_eq!(at_once, descend(&[long, short]));
}

#[test]
fn a_long_gradient_that_is_interrupted_is_no_gradient_and_a_limit_of_time_lets_it_end() {
    let _limit = time_limit();
    let (samples, network) = (samples(false), network());
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    let batch = Batch {
        samples: &samples,
        rows: &rows,
    };
    let theta = Initialization::Scaled.draw::<f32>(&network.layout, 3);
    let mut gradient = Parameters::zeros(Arc::clone(&network.layout));
    let mut engine = Backprop::new(&network, &pool, Isa::detect(), ROWS);
    let interrupted = Control::new(&Arc::new(AtomicBool::new(true)));
    let found = engine.gradient(&theta, batch, &mut gradient, &interrupted);
    assert!(matches!(found, Err(Stopped::Interrupted)));
    // There is nothing to extrapolate from within the only evaluation.
    let control = Control::default();
    let found = control.for_at_most(Duration::from_millis(1), |limited| {
        std::thread::sleep(Duration::from_millis(20));
        engine.gradient(&theta, batch, &mut gradient, limited)
    });
    let whole = found.unwrap();
    let mut again = Parameters::zeros(Arc::clone(&network.layout));
    let computed = engine.gradient(&theta, batch, &mut again, &control);
    assert_eq!(computed.unwrap().loss, whole.loss);
    assert_eq!(gradient, again);
}

#[test]
fn differences_are_whole_or_interrupted() {
    let _limit = time_limit();
    let samples = samples(true);
    let network = Network::new(
        &[100, 10],
        false,
        OutputUnits::Softmax,
        Loss::CrossEntropy,
        0.0,
    );
    let network = network.unwrap();
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let rows: Vec<u32> = (0..200).collect();
    let theta = Initialization::Scaled.draw::<f32>(&network.layout, 3);
    let method = differences(Reuse::Full);
    let mut engine: Box<dyn TrainingEngine<f32>> =
        method.engine(&network, &pool, Isa::detect(), &samples, ROWS);
    let batch = Batch {
        samples: &samples,
        rows: &rows,
    };
    let mut gradient = Parameters::zeros(Arc::clone(&network.layout));
    let mut whole = 0;
    for delay in 0..40 {
        let flag = Arc::new(AtomicBool::new(false));
        let control = Control::new(&flag);
        let found = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_micros(delay * delay * 50));
                flag.store(true, Ordering::Relaxed);
            });
            let found = engine.gradient(&theta, batch, &mut gradient, &control);
            (found, control.is_interrupted())
        });
        match found {
            (Ok(_), _) => whole += 1,
            (Err(stopped), true) => assert_eq!(stopped, Stopped::Interrupted),
            (Err(stopped), false) => panic!("{stopped}"),
        }
        if whole > 0 {
            let mut again = Parameters::zeros(Arc::clone(&network.layout));
            let control = Control::default();
            engine
                .gradient(&theta, batch, &mut again, &control)
                .unwrap();
            assert_eq!(gradient, again);
            break;
        }
    }
}

fn differences(reuse: Reuse) -> GradientConfig {
    GradientConfig::Difference(DifferenceConfig {
        reuse,
        ..DifferenceConfig::forward(Arithmetic::Plain, None)
    })
}

/// Interrupts a gradient soon after its first evaluation. Returns the time of that one, and the time
/// until the gradient ended.
fn interrupt_the_second_evaluation(
    engine: &mut dyn TrainingEngine<f32>,
    samples: &Samples<f32>,
    network: &Network,
) -> (Duration, Duration) {
    let flag = Arc::new(AtomicBool::new(false));
    let control = Control::new(&flag);
    let rows: Vec<u32> = (0..samples.rows() as u32).collect();
    let batch = Batch {
        samples,
        rows: &rows,
    };
    let theta = Initialization::Scaled.draw::<f32>(&network.layout, 3);
    let mut gradient = Parameters::zeros(Arc::clone(&network.layout));
    let (evaluation, interrupted) = std::thread::scope(|scope| {
        let interrupting = scope.spawn(|| {
            let start = Instant::now();
            while control.evaluations() == 0 {
                std::thread::sleep(Duration::from_micros(200));
            }
            let evaluation = start.elapsed();
            std::thread::sleep(evaluation / 8);
            flag.store(true, Ordering::Relaxed);
            (evaluation, Instant::now())
        });
        let found = engine.gradient(&theta, batch, &mut gradient, &control);
        assert!(matches!(found, Err(Stopped::Interrupted)), "{found:?}");
        interrupting.join().unwrap()
    });
    (evaluation, interrupted.elapsed())
}

#[test]
fn slow_every_method_is_interrupted_within_an_evaluation() {
    let _limit = time_limit();
    let directions = DirectionsConfig {
        count: 1,
        distribution: Distribution::Rademacher,
    };
    let forward_gradient = |perturbed| {
        GradientConfig::ForwardGradient(ForwardGradientConfig {
            directions,
            perturbed,
        })
    };
    let spsa = GradientConfig::Spsa(SpsaConfig {
        directions,
        increment: None,
    });
    let (deep, wide): (&[usize], &[usize]) = (&[400, 400], &[3000]);
    let pool = Arc::new(Workers::exactly(2).unwrap());
    for (method, hidden, rows, sparse) in [
        (GradientConfig::ForwardMode(Reuse::Full), deep, 1000, true),
        (
            GradientConfig::ForwardMode(Reuse::Prefix),
            deep,
            1000,
            false,
        ),
        (
            GradientConfig::ForwardMode(Reuse::Incremental),
            deep,
            20,
            true,
        ),
        // Most work is in the first layer, whose inputs are packed.
        (differences(Reuse::Full), wide, 4000, true),
        (differences(Reuse::Full), deep, 1000, false),
        (differences(Reuse::Incremental), deep, 20, true),
        (spsa, deep, 1000, true),
        (
            forward_gradient(PerturbedQuantity::Weights),
            deep,
            1000,
            true,
        ),
        (
            forward_gradient(PerturbedQuantity::Activations),
            deep,
            1000,
            false,
        ),
    ] {
        let (samples, network) = (samples_of(rows, sparse), network_of(hidden));
        let mut engine = method.engine(&network, &pool, Isa::detect(), &samples, rows);
        // A machine that is busy elsewhere may delay some of them.
        let tries =
            (0..5).map(|_| interrupt_the_second_evaluation(&mut *engine, &samples, &network));
        let tries: Vec<_> = tries.collect();
        println!("{} of {hidden:?}: {tries:?}", method.method());
        let is_soon = |(evaluation, latency): &(Duration, Duration)| *latency < *evaluation / 2;
        assert!(tries.iter().any(is_soon), "{}: {tries:?}", method.method());
    }
}

#[test]
fn a_long_evaluation_of_a_model_is_stopped_and_a_short_one_ends() {
    let (samples, network) = (samples_of(6000, true), network());
    let pool = Workers::exactly(2).unwrap();
    let theta = Initialization::Scaled.draw::<f32>(&network.layout, 3);
    let forward = Forward::new(&network, &theta, Isa::detect());
    let all: Vec<u32> = (0..6000).collect();
    let until = |rows: usize, stop: bool| {
        let stop = AtomicBool::new(stop);
        forward.assess_unless_stopped(&samples, &all[..rows], 10, &pool, &stop)
    };
    assert_eq!(until(6000, true), None);
    for (rows, stop) in [(6000, false), (100, true)] {
        let whole = forward.assess(&samples, &all[..rows], 10, &pool);
        assert_eq!(until(rows, stop), Some(whole));
    }
}

/// Sets the flag after the last step of an epoch, before its evaluation.
struct StopAtEpoch {
    epoch: usize,
    flag: Arc<AtomicBool>,
}

impl<R> Observer<R> for StopAtEpoch {
    fn progress(&mut self, epoch: usize, rows: usize, of: usize) {
        if (epoch, rows) == (self.epoch, of) {
            self.flag.store(true, Ordering::Relaxed);
        }
    }
    fn wants_state(&self) -> bool {
        false
    }
    fn state(&mut self, _: &TrainingState<R>) -> Result<()> {
        Ok(())
    }
    fn epoch(&mut self, _: &EpochRecord, _: &TrainingState<R>) -> Result<()> {
        Ok(())
    }
}

/// Trains from `state` until the end, or until the evaluation of epoch `stop`.
fn train(optimizer: &OptimizerConfig, state: &mut TrainingState<f32>, stop: usize) -> Ending {
    let (samples, network) = (samples_of(6000, true), network());
    let rows: Vec<u32> = (0..6000).collect();
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let flag = Arc::new(AtomicBool::new(false));
    let is_lbfgs = matches!(optimizer, OptimizerConfig::Lbfgs(_));
    let config = TrainConfig {
        epochs: Some(3),
        max_steps: None,
        max_seconds: None,
        batch_size: if is_lbfgs { TrainConfig::ALL_ROWS } else { 20 },
        early_stopping: Some(5),
    };
    let training = Training {
        network: &network,
        samples: &samples,
        rows: &rows[..50],
        validation: Some(&rows[50..]),
        classes: 10,
        gradient: &GradientConfig::Backprop,
        optimizer,
        config: &config,
        seed: 5,
        pool: &pool,
        isa: Isa::detect(),
        workers: None,
        split: None,
        control: &Control::new(&flag),
    };
    let mut observer = StopAtEpoch { epoch: stop, flag };
    training.run(state, &mut observer).unwrap()
}

#[test]
fn an_epoch_whose_evaluation_is_stopped_is_evaluated_when_the_run_is_resumed() {
    let _limit = time_limit();
    let sgd = OptimizerConfig::Sgd(SgdConfig {
        learning_rate: 0.1,
        momentum: 0.5,
        weight_decay: 0.0,
        schedule: Schedule::Constant,
    });
    let lbfgs = OptimizerConfig::Lbfgs(LbfgsConfig {
        memory: 3,
        tolerance: 1e-9,
    });
    let without_seconds = |mut state: TrainingState<f32>| {
        for record in &mut state.records {
            assert!(record.seconds > 0.0 && record.gradient_norm > 0.0);
            record.seconds = 0.0;
        }
        state
    };
    for optimizer in [sgd, lbfgs] {
        let layout = network().layout;
        let first = || TrainingState::new(Initialization::Scaled.draw::<f32>(&layout, 3));
        let mut whole = first();
        assert_eq!(train(&optimizer, &mut whole, 0), Ending::Finished);
        let whole = without_seconds(whole);
        // After the last epoch nothing but its evaluation is left.
        for stop in 1..=3 {
            let mut state = first();
            assert_eq!(train(&optimizer, &mut state, stop), Ending::Interrupted);
            let waiting = state.unevaluated.clone().expect("an epoch that waits");
            assert_eq!((state.epoch, waiting.epoch), (stop - 1, stop));
            assert_eq!(waiting.validation_loss, None);
            assert_eq!(state.steps, whole.records[stop - 1].steps);
            let tally: u64 = whole.records[..stop]
                .iter()
                .map(|r| r.tally.multiplications)
                .sum();
            assert_eq!(state.tally().multiplications, tally);
            assert_eq!(train(&optimizer, &mut state, 0), Ending::Finished);
            assert_eq!(without_seconds(state), whole, "stopped in epoch {stop}");
        }
    }
}
