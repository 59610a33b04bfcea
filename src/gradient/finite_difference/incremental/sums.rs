//! From an incremental gradient's tables to θ, superstep L + 1: the changes' sums over the rows, their
//! quotients, the update.

use super::tables::list_activations;
use super::worker::{DifferenceTask, IncrementalWorker};
use crate::data::Inputs;
use crate::gradient::finite_difference::quotient::{DivideSums, Penalties};
use crate::gradient::finite_difference::unit_panels::own_lines;
use crate::kernels::panels::width;
use crate::kernels::scatter_add::{AddAll, AddByteProducts, AddBytes, AddProducts, AddSlots};
use crate::kernels::update::Update;
use crate::numeric::Real;
use crate::parallel::Superstep;

impl<R: Real> IncrementalWorker<'_, R> {
    pub(super) fn clear_sums(&mut self, step: &Superstep<'_>) {
        for held in &mut self.layers {
            held.sums.own(step).fill(R::ZERO);
        }
    }

    /// Adds the block's changes to the sums of own lines.
    pub(super) fn sum(&mut self, task: &DifferenceTask<'_, R>, rows: &[u32], step: &Superstep<'_>) {
        let p = width::<R>();
        let sizes = task.network.layout.sizes();
        let bias = task.network.layout.has_bias();
        for (layer, held) in self.layers.iter_mut().enumerate() {
            let fan_in = sizes[layer];
            let table = task.slots[layer] * p;
            let tables = held.tables.all(step);
            let pairs = held.own_lines.clone();
            let sums = held.sums.own(step);
            for own in own_lines::<R>(&pairs, fan_in) {
                let (panel, inputs) = (own.panel, own.inputs);
                let sums = &mut sums[own.weights.start..own.biases.end];
                let (sums, bias_sums) = sums.split_at_mut(own.weights.len());
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
                        let slots = &self.inputs.slots.all(step)[k * fan_in..][..fan_in];
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

    /// Adds to the sums of own lines what the block's units changed, times the inputs of each.
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
            let pairs = self.layers[layer].own_lines.clone();
            for (k, &row) in rows.iter().enumerate() {
                let (below, held) = self.layers.split_at_mut(layer);
                let held = &mut held[0];
                let values = &mut self.scratch.values.of_slots;
                let records = match (below.last(), task.samples.inputs()) {
                    (Some(below), _) => {
                        list_activations(below.y.all(step), task.block, k, fan_in, values);
                        None
                    }
                    (None, Inputs::Sparse(records)) => Some(records),
                    (None, _) => {
                        let inputs = &mut self.scratch.inputs;
                        // One row in panels of one row is one row after the other.
                        task.samples.gather(&rows[k..=k], inputs, p);
                        values.clear();
                        values.extend_from_slice(&inputs[..fan_in]);
                        None
                    }
                };
                let tables = held.tables.all(step);
                let sums = held.sums.own(step);
                for own in own_lines::<R>(&pairs, fan_in) {
                    let inputs = own.inputs;
                    let sums = &mut sums[own.weights.start..own.biases.end];
                    let (sums, bias_sums) = sums.split_at_mut(own.weights.len());
                    let changes = &tables[(own.panel * task.block + k) * p..][..p];
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

    /// Quotients of own lines from their sums over `rows` rows, and the update.
    pub(super) fn finish(
        &mut self,
        task: &DifferenceTask<'_, R>,
        rows: usize,
        step: &Superstep<'_>,
    ) {
        let p = width::<R>();
        let sizes = task.network.layout.sizes();
        let l2 = R::from_f64(task.network.l2);
        let scheme = task.probe.scheme();
        let carried = task.probe.penalty();
        let share = R::from_f64(1.0 / rows as f64);
        for (layer, held) in self.layers.iter_mut().enumerate() {
            let fan_in = sizes[layer];
            let pairs = held.own_lines.clone();
            for own in own_lines::<R>(&pairs, fan_in) {
                let (panel, weights) = (own.panel, own.weights);
                let all = weights.start..own.biases.end;
                let increments = &self.scratch.increments[layer][panel * p..][..p];
                task.isa.run(DivideSums {
                    scheme,
                    share,
                    increments,
                    changes: &mut held.sums.own(step)[all],
                });
                if l2 != R::ZERO {
                    task.isa.run(Penalties {
                        scheme,
                        carried,
                        l2,
                        units: p.min(sizes[layer + 1] - panel * p),
                        increments,
                        weights: &held.weights.mine(step)[weights.clone()],
                        gradient: &mut held.sums.own(step)[weights],
                    });
                }
            }
            if let Some(rule) = task.rule {
                task.isa.run(Update {
                    // Its difference is in the gradient already.
                    rule: rule.for_biases(),
                    gradient: held.sums.mine(step),
                    weights: held.weights.own(step),
                    velocity: held.velocity.as_mut().map(|velocity| velocity.own(step)),
                });
            }
        }
    }
}
