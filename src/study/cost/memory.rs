//! The memory that a gradient takes beside its data, predicted before any of it is allocated.
//!
//! Sums of the engines' buffers, in numbers of the precision used: a prediction for a size that
//! nobody could allocate costs nothing, and is in floating point because it may be beyond any
//! integer. `tests/cost_memory.rs` holds it against what an engine really allocates.

use crate::error::{Error, Result};
use crate::gradient::GradientConfig;
use crate::gradient::finite_difference::Reuse;
use crate::gradient::random_direction::PerturbedQuantity;
use crate::study::table::bytes;

/// The tables of incremental differences hold as many rows as this has room for, but one.
const TABLES: f64 = (1 << 20) as f64;
/// Lines of a table over the values of a byte.
const BYTE_LINES: f64 = 257.0;
/// Rows of the small batches, whose bytes are held transposed.
const SMALL_BATCH: f64 = 16.0;
/// Perturbations that go through the upper layers together.
const CHUNK: f64 = 8.0;

/// What the prediction depends on.
#[derive(Clone, Debug)]
pub struct MemoryShape<'a> {
    /// Layer sizes n_0 … n_L.
    pub sizes: &'a [usize],
    /// Rows of a mini-batch.
    pub rows: usize,
    /// Threads of the team.
    pub threads: usize,
    /// Whether the inputs are bytes that are mostly 0.
    pub sparse: bool,
    /// Bytes of a number: 4 or 8.
    pub number: usize,
}

