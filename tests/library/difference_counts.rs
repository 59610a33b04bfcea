//! Finite differences, forward mode and node perturbation perform exactly the evaluations and
//! operations that they report, and their kernels have the bits of scalar code.

use std::sync::Arc;

use crate::support::kernel_number::KernelNumber;
use crate::support::networks::{
    OUTPUTS_AND_LOSSES, class_count, network, samples, theta, to_numbers, uniform_scaling, weighted,
};
use crate::support::scalar_backprop::{self, InputForm};
use crate::support::scalar_differences::{self, ChangeForm};
use crate::support::scalar_random_directions;
use crate::support::twins::{
    TwinProblem, Twinned, assert_equals_twin, every_network, penalized, run, varied,
};
use nplus1::data::{Samples, SearchPaths, catalog};
use nplus1::gradient::GradientConfig;
use nplus1::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, NodePerturbationConfig, Reuse, Scheme, Summation,
};
use nplus1::kernels::panels::width;
use nplus1::model::Network;
use nplus1::numeric::Real;
use nplus1::numeric::tally::Tally;
use nplus1::parallel::Workers;
use nplus1::textbook::counting::{Counted, Number, count};
use nplus1::textbook::{Sample, TextbookNetwork};

/// Hidden layers of networks with 1 to 5 weight layers; some are wider than a panel.
const HIDDEN: [&[usize]; 7] = [
    &[],
    &[3],
    &[18],
    &[5, 4],
    &[17, 3],
    &[6, 18, 5],
    &[4, 3, 5, 2],
];

const FEATURES: usize = 11;

/// A method, and the configuration of its scalar twin.
#[derive(Clone, Copy, Debug)]
struct TwinnedMethod {
    method: GradientConfig,
    config: DifferenceConfig,
    change_form: ChangeForm,
}

impl TwinnedMethod {
    fn difference(config: DifferenceConfig) -> Self {
        let change_form = match (config.arithmetic, config.increment) {
            (Arithmetic::Plain, _) => ChangeForm::Plain,
            (Arithmetic::CancellationFree, Increment::Auto) => ChangeForm::Tiny,
            (Arithmetic::CancellationFree, _) => ChangeForm::Close,
        };
        Self {
            method: GradientConfig::Difference(config),
            config,
            change_form,
        }
    }

    /// Returns forward mode; its twin computes derivatives as changes for an increment of 1.
    fn forward_mode(reuse: Reuse) -> Self {
        Self {
            method: GradientConfig::ForwardMode(reuse),
            config: DifferenceConfig {
                scheme: Scheme::Forward,
                reuse,
                arithmetic: Arithmetic::CancellationFree,
                summation: Summation::Differences,
                increment: Increment::Absolute(1.0),
                extrapolate: false,
            },
            change_form: ChangeForm::Rate,
        }
    }

    fn node_perturbation(arithmetic: Arithmetic, increment: Option<f64>) -> Self {
        let config = NodePerturbationConfig {
            arithmetic,
            increment,
        };
        Self {
            method: GradientConfig::NodePerturbation(config),
            ..Self::difference(config.difference())
        }
    }

    fn perturbs_units(&self) -> bool {
        matches!(self.method, GradientConfig::NodePerturbation(_))
    }
}

impl Twinned for TwinnedMethod {
    fn method(&self) -> GradientConfig {
        self.method
    }

    fn passes(&self, network: &Network) -> [u64; 2] {
        let parameters = network.layout.len() as u64;
        let units: usize = network.layout.sizes()[1..].iter().sum();
        match self.method {
            GradientConfig::ForwardMode(_) => [1, parameters],
            GradientConfig::NodePerturbation(_) => [units as u64 + 1, 0],
            _ => match self.config.scheme {
                Scheme::Forward => [parameters + 1, 0],
                Scheme::Central => [2 * parameters, 0],
            },
        }
    }

