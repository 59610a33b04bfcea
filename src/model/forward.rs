//! Inference: predictions and losses of many rows, tile by tile on all threads.

use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::Array2;

use super::{Network, Parameters, RegressionResult};
use crate::data::{GatheredTargets, Inputs, Samples};
use crate::kernels::Isa;
use crate::kernels::matmul::{LeftOperand, Product, Start};
use crate::kernels::output_loss::OutputErrors;
use crate::kernels::panels::{Aligned, count, width};
use crate::kernels::sparse::SparseForward;
use crate::kernels::update::Activate;
use crate::numeric::Real;
use crate::parallel::Workers;

/// Number of rows of a tile. It is constant, so that tiles, and with them the bits of sums, do not
/// depend on the number of threads.
const TILE: usize = 128;

/// Multiplications of an evaluation that can be stopped: some hundredths of a second.
const LONG_EVALUATION: u64 = 1 << 29;

/// Network with fixed parameters, packed for evaluation.
pub struct Forward<R> {
    network: Network,
    isa: Isa,
    weights: Vec<Aligned<R>>,
    biases: Vec<Aligned<R>>,
}

/// Result of evaluating a network on rows with classes, or with the numbers of a regression.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// Mean loss of the rows, l2 left out. Rows count by the weight of their class; the targets of
    /// a regression are standardized.
    pub loss: f64,
    /// Fraction of rows whose class was predicted; NaN in a regression.
    pub accuracy: f64,
    /// Number of rows by `(true class, predicted class)`.
    pub confusion: Array2<u64>,
    /// Rows whose class was not predicted.
    pub wrong: Vec<Mistake>,
    /// The predictions and errors of a regression.
    pub regression: Option<RegressionResult>,
}

impl Assessment {
    /// Returns the accuracy, unless this is a regression.
    pub fn class_accuracy(&self) -> Option<f64> {
        self.regression.is_none().then_some(self.accuracy)
    }

    /// Returns the mean R² of the targets, if this is a regression.
    pub fn r2(&self) -> Option<f64> {
        self.regression.as_ref().map(RegressionResult::r2)
    }
}

/// Row whose class was not predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mistake {
    /// Position in the list of rows that was evaluated.
    pub position: usize,
    /// Predicted class.
    pub predicted: usize,
    /// Confidence in the predicted class. Softmax: its probability; sigmoid: σ(z) of its output;
    /// logistic loss: σ(|z|); otherwise linear: the output z.
    pub confidence: f64,
}

impl<R: Real> Forward<R> {
    /// Packs θ for evaluation: copies N numbers.
    pub fn new(network: &Network, parameters: &Parameters<R>, isa: Isa) -> Self {
        let (sizes, p) = (network.layout.sizes(), width::<R>());
        let mut weights = Vec::new();
        let mut biases = Vec::new();
        for layer in 0..network.layout.layers() {
            let (fan_in, fan_out) = (sizes[layer], sizes[layer + 1]);
            let mut packed = Aligned::zeros(count::<R>(fan_out) * fan_in * p);
            for ((j, i), &weight) in parameters.weights(layer).indexed_iter() {
                packed[(j / p * fan_in + i) * p + j % p] = weight;
            }
            let mut bias = Aligned::zeros(count::<R>(fan_out) * p);
            for (to, &from) in bias.iter_mut().zip(parameters.biases(layer)) {
                *to = from;
            }
            weights.push(packed);
            biases.push(bias);
        }
        Self {
            network: network.clone(),
            isa,
            weights,
            biases,
        }
    }

    /// Returns the pre-activations of the outputs for at most [`TILE`] rows, in panels of shape
    /// `(TILE, P)`.
    fn outputs(&self, samples: &Samples<R>, rows: &[u32]) -> Aligned<R> {
        let (sizes, p) = (self.network.layout.sizes(), width::<R>());
        let stride = TILE * p;
        let layers = self.network.layout.layers();
        let mut below = Aligned::zeros(0);
        for layer in 0..layers {
            let panels = count::<R>(sizes[layer + 1]);
            let mut out = Aligned::zeros(panels * stride);
            let last = layer + 1 == layers;
            let mut slopes = Aligned::zeros(if last { 0 } else { panels * stride });
            match samples.inputs() {
                Inputs::Sparse(records) if layer == 0 => self.isa.run(SparseForward {
                    records,
                    rows,
                    weights: &self.weights[0],
                    biases: &self.biases[0],
                    activations: &mut out,
                    slopes: (!last).then_some(&mut slopes[..]),
                    stride,
                    transposed: None,
                }),
                _ => {
                    if layer == 0 {
                        below = Aligned::zeros(count::<R>(sizes[0]) * stride);
                        samples.gather(rows, &mut below, stride);
                    }
                    self.isa.run(Product {
                        left: LeftOperand::rows_of(&below, stride),
                        rows: rows.len(),
                        depth: sizes[layer],
                        right: &self.weights[layer],
                        right_stride: sizes[layer] * p,
                        start: Start::Columns(&self.biases[layer]),
                        out: &mut out,
                        out_stride: stride,
                        panels,
                    });
                    if !last {
                        self.isa.run(Activate {
                            activations: &mut out,
                            slopes: &mut slopes,
                        });
                    }
                }
            }
            below = out;
        }
        below
    }

