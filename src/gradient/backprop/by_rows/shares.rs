//! Who computes what: the rows of each worker's pass, and the tile of parameters that it updates.

use std::ops::Range;

use crate::data::{Inputs, Samples};
use crate::gradient::backprop::next_part;
use crate::kernels::panels::{GAP_ROWS, count, width};
use crate::numeric::Real;
use crate::parallel::share_ends;

/// The regions of the buffers: one per worker.
#[derive(Clone, Copy)]
pub(in crate::gradient::backprop) struct Regions {
    workers: usize,
    /// Most rows of a share: a quarter more than the mean, for shares of equal cost.
    most: usize,
}

impl Regions {
    /// Returns the regions for mini-batches of at most `capacity` rows.
    pub(in crate::gradient::backprop) fn new(capacity: usize, workers: usize) -> Self {
        let mean = capacity.div_ceil(workers);
        Self {
            workers,
            most: capacity.min(mean + mean / 4 + 1),
        }
    }

    /// Returns the distance between two panels of values, in rows.
    pub(in crate::gradient::backprop) fn panel_rows(self) -> usize {
        self.most + GAP_ROWS
    }

    /// Returns the number of regions.
    pub(in crate::gradient::backprop) fn workers(self) -> usize {
        self.workers
    }

    /// Returns the number of rows of all regions, gaps included.
    pub(super) fn rows(self) -> usize {
        self.workers * self.panel_rows()
    }

    /// Returns the range of region `region` in a buffer, with `size` numbers per row of a region.
    pub(super) fn part(self, region: usize, size: usize) -> Range<usize> {
        let length = self.panel_rows() * size;
        region * length..(region + 1) * length
    }

    /// Returns the ranges of `regions` in a buffer, with `size` numbers per row of a region.
    pub(super) fn parts(
        self,
        regions: Range<usize>,
        size: usize,
    ) -> impl Iterator<Item = Range<usize>> + Clone {
        regions.map(move |region| self.part(region, size))
    }
}

/// What a worker updates.
#[derive(Clone)]
pub(in crate::gradient::backprop) struct Tile {
    /// Inputs of each layer that is stored by panels of its own units.
    pub(super) lines: Vec<Range<usize>>,
    /// Hidden panels of the last layer.
    pub(super) last: Range<usize>,
    /// Panels of biases of each layer.
    pub(super) biases: Vec<Range<usize>>,
}

/// Cost of updating an input's weights in one panel, in products of the input with an error.
const UPDATE_COST: f64 = 3.0;
/// Cost of a product with a sparse input, which reads and writes the sum, in such with a dense one.
const SPARSE_COST: f64 = 2.0;
/// Cost of adding an error to a bias: it waits for the sum before.
const BIAS_COST: f64 = 4.0;

/// Partitions the parameters into one tile per worker, of equal cost for `rows` rows. Costs are in
/// products of a number with a panel's row.
pub(in crate::gradient::backprop) fn tiles<R: Real>(
    samples: &Samples<R>,
    sizes: &[usize],
    rows: usize,
    workers: usize,
) -> Vec<Tile> {
    let (p, rows) = (width::<R>(), rows as f64);
    let hidden = sizes.len() - 2;
    let panels = |layer: usize| count::<R>(sizes[layer]);
    let mut costs = Vec::new();
    // The tasks of each group: lines of layers, hidden panels of the last layer, biases of layers.
    let mut groups = Vec::new();
    let owned = hidden.max(1);
    for (h, &fan_in) in sizes[..owned].iter().enumerate() {
        let products = |input: usize| match samples.inputs() {
            Inputs::Sparse(records) if h == 0 => SPARSE_COST * rows * records.density(input),
            _ => rows,
        };
        let cost = |input: usize| panels(h + 1) as f64 * (products(input) + UPDATE_COST);
        costs.extend((0..fan_in).map(cost));
        groups.push(fan_in);
    }
    let outputs = panels(hidden + 1);
    let last = hidden_panels::<R>(sizes);
    let cost = (outputs * p) as f64 * (rows + 2.0 * UPDATE_COST);
    costs.extend(std::iter::repeat_n(cost, last));
    groups.push(last);
    for layer in 1..=hidden + 1 {
        costs.extend(std::iter::repeat_n(BIAS_COST * rows, panels(layer)));
        groups.push(panels(layer));
    }
    let mut ends = Vec::new();
    share_ends(costs.iter().copied(), workers, costs.len(), &mut ends);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let tile = |(start, &end): (usize, &usize)| {
        let mut before = 0;
        let mut ranges = groups.iter().map(|&tasks| {
            let place = |task: usize| task.clamp(before, before + tasks) - before;
            let range = place(start)..place(end);
            before += tasks;
            range
        });
        Tile {
            lines: ranges.by_ref().take(owned).collect(),
            last: next_part(&mut ranges),
            biases: ranges.collect(),
        }
    };
    starts.zip(&ends).map(tile).collect()
}