    fn gradient<R: Real, N: Number>(&self, problem: &TwinProblem<'_, N>) -> Vec<N> {
        let TwinProblem {
            net,
            values,
            theta,
            batch,
            width,
        } = *problem;
        if let GradientConfig::ForwardMode(reuse @ (Reuse::Full | Reuse::Prefix)) = self.method {
            return scalar_random_directions::forward_mode(net, theta, reuse, batch, width);
        }
        let gradient = if self.perturbs_units() {
            scalar_differences::gradient_by_units
        } else {
            scalar_differences::gradient
        };
        let increments = scalar_differences::increments::<R>(net, values, &self.config);
        let form = self.change_form;
        gradient(net, theta, &increments, &self.config, form, batch, width)
    }
}

/// Returns finite differences with every scheme, evaluation, arithmetic and summation, forward
/// mode, and node perturbation.
fn every_method() -> Vec<TwinnedMethod> {
    let evaluations = [
        (Reuse::Full, Arithmetic::Plain, Summation::Differences),
        (Reuse::Full, Arithmetic::Plain, Summation::Losses),
        (Reuse::Prefix, Arithmetic::Plain, Summation::Differences),
        (Reuse::Prefix, Arithmetic::Plain, Summation::Losses),
        (
            Reuse::Incremental,
            Arithmetic::Plain,
            Summation::Differences,
        ),
        (
            Reuse::Incremental,
            Arithmetic::CancellationFree,
            Summation::Differences,
        ),
    ];
    let with_scheme = |scheme| {
        evaluations.map(|(reuse, arithmetic, summation)| DifferenceConfig {
            scheme,
            reuse,
            arithmetic,
            summation,
            increment: Increment::Auto,
            extrapolate: false,
        })
    };
    let differences = [with_scheme(Scheme::Forward), with_scheme(Scheme::Central)].concat();
    let mut methods: Vec<TwinnedMethod> = differences
        .into_iter()
        .map(TwinnedMethod::difference)
        .collect();
    methods
        .extend([Reuse::Full, Reuse::Prefix, Reuse::Incremental].map(TwinnedMethod::forward_mode));
    for arithmetic in [Arithmetic::Plain, Arithmetic::CancellationFree] {
        methods.push(TwinnedMethod::node_perturbation(arithmetic, None));
    }
    methods
}

/// Returns the stored inputs `(rows, FEATURES)`, many of them equal and some 0, and their labels.
fn few_values(form: InputForm, rows: usize, classes: u16) -> (Vec<Vec<f64>>, Vec<u16>) {
    let value = |row: usize, at: usize| {
        let hash = (row * 7919 + at * 104_729 + row * at * 31 + 17) % 1009;
        match form {
            InputForm::Sparse if !hash.is_multiple_of(3) || at == 5 => 0.0,
            InputForm::Sparse => (hash % 4) as f64,
            InputForm::Bytes { .. } => (hash % 4 * 60) as f64,
            InputForm::Numbers => (hash % 7) as f64 / 3.0 - 1.0,
        }
    };
    let row = |row: usize| (0..FEATURES).map(|at| value(row, at)).collect();
    let labels = (0..rows).map(|row| (row * 7 + 1) as u16 % classes);
    ((0..rows).map(row).collect(), labels.collect())
}

/// Compares the counts and the bits of an engine with those of its scalar twin, on few values.
fn compare<R: Real>(
    network: &Network,
    form: InputForm,
    rows: usize,
    twinned: &TwinnedMethod,
    pool: &Arc<Workers>,
) {
    let (inputs, labels) = few_values(form, rows, class_count(network));
    assert_equals_twin::<R>(network, form, (&inputs, &labels), twinned, pool);
}

#[test]
fn slow_every_method_has_the_counts_and_the_bits_of_its_scalar_twin() {
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let mut cases = 0;
    every_network(&HIDDEN, |hidden, outputs_and_loss, form| {
        for twinned in &every_method() {
            let (rows, penalty) = varied(cases);
            let network = penalized(FEATURES, hidden, outputs_and_loss, penalty);
            compare::<f64>(&network, form, rows, twinned, &pool);
            compare::<f32>(&network, form, rows, twinned, &pool);
            cases += 1;
        }
    });
    assert_eq!(cases, 7 * 5 * 3 * 17);
}