    /// Returns the pre-activations z of the outputs for `rows` of `samples`, `(rows, outputs)`, in
    /// double precision. The bits are the same at any number of threads.
    pub fn pre_activations(
        &self,
        samples: &Samples<R>,
        rows: &[u32],
        pool: &Workers,
    ) -> Array2<f64> {
        self.pre_activations_unless(&|| false, samples, rows, pool)
            .expect("nothing stops it")
    }

    /// Computes the pre-activations, unless `is_stopped` before one of the tiles.
    fn pre_activations_unless(
        &self,
        is_stopped: &(dyn Fn() -> bool + Sync),
        samples: &Samples<R>,
        rows: &[u32],
        pool: &Workers,
    ) -> Option<Array2<f64>> {
        let tiles = map_tiles(is_stopped, rows, pool, |rows| {
            let mut numbers = Vec::new();
            self.append_outputs(samples, rows, &mut numbers);
            numbers
        })?;
        let numbers = Array2::from_shape_vec((rows.len(), self.output_count()), tiles.concat());
        Some(numbers.expect("each row has one number per output"))
    }

    /// Returns the pre-activations of all rows of `samples`, as [`Forward::pre_activations`] does,
    /// on the calling thread alone.
    pub fn pre_activations_here(&self, samples: &Samples<R>) -> Array2<f64> {
        let rows: Vec<u32> = (0..samples.rows() as u32).collect();
        let mut numbers = Vec::with_capacity(rows.len() * self.output_count());
        for rows in rows.chunks(TILE) {
            self.append_outputs(samples, rows, &mut numbers);
        }
        Array2::from_shape_vec((rows.len(), self.output_count()), numbers)
            .expect("each row has one number per output")
    }

    /// Appends the pre-activations of at most [`TILE`] rows, row by row.
    fn append_outputs(&self, samples: &Samples<R>, rows: &[u32], numbers: &mut Vec<f64>) {
        let outputs = self.output_count();
        let z = self.outputs(samples, rows);
        let row_of = |s| output_places::<R>(s, outputs);
        numbers.extend((0..rows.len()).flat_map(row_of).map(|at| z[at].to_f64()));
    }

    /// Returns the number of outputs.
    fn output_count(&self) -> usize {
        self.network.layout.sizes()[self.network.layout.layers()]
    }

    /// Evaluates loss, accuracy and confusion over `rows` of `samples`, which has `classes`
    /// classes. The bits are the same at any number of threads.
    pub fn assess(
        &self,
        samples: &Samples<R>,
        rows: &[u32],
        classes: usize,
        pool: &Workers,
    ) -> Assessment {
        self.assess_unless_stopped(samples, rows, classes, pool, &AtomicBool::new(false))
            .expect("nothing stops it")
    }

    /// Evaluates as [`Forward::assess`] does, unless `stop` is set: then `None`, after the tiles that
    /// the threads have begun. An evaluation of some hundredths of a second ends in any case.
    pub fn assess_unless_stopped(
        &self,
        samples: &Samples<R>,
        rows: &[u32],
        classes: usize,
        pool: &Workers,
        stop: &AtomicBool,
    ) -> Option<Assessment> {
        let is_long = rows.len() as u64 * self.network.layout.len() as u64 > LONG_EVALUATION;
        let is_stopped = || is_long && stop.load(Ordering::Relaxed);
        match samples.is_regression() {
            true => self.assess_numbers(&is_stopped, samples, rows, pool),
            false => self.assess_classes(&is_stopped, samples, rows, classes, pool),
        }
    }