/// Returns the cost of computing and updating `tile`, with the inputs that `rows` really have.
pub(in crate::gradient::backprop) fn tile_cost<R: Real>(
    samples: &Samples<R>,
    sizes: &[usize],
    rows: &[u32],
    tile: &Tile,
) -> f64 {
    let (p, count_rows) = (width::<R>(), rows.len() as f64);
    let hidden = sizes.len() - 2;
    let line_costs = (tile.lines.iter().enumerate()).map(|(h, lines)| {
        let products = match samples.inputs() {
            Inputs::Sparse(records) if h == 0 => {
                let words = rows
                    .iter()
                    .map(|&row| records.words_at(row, lines.clone()).len());
                SPARSE_COST * words.sum::<usize>() as f64
            }
            _ => count_rows * lines.len() as f64,
        };
        let panels = count::<R>(sizes[h + 1]) as f64;
        panels * (products + UPDATE_COST * lines.len() as f64)
    });
    let outputs = count::<R>(sizes[hidden + 1]);
    let blocks = (tile.last.len() * outputs * p) as f64;
    let biases = tile.biases.iter().map(Range::len).sum::<usize>() as f64;
    line_costs.sum::<f64>()
        + blocks * (count_rows + 2.0 * UPDATE_COST)
        + biases * BIAS_COST * count_rows
}

/// Partitions the rows of a mini-batch into one share per worker, of equal cost, for the pass;
/// writes the end of each share.
pub(in crate::gradient::backprop) fn row_ends<R: Real>(
    samples: &Samples<R>,
    sizes: &[usize],
    rows: &[u32],
    regions: Regions,
    ends: &mut Vec<usize>,
) {
    // Forward and backward; of the first layer, forward only.
    let upper: usize = sizes[1..]
        .windows(2)
        .map(|pair| 2 * pair[0] * pair[1])
        .sum();
    let cost = |&row: &u32| match samples.inputs() {
        Inputs::Sparse(records) => (records.row(row).len() * sizes[1] + upper) as f64,
        _ => 1.0,
    };
    share_ends(rows.iter().map(cost), regions.workers, regions.most, ends);
}

/// Returns the number of panels of the last hidden layer, 0 if there is none.
pub(super) fn hidden_panels<R: Real>(sizes: &[usize]) -> usize {
    match sizes {
        [_, .., hidden, _] => count::<R>(*hidden),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use ndarray_rand::rand::seq::SliceRandom;

    use super::*;
    use crate::data::{Dataset, Features, Scaling, SearchPaths, catalog};
    use crate::numeric::random::{Purpose, epoch_stream};
    use crate::numeric::statistics::median;

    const SIZES: [usize; 3] = [784, 30, 10];

    /// Returns how much the largest share exceeds their mean.
    fn imbalance(shares: impl Iterator<Item = f64>) -> f64 {
        let shares: Vec<_> = shares.collect();
        let largest = shares.iter().copied().fold(0.0, f64::max);
        largest * shares.len() as f64 / shares.iter().sum::<f64>() - 1.0
    }

    /// Returns the median imbalance of the first superstep and of the second over 100 mini-batches:
    /// of the multiplications of the pass, and of the cost of the update, both for the non-zero
    /// inputs that the rows of the mini-batch really have.
    fn median_imbalance(samples: &Samples<f32>, batch: usize, workers: usize) -> [f64; 2] {
        let (features, units, outputs) = (SIZES[0], SIZES[1], SIZES[2]);
        let regions = Regions::new(batch, workers);
        let tiles = tiles(samples, &SIZES, batch, workers);
        let mut order: Vec<u32> = (0..60_000).collect();
        order.shuffle(&mut epoch_stream(1, Purpose::Shuffle, 0));
        let inputs = |row: u32| match samples.inputs() {
            Inputs::Sparse(records) => records.row(row).len(),
            _ => features,
        };
        let (mut ends, mut imbalances) = (Vec::new(), [Vec::new(), Vec::new()]);
        for rows in order.chunks_exact(batch).cycle().take(100) {
            row_ends(samples, &SIZES, rows, regions, &mut ends);
            let pass = |rows: &[u32]| {
                let row = |&row: &u32| (inputs(row) + 2 * outputs) * units;
                rows.iter().map(row).sum::<usize>() as f64
            };
            let shares = crate::gradient::backprop::layers::regions(&ends)
                .map(|(_, share)| pass(&rows[share]));
            imbalances[0].push(imbalance(shares));
            let update = tiles
                .iter()
                .map(|tile| tile_cost(samples, &SIZES, rows, tile));
            imbalances[1].push(imbalance(update));
        }
        imbalances.map(|values| median(&values).unwrap())
    }

    #[test]
    fn shares_of_rows_and_of_parameters_are_balanced() {
        let (mnist, _) = catalog::load("mnist", &SearchPaths::new(None)).unwrap();
        let scaling = Scaling {
            offset: vec![0.0; SIZES[0]],
            divisor: vec![255.0; SIZES[0]],
            targets: None,
        };
        let images = Samples::new(&mnist, &scaling);
        let dense = Samples::new(
            &std::sync::Arc::new(Dataset {
                features: Features::Bytes(ndarray::Array2::from_elem((60_000, SIZES[0]), 7)),
                ..Dataset::clone(&mnist)
            }),
            &scaling,
        );
        assert!(matches!(images.inputs(), Inputs::Sparse(_)));
        for (samples, most) in [(images, 0.12), (dense, 0.10)] {
            for workers in [2, 3, 4, 8, 16] {
                for batch in [128, 1024] {
                    let imbalances = median_imbalance(&samples, batch, workers);
                    println!("{workers} workers, {batch} rows: {imbalances:?}, at most {most}");
                    assert!(imbalances.iter().all(|&imbalance| imbalance <= most));
                }
            }
        }
    }
}