#[test]
fn blocks_of_rows_and_shared_or_skipped_inputs_change_no_bit() {
    // In f64, 40 + 3 units are 5 + 1 panels, and difference tables of 257 panel rows take about 100
    // KB per row: 30 rows are 3 blocks, of which the last is smaller. The twin has no blocks and
    // shares nothing.
    let pool = Arc::new(Workers::exactly(2).unwrap());
    for outputs_and_loss in OUTPUTS_AND_LOSSES {
        for twinned in every_method() {
            let TwinnedMethod {
                method,
                config,
                change_form,
            } = twinned;
            if config.reuse != Reuse::Incremental {
                continue;
            }
            let network = network(FEATURES, &[40], true, outputs_and_loss, 0.0);
            let (net, theta) = (TextbookNetwork::from(&network), theta(&network));
            for form in [InputForm::Sparse, InputForm::Numbers] {
                let (inputs, labels) = few_values(form, 30, class_count(&network));
                if twinned.perturbs_units() {
                    assert_equals_twin::<f64>(&network, form, (&inputs, &labels), &twinned, &pool);
                    continue;
                }
                let samples = samples::<f64>(form, &inputs, &labels);
                let found = run(&network, &theta, &samples, method, &pool);
                let batch = scalar_backprop::Batch {
                    form,
                    inputs: &inputs,
                    labels: &labels,
                };
                let twin = scalar_differences::gradient_input_by_input(
                    &net,
                    &to_numbers::<KernelNumber<f64>>(&theta),
                    &scalar_differences::increments::<f64>(&net, &theta, &config),
                    &config,
                    change_form,
                    &batch,
                    width::<f64>(),
                );
                let twin: Vec<f64> = twin.iter().map(|g| g.value()).collect();
                assert_eq!(
                    found.gradient, twin,
                    "{form:?} {:?} {method:?}",
                    net.output_loss
                );
            }
        }
    }
}

#[test]
fn changes_too_large_for_the_shortest_series_are_counted_by_the_longer_formula() {
    let pool = Arc::new(Workers::exactly(2).unwrap());
    for hidden in HIDDEN {
        for outputs_and_loss in OUTPUTS_AND_LOSSES {
            for scheme in [Scheme::Forward, Scheme::Central] {
                let config = DifferenceConfig {
                    scheme,
                    reuse: Reuse::Incremental,
                    arithmetic: Arithmetic::CancellationFree,
                    summation: Summation::Differences,
                    // The largest change of every stage is between √u/2 = 5e-9 and 1/64.
                    increment: Increment::Absolute(1.0 / 4096.0),
                    extrapolate: false,
                };
                let network = network(FEATURES, hidden, true, outputs_and_loss, 0.0);
                let twinned = TwinnedMethod::difference(config);
                compare::<f64>(&network, InputForm::Numbers, 3, &twinned, &pool);
            }
            let twinned =
                TwinnedMethod::node_perturbation(Arithmetic::CancellationFree, Some(1.0 / 4096.0));
            let network = weighted(network(FEATURES, hidden, true, outputs_and_loss, 0.25));
            compare::<f64>(&network, InputForm::Numbers, 3, &twinned, &pool);
        }
    }
}

#[test]
fn a_gradient_takes_exactly_the_evaluations_that_it_reports() {
    // Each pass counts itself, so an additional evaluation at θ would be noticed.
    let pool = Arc::new(Workers::exactly(3).unwrap());
    for hidden in HIDDEN {
        let network = network(FEATURES, hidden, true, OUTPUTS_AND_LOSSES[0], 0.25);
        for rows in [1, 7, 40] {
            let (inputs, labels) = few_values(InputForm::Numbers, rows, 3);
            let samples = samples::<f64>(InputForm::Numbers, &inputs, &labels);
            for twinned in every_method() {
                let found = run(&network, &theta(&network), &samples, twinned.method, &pool);
                let [evaluations, products] = twinned.passes(&network);
                assert_eq!(found.evaluations, evaluations + products, "{twinned:?}");
                assert_eq!(found.tally.evaluations, evaluations);
                assert_eq!(found.tally.jacobian_vector_products, products);
            }
        }
    }
}

