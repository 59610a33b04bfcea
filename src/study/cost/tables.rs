//! The tables of a cost study: counts on both bases, time and memory, what the inputs save, and
//! local exponents.

use super::summary::{depends_on_inputs, networks};
use super::{CostRow, LocalExponent};
use crate::memory::bytes;
use crate::study::table::{Table, counted, duration, times, topology, whole};

/// A table with its heading.
pub type HeadedTable = (String, Table);

/// Returns the tables of `rows` and `exponents`: a section for each network, one of what the inputs
/// save, one of the exponents.
pub fn sections(rows: &[CostRow], exponents: &[LocalExponent]) -> Vec<Vec<HeadedTable>> {
    let mut sections = Vec::new();
    for network in networks(rows) {
        let first = network[0];
        let heading = format!(
            "{}, N = {}, {}",
            topology(&first.layers),
            whole(first.parameters as u64),
            counted(first.batch_rows, "row"),
        );
        sections.push(vec![
            (
                format!("{heading}: multiplications, of a dense implementation and performed"),
                multiplications_table(&network),
            ),
            (
                format!("{heading}: time, memory, other operations performed"),
                time_table(&network),
            ),
        ]);
    }
    let largest = networks(rows).into_iter();
    let largest = largest.max_by_key(|network| network[0].parameters);
    if let Some(network) = largest.filter(|network| depends_on_inputs(network)) {
        let heading = format!(
            "{}: multiplications performed ÷ backprop's, by the inputs",
            topology(&network[0].layers)
        );
        sections.push(vec![(heading, inputs_table(&network))]);
    }
    sections.push(exponent_tables(exponents));
    sections
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or("–".to_owned(), times)
}

/// Formats both counts, each with the quotients of that count alone.
fn multiplications_table(rows: &[&CostRow]) -> Table {
    let mut table = Table::new([
        "method",
        "losses",
        "JVPs",
        "dense",
        "÷ forward",
        "÷ backprop",
        "performed",
        "÷ forward",
        "÷ backprop",
    ]);
    for row in rows {
        let performed = &row.tally_performed;
        table.row([
            row.label.clone(),
            whole(performed.evaluations),
            whole(performed.jacobian_vector_products),
            row.tally
                .map_or("–".to_owned(), |tally| whole(tally.multiplications)),
            ratio(row.multiplications_to_forward),
            ratio(row.multiplications_to_backprop),
            whole(performed.multiplications),
            ratio(row.multiplications_performed_to_forward),
            ratio(row.multiplications_performed_to_backprop),
        ]);
    }
    table
}

fn time_table(rows: &[&CostRow]) -> Table {
    let measured = rows.iter().any(|row| row.seconds.is_some());
    let mut header = vec!["method", "predicted"];
    if measured {
        header.extend(["measured", "÷ forward", "÷ backprop"]);
    }
    header.extend(["memory", "additions", "exponentials", "divisions"]);
    let mut table = Table::new(header);
    for row in rows {
        let mut cells = vec![row.label.clone(), duration(row.predicted_seconds)];
        if measured {
            let interrupted = row.measured_share.is_some_and(|share| share < 1.0);
            let mark = if interrupted { "*" } else { "" };
            cells.push(row.seconds.map_or("–".to_owned(), |seconds| {
                format!("{}{mark}", duration(seconds))
            }));
            cells.push(ratio(row.seconds_to_forward));
            cells.push(ratio(row.seconds_to_backprop));
        }
        let performed = &row.tally_performed;
        cells.extend([
            bytes(row.memory),
            whole(performed.additions),
            whole(performed.exponentials),
            whole(performed.divisions),
        ]);
        table.row(cells);
    }
    table
}

/// Formats what zeros and equal inputs save: the same rows in three forms.
fn inputs_table(rows: &[&CostRow]) -> Table {
    let mut table = Table::new([
        "method",
        "unit scaling",
        "standardized",
        "no zeros, none equal",
    ]);
    let backprop = rows.iter().find(|row| row.label == super::BACKPROP);
    for row in rows.iter().filter(|row| row.label != super::FORWARD_PASS) {
        let quotient = |of: fn(&CostRow) -> u64| {
            let base = backprop
                .map(|row| of(row) as f64)
                .filter(|&base| base > 0.0);
            ratio(base.map(|base| of(row) as f64 / base))
        };
        table.row([
            row.label.clone(),
            quotient(|row| row.multiplications_by_inputs.unit),
            quotient(|row| row.multiplications_by_inputs.standard),
            quotient(|row| row.multiplications_by_inputs.dense),
        ]);
    }
    table
}

/// Formats the exponents of each quantity and number of hidden layers: a row per method, a column
/// per pair of neighbours, then the limit.
fn exponent_tables(exponents: &[LocalExponent]) -> Vec<HeadedTable> {
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for exponent in exponents {
        let group = (exponent.quantity.as_str(), exponent.hidden_layers);
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let table = |(quantity, depth): (&str, usize)| {
        let own: Vec<&LocalExponent> = (exponents.iter())
            .filter(|exponent| {
                (exponent.quantity.as_str(), exponent.hidden_layers) == (quantity, depth)
            })
            .collect();
        let name = match quantity {
            "multiplications" => "multiplications (dense)",
            "multiplications_performed" => "multiplications performed",
            _ => "time measured",
        };
        let widened = match own[0].layers.as_str() {
            "all" => "all layers widen",
            _ => "hidden layers widen",
        };
        (
            format!(
                "Local exponents of N: {name}, {}, {widened}",
                counted(depth, "hidden layer")
            ),
            exponent_table(&own, quantity == "multiplications"),
        )
    };
    groups.into_iter().map(table).collect()
}

fn exponent_table(exponents: &[&LocalExponent], with_limit: bool) -> Table {
    let name = |exponent: &LocalExponent| match exponent.layers.as_str() {
        "all" => {
            let [first, last] = exponent.parameters.map(|n| whole(n as u64));
            format!("N {first} → {last}")
        }
        _ => format!("{} → {}", exponent.networks[0][1], exponent.networks[1][1]),
    };
    let (mut pairs, mut methods) = (Vec::new(), Vec::new());
    for exponent in exponents {
        if !pairs.contains(&&exponent.parameters) {
            pairs.push(&exponent.parameters);
        }
        if !methods.contains(&exponent.method.as_str()) {
            methods.push(exponent.method.as_str());
        }
    }
    let find = |method: &str, parameters: &[usize; 2]| {
        let mut own = exponents.iter();
        own.find(|exponent| exponent.method == method && exponent.parameters == *parameters)
    };
    let mut header = vec!["method".to_owned()];
    for parameters in &pairs {
        let of = exponents.iter();
        let of = of
            .copied()
            .find(|exponent| exponent.parameters == **parameters);
        header.push(of.map_or_else(String::new, name));
    }
    if with_limit {
        header.push("limit".to_owned());
    }
    let mut table = Table::new(header);
    for method in methods {
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |x| format!("{x:.2}"));
        let mut cells = vec![method.to_owned()];
        for &parameters in &pairs {
            cells.push(number(find(method, parameters).map(|found| found.exponent)));
        }
        if with_limit {
            let mut own = exponents.iter();
            let own = own.find(|exponent| exponent.method == method);
            cells.push(number(own.and_then(|exponent| exponent.limit)));
        }
        table.row(cells);
    }
    table
}
