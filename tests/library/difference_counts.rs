//! Finite differences, forward mode and node perturbation perform exactly the evaluations and
//! operations that they report, and their kernels have the bits of scalar code.

use std::sync::Arc;

use crate::support::kernel_number::KernelNumber;
use crate::support::networks::{
    OUTPUTS_AND_LOSSES, network, samples, theta, to_numbers, uniform_scaling, weighted,
};
use crate::support::scalar_backprop::{self, InputForm};
use crate::support::scalar_differences::{self, ChangeForm};
use crate::support::scalar_random_directions;
use nplus1::data::{Batch, Samples, SearchPaths, catalog};
use nplus1::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, NodePerturbationConfig, Reuse, Scheme, Summation,
};
use nplus1::gradient::{Control, GradientConfig};
use nplus1::kernels::Isa;
use nplus1::kernels::panels::width;
use nplus1::model::{Network, Parameters};
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

    /// Returns the gradient by the scalar twin.
    fn twin<N: Number>(
        &self,
        net: &TextbookNetwork,
        theta: &[f64],
        increments: &[Vec<f64>],
        batch: &scalar_backprop::Batch<'_>,
        width: usize,
    ) -> Vec<N> {
        let theta = to_numbers::<N>(theta);
        if let GradientConfig::ForwardMode(reuse @ (Reuse::Full | Reuse::Prefix)) = self.method {
            return scalar_random_directions::forward_mode(net, &theta, reuse, batch, width);
        }
        let gradient = if self.perturbs_units() {
            scalar_differences::gradient_by_units
        } else {
            scalar_differences::gradient
        };
        gradient(
            net,
            &theta,
            increments,
            &self.config,
            self.change_form,
            batch,
            width,
        )
    }

    /// Returns the number of losses and of Jacobian-vector products in a gradient of `network`.
    fn evaluations(&self, network: &Network) -> [u64; 2] {
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

/// Runs an engine; returns the tally that it reports, the evaluations counted by its control, and
/// the gradient.
fn run<R: Real>(
    network: &Network,
    theta: &[f64],
    samples: &Samples<R>,
    rows: &[u32],
    method: GradientConfig,
    pool: &Arc<Workers>,
) -> (Tally, u64, Vec<f64>) {
    let theta = theta.iter().map(|&x| R::from_f64(x)).collect();
    let theta = Parameters::from_flat(Arc::clone(&network.layout), theta);
    let poison = vec![R::from_f64(f64::NAN); network.layout.len()];
    let mut gradient = Parameters::from_flat(Arc::clone(&network.layout), poison);
    let mut engine = method.engine(network, pool, Isa::detect(), samples, rows.len());
    let control = Control::default();
    let batch = Batch { samples, rows };
    let evaluation = engine
        .gradient(&theta, batch, &mut gradient, &control)
        .unwrap();
    let found = gradient.flat().iter().map(|g| g.to_f64()).collect();
    (evaluation.tally, control.evaluations(), found)
}

/// Compares the counts and the bits of an engine with those of its scalar twin.
fn assert_equals_twin<R: Real>(
    network: &Network,
    form: InputForm,
    rows: usize,
    twinned: &TwinnedMethod,
    pool: &Arc<Workers>,
) {
    let TwinnedMethod { method, config, .. } = *twinned;
    let net = TextbookNetwork::from(network);
    let theta: Vec<f64> = theta(network)
        .iter()
        .map(|&x| R::from_f64(x).to_f64())
        .collect();
    let classes = if net.sizes.last() == Some(&1) { 2 } else { 3 };
    let (inputs, labels) = few_values(form, rows, classes);
    let samples = samples::<R>(form, &inputs, &labels);
    let batch = scalar_backprop::Batch {
        form,
        inputs: &inputs,
        labels: &labels,
    };
    let increments = scalar_differences::increments::<R>(&net, &theta, &config);
    let case = format!(
        "{:?} {:?} bias {} l2 {} {form:?} {rows} rows {method:?} {}",
        net.sizes,
        net.output_loss,
        net.bias,
        net.l2,
        R::PRECISION.name()
    );
    let order: Vec<u32> = (0..rows as u32).collect();
    let (tally, evaluated, found) = run(network, &theta, &samples, &order, method, pool);

    let width = width::<R>();
    let (_, counted) = count(|| twinned.twin::<Counted>(&net, &theta, &increments, &batch, width));
    let [evaluations, jacobian_vector_products] = twinned.evaluations(network);
    let counted = Tally {
        evaluations,
        jacobian_vector_products,
        ..counted
    };
    assert_eq!(tally, counted, "{case}");
    assert_eq!(evaluated, evaluations + jacobian_vector_products, "{case}");

    let twin = twinned.twin::<KernelNumber<R>>(&net, &theta, &increments, &batch, width);
    let twin: Vec<f64> = twin.iter().map(|g| g.value()).collect();
    assert!(twin.iter().any(|&g| g != 0.0), "{case}");
    assert_eq!(found, twin, "{case}");
}

#[test]
fn every_method_has_the_counts_and_the_bits_of_its_scalar_twin() {
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let forms = [
        InputForm::Sparse,
        InputForm::Bytes { divisor: 255.0 },
        InputForm::Numbers,
    ];
    let mut cases = 0;
    for hidden in HIDDEN {
        for outputs_and_loss in OUTPUTS_AND_LOSSES {
            for form in forms {
                for twinned in &every_method() {
                    // The cases vary between 1 and 4 rows, with and without biases and l2.
                    let rows = 1 + (cases * 7 / 3) % 4;
                    let (bias, l2) = [(true, 0.0), (true, 0.25), (false, 0.0), (false, 0.125)]
                        [(cases * 5 / 7) % 4];
                    let network = network(FEATURES, hidden, bias, outputs_and_loss, l2);
                    let network = if l2 == 0.0 {
                        network
                    } else {
                        weighted(network)
                    };
                    assert_equals_twin::<f64>(&network, form, rows, twinned, &pool);
                    assert_equals_twin::<f32>(&network, form, rows, twinned, &pool);
                    cases += 1;
                }
            }
        }
    }
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
            let classes = if net.sizes.last() == Some(&1) { 2 } else { 3 };
            for form in [InputForm::Sparse, InputForm::Numbers] {
                let (inputs, labels) = few_values(form, 30, classes);
                let samples = samples::<f64>(form, &inputs, &labels);
                let order: Vec<u32> = (0..30).collect();
                let (_, _, found) = run(&network, &theta, &samples, &order, method, &pool);
                let batch = scalar_backprop::Batch {
                    form,
                    inputs: &inputs,
                    labels: &labels,
                };
                let (increments, width) = (
                    scalar_differences::increments::<f64>(&net, &theta, &config),
                    width::<f64>(),
                );
                let twin = if twinned.perturbs_units() {
                    twinned.twin::<KernelNumber<f64>>(&net, &theta, &increments, &batch, width)
                } else {
                    let theta = to_numbers::<KernelNumber<f64>>(&theta);
                    scalar_differences::gradient_input_by_input(
                        &net,
                        &theta,
                        &increments,
                        &config,
                        change_form,
                        &batch,
                        width,
                    )
                };
                let twin: Vec<f64> = twin.iter().map(|g| g.value()).collect();
                assert_eq!(found, twin, "{form:?} {:?} {method:?}", net.output_loss);
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
                assert_equals_twin::<f64>(&network, InputForm::Numbers, 3, &twinned, &pool);
            }
            let twinned =
                TwinnedMethod::node_perturbation(Arithmetic::CancellationFree, Some(1.0 / 4096.0));
            let network = weighted(network(FEATURES, hidden, true, outputs_and_loss, 0.25));
            assert_equals_twin::<f64>(&network, InputForm::Numbers, 3, &twinned, &pool);
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
            let order: Vec<u32> = (0..rows as u32).collect();
            for twinned in every_method() {
                let theta = theta(&network);
                let (tally, evaluated, _) =
                    run(&network, &theta, &samples, &order, twinned.method, &pool);
                let [evaluations, products] = twinned.evaluations(&network);
                assert_eq!(evaluated, evaluations + products, "{twinned:?}");
                assert_eq!(tally.evaluations, evaluations);
                assert_eq!(tally.jacobian_vector_products, products);
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
