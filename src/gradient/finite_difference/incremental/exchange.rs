//! The panels of each rank, and their exchange.
//!
//! A rank owns whole panels of units, cut by predicted cost: it computes the changes that their
//! parameters cause in all rows, and the derivatives. So ranks exchange nothing but parameters, once
//! a step, without padding; at most as many ranks find work as there are panels.

use std::ops::Range;

use crate::gradient::finite_difference::unit_panels::panel_height;
use crate::kernels::panels::{count, width};
use crate::model::Layout;
use crate::numeric::Real;
use crate::parallel::cluster::Parcel;
use crate::parallel::{Ranks, partition_by_cost};

/// The panels of each layer that a rank owns.
pub(super) type RankPanels = Vec<Range<usize>>;

/// Returns the panels of each rank; `costs` has the cost of one panel of each layer.
pub(super) fn panels_of_ranks<R: Real>(
    sizes: &[usize],
    costs: &[f64],
    ranks: &Ranks,
) -> Vec<RankPanels> {
    let layers = sizes[1..].iter().zip(costs);
    let groups: Vec<_> = layers
        .map(|(&units, &cost)| (count::<R>(units), cost))
        .collect();
    partition_by_cost(&groups, ranks.size())
}

/// Memory for messages, kept from step to step.
#[derive(Default)]
pub(super) struct Parcels {
    sent: Parcel,
    received: Parcel,
}

/// The exchange of parameters, or of what has their layout.
pub(super) struct PanelExchange<'a> {
    pub ranks: &'a Ranks,
    pub panels: &'a [RankPanels],
    pub parcels: &'a mut Parcels,
}

impl PanelExchange<'_> {
    /// Exchanges the panels of all ranks; `layers` has the buffer of each layer.
    pub(super) fn exchange<R: Real>(&mut self, layout: &Layout, layers: &mut [&mut [R]]) {
        let Parcels { sent, received } = &mut *self.parcels;
        let (rank, mut lengths) = (self.ranks.rank(), Vec::new());
        sent.clear();
        for (owner, panels) in self.panels.iter().enumerate() {
            let mut numbers = 0;
            visit(layout, panels, layers, |panel, (rows, width), columns| {
                numbers += rows * columns;
                if owner == rank {
                    sent.put_panel(panel, (rows, width), columns);
                }
            });
            lengths.push(numbers * R::BYTES);
        }
        received.clear();
        received.bytes.resize(lengths.iter().sum(), 0);
        self.ranks
            .all_gather(&sent.bytes, &mut received.bytes, &lengths);
        let mut next = 0;
        for (owner, panels) in self.panels.iter().enumerate() {
            received.seek(next);
            next += lengths[owner];
            if owner != rank {
                visit(layout, panels, layers, |panel, shape, columns| {
                    received.take_panel(panel, shape, columns);
                });
            }
        }
    }
}

/// Calls `move_panel` for each of `panels`, with its shape and the number of columns in use.
fn visit<R: Real>(
    layout: &Layout,
    panels: &[Range<usize>],
    layers: &mut [&mut [R]],
    mut move_panel: impl FnMut(&mut [R], (usize, usize), usize),
) {
    let (p, sizes) = (width::<R>(), layout.sizes());
    for (layer, panels) in panels.iter().enumerate() {
        let size = panel_height(sizes[layer]) * p;
        let rows = sizes[layer] + usize::from(layout.has_bias());
        for panel in panels.clone() {
            let values = &mut layers[layer][panel * size..(panel + 1) * size];
            move_panel(values, (rows, p), p.min(sizes[layer + 1] - panel * p));
        }
    }
}
