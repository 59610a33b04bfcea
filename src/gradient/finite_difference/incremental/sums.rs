//! Superstep L + 1 of the incremental engine: sums the tables of changes over the rows, divides the
//! sums by h, and updates θ.

use super::tables::list_activations;
use super::worker::{DifferenceTask, IncrementalWorker};
use crate::data::Inputs;
use crate::gradient::finite_difference::quotient::{DivideSums, Penalties};
use crate::gradient::finite_difference::unit_panels::worker_panel_rows;
use crate::kernels::panels::width;
use crate::kernels::scatter_add::{AddAll, AddByteProducts, AddBytes, AddProducts, AddSlots};
use crate::kernels::update::Update;
use crate::numeric::Real;
use crate::parallel::Superstep;

impl<R: Real> IncrementalWorker<'_, R> {
    /// Sets this worker's sums to 0.
    pub(super) fn clear_sums(&mut self, step: &Superstep<'_>) {
        for buffers in &mut self.layers {
            buffers.sums.write_own(step).fill(R::ZERO);
        }
    }

    /// Adds the block's changes to this worker's sums.
    pub(super) fn sum_changes(
        &mut self,
        task: &DifferenceTask<'_, R>,
        rows: &[u32],
        step: &Superstep<'_>,
    ) {
        let p = width::<R>();
        let sizes = task.network.layout.sizes();
        let bias = task.network.layout.has_bias();
        for (layer, buffers) in self.layers.iter_mut().enumerate() {
            let fan_in = sizes[layer];
            let table = task.slots[layer] * p;
            let tables = buffers.tables.read_all(step);
            let pairs = buffers.weight_range.clone();
            let sums = buffers.sums.write_own(step);
            for panel_rows in worker_panel_rows::<R>(&pairs, fan_in) {
                let (panel, inputs) = (panel_rows.panel, panel_rows.inputs);
                let sums = &mut sums[panel_rows.weights.start..panel_rows.biases.end];
                let (sums, bias_sums) = sums.split_at_mut(panel_rows.weights.len());
                for (k, &row) in rows.iter().enumerate() {
                    let changes = &tables[(panel * task.block + k) * table..][..table];
                    if layer > 0 {
                        task.isa.run(AddAll {
                            values: &changes[inputs.start * p..inputs.end * p],
                            sums,
                        });
                    } else if let Inputs::Sparse(records) = task.samples.inputs() {
                        task.isa.run(AddBytes {
                            records,
                            row,
                            first: inputs.start,
                            table: changes,
                            sums,
                        });
                    } else {
                        let slots = &self.inputs.slots.read_all(step)[k * fan_in..][..fan_in];
                        task.isa.run(AddSlots {
                            slots: &slots[inputs.clone()],
                            table: changes,
                            sums,
                        });
                    }
                    if bias && !bias_sums.is_empty() {
                        task.isa.run(AddAll {
                            values: &changes[table - p..],
                            sums: bias_sums,
                        });
                    }
                }
            }
        }
    }

    /// Adds the changes of the block's units, times the inputs of each unit, to this worker's sums:
    /// the sums of node perturbation.
    pub(super) fn sum_products(
        &mut self,
        task: &DifferenceTask<'_, R>,
        rows: &[u32],
        step: &Superstep<'_>,
    ) {
        let p = width::<R>();
        let sizes = task.network.layout.sizes();
        let bias = task.network.layout.has_bias();
        for (layer, &fan_in) in sizes[..task.layers()].iter().enumerate() {
            let pairs = self.layers[layer].weight_range.clone();
            for (k, &row) in rows.iter().enumerate() {
                let (below, buffers) = self.layers.split_at_mut(layer);
                let buffers = &mut buffers[0];
                let values = &mut self.scratch.values.by_slot;
                let records = match (below.last(), task.samples.inputs()) {
                    (Some(below), _) => {
                        list_activations(below.y.read_all(step), task.block, k, fan_in, values);
                        None
                    }
                    (None, Inputs::Sparse(records)) => Some(records),
                    (None, _) => {
                        let inputs = &mut self.scratch.inputs;
                        // Panels of one row are that row's inputs, contiguous.
                        task.samples.gather(&rows[k..=k], inputs, p);
                        values.clear();
                        values.extend_from_slice(&inputs[..fan_in]);
                        None
                    }
                };
                let tables = buffers.tables.read_all(step);
                let sums = buffers.sums.write_own(step);
                for panel_rows in worker_panel_rows::<R>(&pairs, fan_in) {
                    let inputs = panel_rows.inputs;
                    let sums = &mut sums[panel_rows.weights.start..panel_rows.biases.end];
                    let (sums, bias_sums) = sums.split_at_mut(panel_rows.weights.len());
                    let changes = &tables[(panel_rows.panel * task.block + k) * p..][..p];
                    match records {
                        Some(records) => task.isa.run(AddByteProducts {
                            records,
                            row,
                            first: inputs.start,
                            changes,
                            sums,
                        }),
                        None => task.isa.run(AddProducts {
                            values: &values[inputs],
                            changes,
                            sums,
                        }),
                    }
                    if bias && !bias_sums.is_empty() {
                        task.isa.run(AddAll {
                            values: changes,
                            sums: bias_sums,
                        });
                    }
                }
            }
        }
    }

    /// Turns this worker's sums over `rows` rows into partial derivatives, adds the l2 term, and
    /// updates θ if the task has a rule.
    pub(super) fn finish(
        &mut self,
        task: &DifferenceTask<'_, R>,
        rows: usize,
        step: &Superstep<'_>,
    ) {
        let p = width::<R>();
        let sizes = task.network.layout.sizes();
        let l2 = R::from_f64(task.network.l2);
        let scheme = task.perturbation.scheme();
        let propagation = task.perturbation.penalty_propagation();
        let share = R::from_f64(1.0 / rows as f64);
        for (layer, buffers) in self.layers.iter_mut().enumerate() {
            let fan_in = sizes[layer];
            let pairs = buffers.weight_range.clone();
            for panel_rows in worker_panel_rows::<R>(&pairs, fan_in) {
                let (panel, weights) = (panel_rows.panel, panel_rows.weights);
                let range = weights.start..panel_rows.biases.end;
                let increments = &self.scratch.increments[layer][panel * p..][..p];
                task.isa.run(DivideSums {
                    scheme,
                    inverse_rows: share,
                    increments,
                    changes: &mut buffers.sums.write_own(step)[range],
                });
                if l2 != R::ZERO {
                    task.isa.run(Penalties {
                        scheme,
                        propagation,
                        l2,
                        units: p.min(sizes[layer + 1] - panel * p),
                        increments,
                        weights: &buffers.weights.read_own(step)[weights.clone()],
                        gradient: &mut buffers.sums.write_own(step)[weights],
                    });
                }
            }
            if let Some(rule) = task.rule {
                task.isa.run(Update {
                    // The l2 term is in the gradient already.
                    rule: rule.for_biases(),
                    gradient: buffers.sums.read_own(step),
                    weights: buffers.weights.write_own(step),
                    velocity: buffers
                        .velocity
                        .as_mut()
                        .map(|velocity| velocity.write_own(step)),
                });
            }
        }
    }
}
