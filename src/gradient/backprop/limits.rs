//! What limits a step of backprop that is divided among workers: work that is done twice or
//! unevenly, meetings, and parameters that travel between the processors' caches. Equal tasks, such
//! as perturbed passes, for comparison.

use serde::{Deserialize, Serialize};

use super::by_rows::{Regions, row_ends, tile_cost, tiles};
use crate::data::{Inputs, Samples};
use crate::kernels::panels::count;
use crate::numeric::Real;
use crate::parallel::Split;

/// The limits of a division, counted for one mini-batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DivisionLimits {
    /// The work of one worker alone, divided by the number of workers and by the work of the one
    /// with the most: the efficiency if everything else cost nothing. Estimated from counts.
    pub shared_work: f64,
    /// Number of times that the workers wait for each other in a step.
    pub meetings: usize,
    /// Bytes of θ that a step moves from one worker's caches to another's, if each keeps what it
    /// has written.
    pub moved_bytes: u64,
}

/// Cost of reading a word of a sparse record, in products of a number with a panel's row.
const READ_COST: f64 = 1.0;
/// Cost of a row's output errors and losses per panel, in the same unit.
const OUTPUT_COST: f64 = 20.0;

impl DivisionLimits {
    /// Counts the limits of a step of backprop that is divided by `split` among `workers`, for the
    /// mini-batch `rows` and layers of these sizes.
    pub fn of<R: Real>(
        samples: &Samples<R>,
        sizes: &[usize],
        rows: &[u32],
        (split, workers): (Split, usize),
    ) -> Self {
        let task = Counter {
            samples,
            sizes,
            rows,
            workers: workers.max(1),
        };
        match split {
            Split::Units => task.by_units(),
            Split::Rows => task.by_rows(),
        }
    }

    /// Returns the limits of `tasks` equal tasks, such as N perturbed passes, among `workers`: they
    /// are independent, and the workers meet at the end.
    pub fn of_equal_tasks(tasks: usize, workers: usize) -> Self {
        let workers = workers.max(1);
        let largest = tasks.div_ceil(workers).max(1);
        Self {
            shared_work: tasks as f64 / (workers * largest) as f64,
            meetings: usize::from(workers > 1),
            moved_bytes: 0,
        }
    }
}

/// A mini-batch whose work is counted.
struct Counter<'a, R> {
    samples: &'a Samples<R>,
    sizes: &'a [usize],
    rows: &'a [u32],
    workers: usize,
}

