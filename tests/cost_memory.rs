//! The memory that a cost study predicts for a method is what its engine allocates.

mod support;

use std::sync::Arc;

use nplus1::kernels::Isa;
use nplus1::model::Network;
use nplus1::parallel::Workers;
use nplus1::study::cost::memory::MemoryShape;
use nplus1::study::methods;
use support::allocations::{MemoryCounter, in_use};
use support::networks::{OUTPUTS_AND_LOSSES, inputs, samples};
use support::scalar_backprop::InputForm;

#[global_allocator]
static ALLOCATOR: MemoryCounter = MemoryCounter;

#[test]
fn predicted_memory_is_the_memory_that_engines_allocate() {
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let features = 300;
    for (form, sparse) in [(InputForm::Sparse, true), (InputForm::Numbers, false)] {
        let (inputs, labels) = inputs(form, 40, features, 3);
        let samples = samples::<f32>(form, &inputs, &labels);
        for hidden in [&[][..], &[7], &[200], &[120, 90], &[64, 64, 64]] {
            for rows in [1, 40] {
                let sizes = [&[features], hidden, &[3]].concat();
                let (output, loss) = OUTPUTS_AND_LOSSES[0];
                let network = Network::new(&sizes, true, output, loss, 0.0).unwrap();
                let shape = MemoryShape {
                    sizes: &sizes,
                    rows,
                    threads: 2,
                    sparse,
                    number: 4,
                };
                for method in methods::all() {
                    let before = in_use();
                    let gradient = &method.gradient;
                    let engine = gradient.engine(&network, &pool, Isa::detect(), &samples, rows);
                    let allocated = (in_use() - before) as f64;
                    drop(engine);
                    // θ is stored outside the engine. Some kilobytes are for bookkeeping.
                    let predicted = shape.gradient(gradient) - shape.parameters();
                    let label = &method.label;
                    let case =
                        format!("{label} {sizes:?} {rows} rows: {predicted} for {allocated}");
                    assert!(predicted <= 1.3 * allocated + 8192.0, "{case}");
                    assert!(allocated <= 1.3 * predicted + 32_768.0, "{case}");
                }
            }
        }
    }
}