/// The sums over the layer sizes n_0 … n_L of which the closed forms consist: P, U and N.
struct Sums {
    sizes: Vec<u64>,
    p: u64,
    u: u64,
    n: u64,
    outputs: u64,
}

impl Sums {
    fn new(net: &TextbookNetwork) -> Self {
        let sizes: Vec<u64> = net.sizes.iter().map(|&size| size as u64).collect();
        let p: u64 = sizes.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let u: u64 = sizes[1..].iter().sum();
        Self {
            p,
            u,
            n: p + u,
            outputs: sizes[sizes.len() - 1],
            sizes,
        }
    }

    /// Returns R_k = Σ_{m≥k} n_m n_{m−1}.
    fn products_from(&self, k: usize) -> u64 {
        (k..self.sizes.len())
            .map(|m| self.sizes[m] * self.sizes[m - 1])
            .sum()
    }

    /// Returns U_k = Σ_{m≥k} n_m.
    fn units_from(&self, k: usize) -> u64 {
        self.sizes.iter().skip(k).sum()
    }

    /// Returns the tally of a forward pass of `b` rows with its mean loss.
    fn forward(&self, b: u64) -> Tally {
        Tally {
            multiplications: b * (self.p + self.outputs + 1) + 1,
            additions: b * (self.p + self.u + 2 * self.outputs - 1) + b - 1,
            exponentials: b * self.u,
            divisions: b * self.u,
            ..Tally::NONE
        }
    }
}

/// Visits every network with sigmoid outputs, quadratic loss and biases, with 1 to 4 rows of dense
/// inputs.
fn every_plain_case(visit: impl Fn(&TextbookNetwork, &[Counted], &[Sample], &Sums)) {
    for hidden in HIDDEN {
        let network = network(FEATURES, hidden, true, OUTPUTS_AND_LOSSES[0], 0.0);
        let net = TextbookNetwork::from(&network);
        for rows in 1..=4 {
            let (inputs, labels) = few_values(InputForm::Numbers, rows, 3);
            let batch: Vec<Sample> = inputs.into_iter().zip(labels).collect();
            visit(
                &net,
                &to_numbers(&theta(&network)),
                &batch,
                &Sums::new(&net),
            );
        }
    }
}

const H: f64 = 1e-6;

#[test]
fn plain_forward_differences_cost_n_plus_one_passes() {
    every_plain_case(|net, theta, batch, sums| {
        let (_, counted) = count(|| net.forward_differences(theta, batch, H));
        let passes = sums.forward(batch.len() as u64) * (sums.n + 1);
        let quotients = Tally::multiplications(sums.n) + Tally::additions(2 * sums.n);
        assert_eq!(counted, passes + quotients, "{:?}", net.sizes);
    });
}

#[test]
fn plain_central_differences_cost_2n_passes() {
    every_plain_case(|net, theta, batch, sums| {
        let (_, counted) = count(|| net.central_differences(theta, batch, H));
        let passes = sums.forward(batch.len() as u64) * (2 * sums.n);
        let quotients = Tally::multiplications(sums.n) + Tally::additions(3 * sums.n);
        assert_eq!(counted, passes + quotients, "{:?}", net.sizes);
    });
}