impl MemoryShape<'_> {
    /// Bytes of θ: one copy.
    pub fn parameters(&self) -> f64 {
        let layers = self.sizes.windows(2);
        let numbers: f64 = layers
            .map(|pair| (pair[0] as f64 + 1.0) * pair[1] as f64)
            .sum();
        numbers * self.number as f64
    }

    /// Bytes that a step of training by `method` takes, the data left out: θ as it was drawn, and
    /// the engine with all its buffers.
    pub fn gradient(&self, method: &GradientConfig) -> f64 {
        let engine = match method {
            GradientConfig::Backprop | GradientConfig::NumericBackprop(_) => self.backprop(),
            GradientConfig::NodePerturbation(_) => self.incremental(true),
            GradientConfig::ForwardMode(Reuse::Incremental) => self.incremental(false),
            GradientConfig::Difference(config) if config.reuse == Reuse::Incremental => {
                self.incremental(false)
            }
            GradientConfig::ForwardGradient(config) => match config.perturbed {
                PerturbedQuantity::Weights => self.passes() + self.panels(),
                // θ and the gradient once for all.
                PerturbedQuantity::Activations => {
                    self.passes() + (2.0 - self.threads as f64) * self.panels()
                }
            },
            // θ once for all, a direction for each worker.
            GradientConfig::ForwardMode(_) => self.passes() + self.panels(),
            GradientConfig::Difference(_) | GradientConfig::Spsa(_) => self.passes(),
        };
        self.parameters() + engine * self.number as f64
    }

    /// Bytes that the evaluation of one loss takes, the same way.
    pub fn evaluation(&self) -> f64 {
        let numbers = self.panels() + self.pass() + self.gathered();
        self.parameters() + numbers * self.number as f64
    }

    /// Refuses what this machine has no room for.
    ///
    /// # Errors
    /// [`Error::Usage`] with both sizes, if `needed` bytes are more than are available.
    pub fn hold(&self, needed: f64, available: Option<u64>) -> Result<()> {
        let Some(available) = available.filter(|&available| needed > available as f64) else {
            return Ok(());
        };
        let sizes: Vec<String> = self.sizes.iter().map(usize::to_string).collect();
        Err(Error::Usage(format!(
            "a gradient of {} over {} rows needs {} of memory, and {} are available\n  help: choose narrower or fewer layers with --widths and --depths, or a smaller --batch",
            sizes.join("-"),
            self.rows,
            bytes(needed),
            bytes(available as f64),
        )))
    }

    /// Numbers of a cache line: a panel's width.
    fn width(&self) -> f64 {
        64.0 / self.number as f64
    }

    /// Units, filled up to whole panels.
    fn padded(&self, units: usize) -> f64 {
        (units as f64 / self.width()).ceil() * self.width()
    }

    fn hidden(&self) -> &[usize] {
        &self.sizes[1..self.sizes.len() - 1]
    }

    fn outputs(&self) -> f64 {
        self.padded(self.sizes[self.sizes.len() - 1])
    }

    fn widest(&self) -> usize {
        self.sizes[1..].iter().copied().max().unwrap_or(0)
    }

    /// θ in panels of units, biases below.
    fn panels(&self) -> f64 {
        let layers = self.sizes.windows(2);
        layers
            .map(|pair| (pair[0] as f64 + 1.0) * self.padded(pair[1]))
            .sum()
    }

    /// The inputs as numbers.
    fn gathered(&self) -> f64 {
        self.padded(self.sizes[0]) * self.rows as f64
    }

    /// z and σ(z) of every layer over the mini-batch.
    fn pass(&self) -> f64 {
        let units: f64 = self.sizes[1..]
            .iter()
            .map(|&units| self.padded(units))
            .sum();
        (2.0 * units + self.padded(self.widest())) * self.rows as f64
    }

    /// One worker's θ and pass each, one more pass at θ itself; θ and the gradient once more, flat.
    fn passes(&self) -> f64 {
        let flat = 2.0 * self.parameters() / self.number as f64;
        let worker = self.panels() + self.pass() + self.rows as f64;
        worker * self.threads as f64 + self.pass() + self.gathered() + flat
    }

    /// θ with the last layer in two orientations; activations, slopes and errors; sums of all
    /// hidden layers but the first; what each worker computes for itself.
    fn backprop(&self) -> f64 {
        let (rows, width) = (self.rows as f64, self.width());
        let features = self.sizes[0] as f64;
        let hidden: f64 = self.hidden().iter().map(|&units| self.padded(units)).sum();
        let below = self
            .hidden()
            .last()
            .map_or(0.0, |&units| self.padded(units));
        let last = 2.0 * below * self.outputs();
        // The hidden layers, or the only one.
        let owned = (self.sizes.len() - 2).max(1);
        let weights = self.sizes[..=owned].windows(2);
        let weights = || {
            weights
                .clone()
                .map(|pair| pair[0] as f64 * self.padded(pair[1]))
        };
        let (all, sums): (f64, f64) = (weights().sum(), weights().skip(1).sum());
        let shares = 2.0 * (below / width).max(1.0) * self.outputs() * rows;
        let sparse = features * (2.0 * width + SMALL_BATCH / self.number as f64);
        let blocks = (self.padded(self.widest()) + self.outputs().max(2.0 * width)) * width;
        let worker = self.gathered() + self.outputs() * rows + sparse + blocks;
        all + sums + last + 3.0 * hidden * rows + shares + worker * self.threads as f64
    }

    /// θ and its sums in panels; z, y, ȳ and the tables of a block of rows, by value of the inputs or
    /// by unit; what each worker holds.
    fn incremental(&self, of_units: bool) -> f64 {
        let lines = |layer: usize| match layer {
            _ if of_units => 1.0,
            0 if self.sparse => BYTE_LINES,
            _ => self.sizes[layer] as f64 + 1.0,
        };
        let layers = self.sizes.len() - 1;
        let table: f64 = (0..layers)
            .map(|layer| self.padded(self.sizes[layer + 1]) * lines(layer))
            .sum();
        let block = (TABLES / (table * self.number as f64))
            .floor()
            .clamp(1.0, self.rows as f64);
        let units: f64 = self.sizes[1..]
            .iter()
            .map(|&units| self.padded(units))
            .sum();
        let stage = CHUNK * (self.padded(self.widest()) + 1.0) * self.width();
        // Each worker's inputs; and once their different values, and which of them each input has.
        let copies = match (self.sparse, of_units) {
            (true, _) => 0.0,
            (false, true) => self.threads as f64,
            (false, false) => self.threads as f64 + 2.0,
        };
        let inputs = copies * block * self.padded(self.sizes[0]);
        let worker = 2.0 * stage + units;
        2.0 * self.panels() + block * (3.0 * units + table) + inputs + worker * self.threads as f64
    }
}