    /// Evaluates predicted classes, unless `is_stopped`.
    fn assess_classes(
        &self,
        is_stopped: &(dyn Fn() -> bool + Sync),
        samples: &Samples<R>,
        rows: &[u32],
        classes: usize,
        pool: &Workers,
    ) -> Option<Assessment> {
        let p = width::<R>();
        let outputs = self.output_count();
        let tiles = map_tiles(is_stopped, rows, pool, |rows| {
            let mut z = self.outputs(samples, rows);
            let mut targets = GatheredTargets::with_capacity(rows.len());
            targets.read(samples, rows, &self.network.class_weights);
            let mut pairs = Vec::with_capacity(rows.len());
            for s in 0..rows.len() {
                let values = output_places::<R>(s, outputs).map(|at| z[at].to_f64());
                let values: Vec<f64> = values.collect();
                let predicted = self.network.predict(values.iter().copied());
                pairs.push((predicted, self.confidence(&values, predicted)));
            }
            let loss = self.isa.run(OutputErrors {
                output_loss: self.network.output_loss(),
                columns: outputs,
                targets: targets.targets(),
                scale: R::ONE,
                values: &mut z,
                stride: TILE * p,
                terms: None,
            });
            (loss, pairs)
        })?;
        let mut confusion = Array2::zeros((classes, classes));
        let mut wrong = Vec::new();
        let mut loss = 0.0;
        for (tile, (tile_loss, pairs)) in tiles.into_iter().enumerate() {
            loss += tile_loss;
            for (s, (predicted, confidence)) in pairs.into_iter().enumerate() {
                let place = tile * TILE + s;
                let label = usize::from(samples.label(rows[place]));
                confusion[[label, predicted]] += 1;
                if label != predicted {
                    wrong.push(Mistake {
                        position: place,
                        predicted,
                        confidence,
                    });
                }
            }
        }
        let total = rows.len() as f64;
        Some(Assessment {
            loss: loss / total,
            accuracy: confusion.diag().sum() as f64 / total,
            confusion,
            wrong,
            regression: None,
        })
    }

    /// Evaluates the loss and the errors of a regression, in double precision from the outputs on,
    /// unless `is_stopped`.
    fn assess_numbers(
        &self,
        is_stopped: &(dyn Fn() -> bool + Sync),
        samples: &Samples<R>,
        rows: &[u32],
        pool: &Workers,
    ) -> Option<Assessment> {
        let mut predicted = self.pre_activations_unless(is_stopped, samples, rows, pool)?;
        let scaling = samples
            .target_scaling()
            .expect("a regression has the scaling of its targets");
        let mut truth = Array2::zeros(predicted.dim());
        let mut loss = 0.0;
        for (place, &row) in rows.iter().enumerate() {
            for (target, y) in samples.targets(row).iter().enumerate() {
                let (z, y) = (&mut predicted[[place, target]], y.to_f64());
                loss += 0.5 * (*z - y).powi(2);
                *z = scaling.undo(target, *z);
                truth[[place, target]] = scaling.undo(target, y);
            }
        }
        Some(Assessment {
            loss: loss / rows.len() as f64,
            accuracy: f64::NAN,
            confusion: Array2::zeros((0, 0)),
            wrong: Vec::new(),
            regression: Some(RegressionResult::new(&scaling.names, truth, predicted)),
        })
    }

    /// Returns the confidence in class `predicted`; see [`Mistake::confidence`].
    fn confidence(&self, z: &[f64], predicted: usize) -> f64 {
        use super::OutputUnits::{Linear, Sigmoid, Softmax};
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        match self.network.output {
            Softmax => {
                1.0 / z
                    .iter()
                    .map(|other| (other - z[predicted]).exp())
                    .sum::<f64>()
            }
            Sigmoid => sigmoid(z[predicted]),
            Linear if self.network.loss == super::Loss::Logistic => sigmoid(z[0].abs()),
            Linear => z[predicted],
        }
    }
}

/// Calls `work` for each tile of `rows`, on all threads, unless `is_stopped` before one of them.
/// Returns the results in order of the tiles.
fn map_tiles<T: Send>(
    is_stopped: &(dyn Fn() -> bool + Sync),
    rows: &[u32],
    pool: &Workers,
    work: impl Fn(&[u32]) -> T + Sync + Send,
) -> Option<Vec<T>> {
    let tiles = pool.map(rows.len().div_ceil(TILE), |tile| {
        let start = tile * TILE;
        let rows = &rows[start..rows.len().min(start + TILE)];
        (!is_stopped()).then(|| work(rows))
    });
    tiles.into_iter().collect()
}

/// Returns the places of row `s` of a tile in the panels of its `outputs` outputs.
fn output_places<R: Real>(s: usize, outputs: usize) -> impl Iterator<Item = usize> {
    let p = width::<R>();
    (0..outputs).map(move |j| j / p * TILE * p + s * p + j % p)
}