#[test]
fn plain_incremental_differences_cost_their_closed_form() {
    every_plain_case(|net, theta, batch, sums| {
        let (_, counted) = count(|| net.incremental_differences(theta, batch, H));
        let (n, b, top) = (&sums.sizes, batch.len() as u64, sums.outputs);
        let mut row = Tally {
            multiplications: sums.p + top + n[..net.layers()].iter().sum::<u64>(),
            additions: sums.p + sums.u + 2 * top - 1,
            exponentials: sums.u,
            divisions: sums.u,
            ..Tally::NONE
        };
        for l in 1..=net.layers() {
            let perturbed_loss = if l == net.layers() {
                [1, 4, 1]
            } else {
                let passes = sums.products_from(l + 2);
                [
                    n[l + 1] + passes + top,
                    sums.units_from(l + 1) + n[l + 1] + passes + 2 * top + 3,
                    1 + sums.units_from(l + 1),
                ]
            };
            let [multiplications, additions, sigmoids] = perturbed_loss;
            row += Tally {
                multiplications,
                additions,
                exponentials: sigmoids,
                divisions: sigmoids,
                ..Tally::NONE
            } * (n[l] * (n[l - 1] + 1));
        }
        let means = Tally::multiplications(sums.n) + Tally::additions((b - 1) * sums.n);
        assert_eq!(counted, row * b + means, "{:?}", net.sizes);
    });
}

#[test]
fn plain_differences_of_all_kinds_agree_with_the_gradient() {
    for hidden in HIDDEN {
        let network = network(FEATURES, hidden, true, OUTPUTS_AND_LOSSES[0], 0.0);
        let (net, theta) = (TextbookNetwork::from(&network), theta(&network));
        let (inputs, labels) = few_values(InputForm::Numbers, 4, 3);
        let batch: Vec<Sample> = inputs.into_iter().zip(labels).collect();
        let (_, exact) = net.gradient::<f64>(&theta, &batch);
        // Truncation is of order h = 1e-6 and round-off of order u/h = 1e-10, with factors of order
        // 1, relative to a gradient of norm 0.1.
        for found in [
            net.forward_differences(&theta, &batch, H),
            net.central_differences(&theta, &batch, H),
            net.incremental_differences(&theta, &batch, H),
            net.node_perturbation(&theta, &batch, H),
        ] {
            let error = crate::support::networks::relative_error(&found, &exact);
            assert!(error <= 2e-5, "{:?}: {error:e}", net.sizes);
        }
    }
}

/// Returns the number of changes of a row's loss in one gradient of 784-30-10 over `rows`.
///
/// The first pair counts the first layer, the second all layers with biases. The first number of a
/// pair counts all weights with a nonzero input, the second equal inputs of a row once.
fn changes_on_mnist(samples: &Samples<f32>, rows: std::ops::Range<u32>) -> [[u64; 2]; 2] {
    let b = rows.len() as u64;
    let (mut nonzero, mut distinct) = (0, 0);
    for row in rows {
        let variety = samples.input_density(row);
        nonzero += 30 * u64::from(variety.nonzeros);
        distinct += 30 * u64::from(variety.distinct);
    }
    // A bias is one more input; the 30 inputs of the outputs are neither 0 nor equal.
    let others = b * (30 + 10 * 31);
    [[nonzero, distinct], [nonzero + others, distinct + others]]
}

#[test]
fn on_mnist_reuse_turns_238_610_passes_of_one_image_into_23_020_changes() {
    let (dataset, _) = catalog::load("mnist", &SearchPaths::new(None)).unwrap();
    let samples = Samples::<f32>::new(&dataset, &uniform_scaling(784, 255.0));
    // The first mini-batch of 10, in the file's order.
    assert_eq!(10 * Scheme::Forward.evaluations(23_860), 238_610);
    let [first_layer, all] = changes_on_mnist(&samples, 0..10);
    assert_eq!(first_layer, [41_370, 19_620]);
    assert_eq!(all, [44_770, 23_020]);
    // The mean over 6,000 mini-batches of 10.
    let [first_layer, all] = changes_on_mnist(&samples, 0..60_000);
    assert_eq!(first_layer.map(|changes| changes / 6_000), [44_970, 20_084]);
    assert_eq!(all.map(|changes| changes / 6_000), [48_370, 23_484]);
}
