//! Predicts the memory of a gradient, without the data, before any of it is allocated.
//!
//! The prediction sums the sizes of the engines' buffers. It works for sizes that could never be
//! allocated, and uses floating point because they may exceed any integer. `tests/cost_memory.rs`
//! compares it with the actual allocations of the engines.

use crate::error::Result;
use crate::gradient::GradientConfig;
use crate::gradient::finite_difference::Reuse;
use crate::gradient::random_direction::PerturbedQuantity;
use crate::memory;
use crate::study::table::topology;

/// Bytes that the tables of incremental differences may occupy; they hold at least one row.
const TABLES: f64 = (1 << 20) as f64;
/// Lines of a table indexed by the value of a byte input.
const BYTE_LINES: f64 = 257.0;
/// Rows of the small batches whose byte inputs are stored transposed.
const SMALL_BATCH: f64 = 16.0;
/// Perturbations that pass through the upper layers together.
const CHUNK: f64 = 8.0;

/// The sizes that determine the memory.
#[derive(Clone, Debug)]
pub struct MemoryShape<'a> {
    /// Layer sizes n_0 … n_L.
    pub sizes: &'a [usize],
    /// Rows of a mini-batch.
    pub rows: usize,
    /// Number of worker threads.
    pub threads: usize,
    /// Whether the inputs are bytes stored in sparse form.
    pub sparse: bool,
    /// Bytes per number: 4 or 8.
    pub number: usize,
}

impl MemoryShape<'_> {
    /// Returns the bytes of one copy of θ.
    pub fn parameters(&self) -> f64 {
        let layers = self.sizes.windows(2);
        let numbers: f64 = layers
            .map(|pair| (pair[0] as f64 + 1.0) * pair[1] as f64)
            .sum();
        numbers * self.number as f64
    }

    /// Predicts the bytes of a training step by `method`, without the data: the initial θ and the
    /// engine with all its buffers.
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
                // θ and the gradient are shared by all workers.
                PerturbedQuantity::Activations => {
                    self.passes() + (2.0 - self.threads as f64) * self.panels()
                }
            },
            // θ is shared; each worker has its own direction.
            GradientConfig::ForwardMode(_) => self.passes() + self.panels(),
            GradientConfig::Difference(_) => self.passes() + self.packed(),
            GradientConfig::Spsa(_) => self.passes(),
        };
        self.parameters() + engine * self.number as f64
    }

    /// Predicts the bytes of one loss evaluation likewise.
    pub fn evaluation(&self) -> f64 {
        let numbers = self.panels() + self.pass() + self.gathered() + self.packed();
        self.parameters() + numbers * self.number as f64
    }

    /// Predicts the bytes of training by `method`, without the data: [`MemoryShape::gradient`], the
    /// optimizer's `vectors` and those that are kept besides, and a checkpoint of all of them as it is
    /// copied and encoded.
    pub fn training(&self, method: &GradientConfig, vectors: usize) -> f64 {
        let checkpoint = 2.0 * (1.0 + vectors as f64);
        self.gradient(method) + (vectors as f64 + checkpoint) * self.parameters()
    }

    /// Checks that the machine has enough memory for a gradient.
    ///
    /// # Errors
    /// [`Error::Resources`](crate::error::Error::Resources) with both sizes if `needed` exceeds the
    /// available bytes.
    pub fn check_available(&self, needed: f64) -> Result<()> {
        let work = format!(
            "a gradient of {} over {} rows needs",
            topology(self.sizes),
            self.rows,
        );
        memory::check(
            needed,
            &work,
            "choose narrower or fewer layers with --widths and --depths, or a smaller --batch",
        )
    }

    /// Returns the numbers per cache line, which is the width of a panel.
    fn width(&self) -> f64 {
        64.0 / self.number as f64
    }

    /// Rounds a number of units up to whole panels.
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

    /// Returns the numbers of θ in panels, biases included.
    fn panels(&self) -> f64 {
        let layers = self.sizes.windows(2);
        layers
            .map(|pair| (pair[0] as f64 + 1.0) * self.padded(pair[1]))
            .sum()
    }

    /// Returns the numbers of the mini-batch's gathered inputs.
    fn gathered(&self) -> f64 {
        self.padded(self.sizes[0]) * self.rows as f64
    }

    /// Returns the size of the packed inputs, in numbers: a value and an offset of 4 bytes for
    /// each sparse input, were none of them 0.
    fn packed(&self) -> f64 {
        if !self.sparse {
            return 0.0;
        }
        (1.0 + 4.0 / self.number as f64) * (self.sizes[0] * self.rows) as f64
    }

    /// Returns the numbers of a pass: z and σ(z) of every layer over the mini-batch.
    fn pass(&self) -> f64 {
        let units: f64 = self.sizes[1..]
            .iter()
            .map(|&units| self.padded(units))
            .sum();
        (2.0 * units + self.padded(self.widest())) * self.rows as f64
    }

    /// Returns the numbers of an engine of whole passes: θ and a pass per worker, a pass at θ
    /// itself, and flat copies of θ and the gradient.
    fn passes(&self) -> f64 {
        let flat = 2.0 * self.parameters() / self.number as f64;
        let worker = self.panels() + self.pass() + self.rows as f64;
        worker * self.threads as f64 + self.pass() + self.gathered() + flat
    }

    /// Returns the numbers of backprop's engine: θ with the last layer in two orientations;
    /// activations, slopes and errors; sums of all hidden layers but the first; and the buffers of
    /// each worker.
    fn backprop(&self) -> f64 {
        let (rows, width) = (self.rows as f64, self.width());
        let features = self.sizes[0] as f64;
        let hidden: f64 = self.hidden().iter().map(|&units| self.padded(units)).sum();
        let below = self
            .hidden()
            .last()
            .map_or(0.0, |&units| self.padded(units));
        let last = 2.0 * below * self.outputs();
        // The hidden layers, or the only layer.
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

    /// Returns the numbers of the incremental engine: θ and its scatter sums in panels; z, y, ȳ and
    /// the difference tables of a block of rows, by input value or by unit; and the buffers of each
    /// worker.
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
        // The inputs per worker, and once the distinct values and each input's index among them.
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