impl<R: Real> Counter<'_, R> {
    fn panels(&self, layer: usize) -> usize {
        count::<R>(self.sizes[layer])
    }

    /// Returns the number of hidden layers.
    fn hidden(&self) -> usize {
        self.sizes.len() - 2
    }

    /// Returns the number of inputs of a row that are multiplied.
    fn inputs(&self, row: u32) -> usize {
        match self.samples.inputs() {
            Inputs::Sparse(records) => records.row(row).len(),
            _ => self.sizes[0],
        }
    }

    /// Returns the cost of reading the records once.
    fn reading(&self) -> f64 {
        match self.samples.inputs() {
            Inputs::Sparse(_) => {
                READ_COST * self.rows.iter().map(|&row| self.inputs(row)).sum::<usize>() as f64
            }
            _ => 0.0,
        }
    }

    /// Returns the cost of a row's forward pass, output errors and backward pass.
    fn pass_cost(&self, row: u32) -> f64 {
        let layers = 1..self.sizes.len() - 1;
        let upper = layers.map(|layer| 2 * self.sizes[layer] * self.panels(layer + 1));
        let first = self.inputs(row) * self.panels(1);
        let outputs = OUTPUT_COST * self.panels(self.hidden() + 1) as f64;
        (first + upper.sum::<usize>()) as f64 + outputs
    }

    fn by_rows(&self) -> DivisionLimits {
        let workers = self.workers.min(self.rows.len()).max(1);
        let regions = Regions::new(self.rows.len(), workers);
        let mut ends = Vec::new();
        row_ends(self.samples, self.sizes, self.rows, regions, &mut ends);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let pass = |(start, &end): (usize, &usize)| {
            let rows = self.rows[start..end].iter();
            rows.map(|&row| self.pass_cost(row) + READ_COST * self.inputs(row) as f64)
                .sum::<f64>()
        };
        let passes: Vec<f64> = starts.zip(&ends).map(pass).collect();
        let updates: Vec<f64> = tiles(self.samples, self.sizes, self.rows.len(), workers)
            .iter()
            .map(|tile| tile_cost(self.samples, self.sizes, self.rows, tile))
            .collect();
        let largest = |costs: &[f64]| costs.iter().copied().fold(0.0, f64::max);
        let all = passes.iter().chain(&updates).sum::<f64>();
        let most = largest(&passes) + largest(&updates);
        DivisionLimits {
            shared_work: all / (self.workers as f64 * most),
            meetings: if workers > 1 { 2 } else { 0 },
            moved_bytes: ((workers - 1) * self.touched() * R::BYTES) as u64,
        }
    }

    /// Returns the number of parameters that a step writes and its passes read: of the first layer,
    /// those of inputs that some row has.
    fn touched(&self) -> usize {
        let used = match self.samples.inputs() {
            Inputs::Sparse(records) => records.nonzeros(self.rows).1,
            _ => self.sizes[0],
        };
        let upper = self.sizes[1..].windows(2).map(|pair| pair[0] * pair[1]);
        used * self.sizes[1] + upper.sum::<usize>() + self.sizes[1..].iter().sum::<usize>()
    }

    fn by_units(&self) -> DivisionLimits {
        let (hidden, rows) = (self.hidden(), self.rows.len() as f64);
        let owned = hidden.max(1);
        // What every worker does alike: reads the records twice, sums and evaluates the outputs.
        let sums = if hidden > 0 { self.panels(hidden) } else { 0 } as f64;
        let outputs = self.panels(hidden + 1) as f64 * rows;
        let common = 2.0 * self.reading() + outputs * (OUTPUT_COST + sums);
        let passes: f64 = self.rows.iter().map(|&row| self.pass_cost(row)).sum();
        let all = &tiles(self.samples, self.sizes, self.rows.len(), 1)[0];
        let update = tile_cost(self.samples, self.sizes, self.rows, all);
        let divided = passes - outputs * OUTPUT_COST + update;
        // A worker owns whole panels: its part of the divided work, weighted by the parameters.
        let weight = |layer: usize| (self.sizes[layer - 1] * self.panels(layer)) as f64;
        let largest = |layer: usize| {
            let panels = self.panels(layer);
            panels.div_ceil(self.workers) as f64 / panels as f64
        };
        let sum = |of: &dyn Fn(usize) -> f64| (1..=owned).map(of).sum::<f64>();
        let part = sum(&|layer| weight(layer) * largest(layer)) / sum(&weight);
        // Other workers read the weights of the second hidden layer and those above it.
        let read = (2..=hidden).map(|layer| self.sizes[layer - 1] * self.sizes[layer]);
        DivisionLimits {
            shared_work: (common + divided) / (self.workers as f64 * (common + divided * part)),
            meetings: match (self.workers, hidden) {
                (1, _) => 0,
                (_, 0 | 1) => 1,
                _ => 2 * hidden,
            },
            moved_bytes: ((self.workers - 1) * read.sum::<usize>() * R::BYTES) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::{Dataset, Features, Scaling};

    fn limits(sizes: &[usize], rows: u32, split: Split, workers: usize) -> DivisionLimits {
        let features = ndarray::Array2::from_elem((rows as usize, sizes[0]), 7);
        let dataset = Arc::new(Dataset {
            name: "ones".to_owned(),
            features: Features::Bytes(features),
            labels: vec![0; rows as usize],
            class_names: vec!["a".to_owned(), "b".to_owned()],
            image: None,
            unit_divisor: None,
            targets: None,
            table: None,
        });
        let scaling = Scaling {
            offset: vec![0.0; sizes[0]],
            divisor: vec![255.0; sizes[0]],
            targets: None,
        };
        let samples = Samples::<f32>::new(&dataset, &scaling);
        let rows: Vec<u32> = (0..rows).collect();
        DivisionLimits::of(&samples, sizes, &rows, (split, workers))
    }

    #[test]
    fn panels_limit_the_split_by_units_and_rows_that_by_rows() {
        let units = |workers| limits(&[784, 30, 10], 128, Split::Units, workers);
        let rows = |workers| limits(&[784, 30, 10], 128, Split::Rows, workers);
        assert_eq!(units(1).shared_work, 1.0);
        assert_eq!(rows(1).shared_work, 1.0);
        // Two panels of hidden units: of sixteen workers, fourteen have none.
        assert!((0.9..1.0).contains(&units(2).shared_work));
        assert!((0.11..0.125).contains(&units(16).shared_work));
        assert!(rows(16).shared_work > 0.9);
        // Four rows: of sixteen workers, twelve have none.
        let few = limits(&[784, 30, 10], 4, Split::Rows, 16);
        assert!((0.2..=0.25).contains(&few.shared_work), "{few:?}");
    }

    #[test]
    fn equal_tasks_are_shared_as_whole_ones() {
        let shared = |workers| DivisionLimits::of_equal_tasks(67, workers).shared_work;
        assert_eq!((shared(1), shared(67)), (1.0, 1.0));
        assert_eq!(shared(2), 67.0 / 68.0);
        // At most 67 workers find work.
        assert_eq!(shared(1024), 67.0 / 1024.0);
    }

    #[test]
    fn meetings_and_moved_parameters_depend_on_the_depth() {
        let deep = [50, 40, 30, 20, 10];
        let meetings = |sizes: &[usize], split, workers| limits(sizes, 20, split, workers).meetings;
        assert_eq!(meetings(&[50, 30, 10], Split::Units, 2), 1);
        assert_eq!(meetings(&deep, Split::Units, 2), 6);
        assert_eq!(meetings(&deep, Split::Rows, 2), 2);
        assert_eq!(meetings(&deep, Split::Rows, 1), 0);
        let moved = |split| limits(&deep, 20, split, 3).moved_bytes;
        assert_eq!(moved(Split::Units), 2 * 4 * (40 * 30 + 30 * 20));
        let parameters = 50 * 40 + 40 * 30 + 30 * 20 + 20 * 10 + 40 + 30 + 20 + 10;
        assert_eq!(moved(Split::Rows), 2 * 4 * parameters);
    }
}
