//! What `nplus1 cost` prints is what it counted: every ratio is the quotient of two counts of one
//! basis, local exponents are those of the closed forms, `--dense` counts and performs one work.

use std::fs;

use crate::support::flowers::QUADRATIC as CONFIG;
use crate::support::program::Workplace;
use nplus1::study::cost::CostRow;
use nplus1::study::methods;
use serde_json::Value;

/// Multiplications of forward differences, incremental, of loss and gradient by backprop, and of a
/// forward pass with its loss, as formulas of the sizes n_0 … n_L and of B rows: quadratic loss of
/// sigmoid outputs.
fn closed_forms(n: &[u64], rows: u64) -> [f64; 3] {
    let last = n.len() - 1;
    let products = |from: usize| -> u64 { (from..=last).map(|l| n[l] * n[l - 1]).sum() };
    let units: u64 = n[1..].iter().sum();
    let parameters = products(1) + units;
    let tail = |l: usize| match l == last {
        true => 1,
        false => n[l + 1] + products(l + 2) + n[last],
    };
    let tails: u64 = (1..=last).map(|l| n[l] * (n[l - 1] + 1) * tail(l)).sum();
    let inputs: u64 = n[..last].iter().sum();
    [
        rows * (products(1) + n[last] + inputs + tails) + parameters,
        rows * (2 * products(1) + products(2) + 2 * units + n[last] + 1) + parameters + 1,
        rows * (products(1) + n[last] + 1) + 1,
    ]
    .map(|count| count as f64)
}

#[test]
fn widths_have_local_exponents_beside_their_limits() {
    let folder = Workplace::new(CONFIG);
    let line = "cost flowers.toml --widths 8,1,4,2 --depths 2,1 --json --methods \
                forward-difference/full,forward-difference/incremental";
    let document = folder.report(line);
    let rows = document["rows"].as_array().unwrap();
    // 8 networks, each with the forward pass, backprop, which is always included, and the methods.
    assert_eq!(rows.len(), 8 * 4);
    assert_eq!(rows[0]["layers"], serde_json::json!([4, 1, 3]));
    assert!(rows.iter().all(|row| row["seconds"].is_null()));
    assert!(document.get("fits").is_none(), "no fit of exact counts");
    let exponents = document["exponents"].as_array().unwrap();
    // 4 labels on 2 bases, 3 pairs of neighbours at each depth; none between depths.
    assert_eq!(exponents.len(), 4 * 2 * 3 * 2);
    for exponent in exponents {
        assert_eq!(exponent["layers"], "hidden");
        assert!(exponent.get("interval").is_none());
        let networks = [0, 1].map(|at| exponent["networks"][at].as_array().unwrap().len());
        assert_eq!(networks[0], networks[1]);
    }
    let mut compared = 0;
    for exponent in exponents {
        let sizes: [Vec<u64>; 2] =
            [0, 1].map(|at| serde_json::from_value(exponent["networks"][at].clone()).unwrap());
        let which = match exponent["method"].as_str().unwrap() {
            "forward-difference/incremental" => 0,
            "backprop" => 1,
            "forward-pass" => 2,
            _ => continue,
        };
        if exponent["quantity"] != "multiplications" {
            continue;
        }
        let [low, high] = [0, 1].map(|at| closed_forms(&sizes[at], 10)[which].ln());
        let n = [0, 1].map(|at| exponent["parameters"][at].as_f64().unwrap().ln());
        let expected = (high - low) / (n[1] - n[0]);
        let found = exponent["exponent"].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-12, "{exponent}: {expected}");
        compared += 1;
    }
    assert_eq!(compared, 3 * 3 * 2);
    let limit = |method: &str, depth: u64| {
        let own = |exponent: &&Value| {
            exponent["method"] == method
                && exponent["hidden_layers"] == depth
                && exponent["quantity"] == "multiplications"
        };
        exponents.iter().find(own).unwrap()["limit"].as_f64()
    };
    assert_eq!(limit("forward-difference/full", 2), Some(2.0));
    assert_eq!(limit("forward-difference/incremental", 2), Some(1.0));
    assert_eq!(limit("backprop", 1), Some(1.0));
    let findings = document["findings"].to_string();
    assert!(findings.contains("limit 2"), "{findings}");
    assert!(!findings.contains("hidden layers, the multiplications of a gradient grow"));
}

/// 784-w-w-10, whose inputs and outputs stay as they are: what the command prints is what the closed
/// form says, 1.90 from 16 to 32 units, and it falls from there.
#[test]
fn slow_local_exponents_of_784_w_w_10_are_those_of_the_closed_form() {
    let config = CONFIG
        .replace("dataset = \"iris\"", "dataset = \"mnist\"")
        .replace("test = 30\n", "")
        .replace("\"standard\"", "\"unit\"");
    let folder = Workplace::new(&config);
    let line = "cost flowers.toml --widths 16,32,64 --depths 2 --json --methods \
                forward-difference/incremental";
    let document = folder.report(line);
    let found: Vec<f64> = (document["exponents"].as_array().unwrap().iter())
        .filter(|exponent| {
            exponent["method"] == "forward-difference/incremental"
                && exponent["quantity"] == "multiplications"
        })
        .map(|exponent| exponent["exponent"].as_f64().unwrap())
        .collect();
    let logarithms = [16, 32, 64].map(|width| {
        let sizes = [784, width, width, 10];
        let parameters: u64 = sizes.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum();
        ((parameters as f64).ln(), closed_forms(&sizes, 10)[0].ln())
    });
    let expected: Vec<f64> = (logarithms.windows(2))
        .map(|pair| (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0))
        .collect();
    assert_eq!(found.len(), 2);
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
    }
    assert!((found[0] - 1.90).abs() < 0.005, "{found:?}");
    assert!(found[1] < found[0]);
    let rows: Vec<CostRow> = serde_json::from_value(document["rows"].clone()).unwrap();
    let last = rows.last().unwrap();
    let limit = last.growth.ratio_limit.unwrap();
    // ((n_0 + 1)(1 + n_L) + 2n_L + 1)/(3 + 1/B).
    let expected = (785.0 * 11.0 + 21.0) / 3.1;
    assert!((limit / expected - 1.0).abs() < 1e-4, "{limit}");
    assert_eq!(last.growth.hidden_limit, Some(1.0));
    // MNIST's pixels are mostly 0 and of few values, which standardizing undoes.
    let by_inputs = last.multiplications_by_inputs;
    assert!(by_inputs.unit < by_inputs.standard && by_inputs.standard < by_inputs.dense);
}

#[test]
fn scaled_networks_widen_inputs_and_outputs_as_well() {
    let folder = Workplace::new(CONFIG);
    let line = "cost flowers.toml --scale-all 4,1,2 --depths 2 --json --methods \
                forward-difference/incremental";
    let document = folder.report(line);
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3 * 3);
    let layers: Vec<&Value> = rows.iter().step_by(3).map(|row| &row["layers"]).collect();
    assert_eq!(
        layers,
        [
            &serde_json::json!([4, 5, 5, 3]),
            &serde_json::json!([8, 10, 10, 6]),
            &serde_json::json!([16, 20, 20, 12])
        ]
    );
    for row in rows {
        assert_eq!(row["tally_counted"], row["tally"], "{row}");
    }
    let exponents = document["exponents"].as_array().unwrap();
    assert!(!exponents.is_empty());
    for exponent in exponents {
        assert_eq!(exponent["layers"], "all");
        if exponent["method"] == "forward-difference/incremental"
            && exponent["quantity"] == "multiplications"
        {
            assert_eq!(exponent["limit"], 2.0);
        }
    }
    for (options, expected) in [
        ("--scale-all 0", "factors above 0"),
        ("--scale-all 1,1", "--scale-all: duplicate value 1"),
        ("--scale-all 0.01,0.02", "rounds to the layers of a smaller"),
        ("--scale-all 2 --widths 3", "--widths"),
    ] {
        let errors = folder.refusal(&format!("cost flowers.toml {options}"));
        assert!(errors.contains(expected), "{options}: {errors}");
    }
}

/// Formats a ratio as the tables do: three significant digits, whole from 1000 on.
fn printed(ratio: f64) -> String {
    match ratio {
        _ if ratio >= 999.5 => {
            let digits = format!("{ratio:.0}");
            let groups: Vec<&str> = (digits.as_bytes().rchunks(3).rev())
                .map(|group| std::str::from_utf8(group).unwrap())
                .collect();
            groups.join(",")
        }
        _ if ratio >= 99.95 => format!("{ratio:.0}"),
        _ if ratio >= 9.995 => format!("{ratio:.1}"),
        _ if ratio >= 0.01 => format!("{ratio:.2}"),
        _ => format!("{ratio:.1e}"),
    }
}

/// 12 networks: every quotient in the document and in the tables is the quotient of two counts of
/// the same basis that stand beside it.
#[test]
fn slow_every_ratio_is_the_quotient_of_the_counts_that_are_printed() {
    let folder = Workplace::new(CONFIG);
    let mut networks = 0;
    for normalize in ["standard", "unit"] {
        let line = format!(
            "cost flowers.toml --set data.normalize={normalize} --widths 1,3,5 --depths 1,2 --json"
        );
        let document = folder.report(&line);
        let rows: Vec<CostRow> = serde_json::from_value(document["rows"].clone()).unwrap();
        let study = folder.study(&document);
        let markdown = fs::read_to_string(study.join("results.md")).unwrap();
        let each = 1 + methods::all().len();
        for network in rows.chunks(each) {
            networks += 1;
            let of = |label: &str| network.iter().find(|row| row.label == label).unwrap();
            let (forward, backprop) = (of("forward-pass"), of("backprop"));
            for row in network {
                let case = format!("{:?} {}", row.layers, row.label);
                let plain = |row: &CostRow| row.tally.unwrap().multiplications as f64;
                let performed = |row: &CostRow| row.tally_performed.multiplications as f64;
                let expected = [
                    plain(row) / plain(forward),
                    plain(row) / plain(backprop),
                    performed(row) / performed(forward),
                    performed(row) / performed(backprop),
                ];
                let found = [
                    row.multiplications_to_forward,
                    row.multiplications_to_backprop,
                    row.multiplications_performed_to_forward,
                    row.multiplications_performed_to_backprop,
                ];
                assert_eq!(found, expected.map(Some), "{case}");
                let counts = [plain(row), performed(row)].map(printed_count);
                let line = format!(
                    "| {} | {} | {} | {} | {} | {} | {} |",
                    counts[0],
                    printed(expected[0]),
                    printed(expected[1]),
                    counts[1],
                    printed(expected[2]),
                    printed(expected[3]),
                    ""
                );
                let line = line.trim_end_matches("  |");
                assert!(
                    markdown.contains(&format!("| {} |", row.label)) && markdown.contains(line),
                    "{case}: {line}\n{markdown}"
                );
                assert_inputs_are_quotients(row, normalize, &case);
            }
            // No ratio is of both bases: the plain counts of a method that takes more than another
            // have larger ratios.
            for pair in network.windows(2) {
                let order = |of: fn(&CostRow) -> f64| of(&pair[0]).total_cmp(&of(&pair[1]));
                assert_eq!(
                    order(|row| row.tally.unwrap().multiplications as f64),
                    order(|row| row.multiplications_to_backprop.unwrap())
                );
            }
        }
    }
    assert_eq!(networks, 12);
}

/// Formats a count as the tables do, below 10¹².
fn printed_count(count: f64) -> String {
    if count < 999.5 {
        format!("{count:.0}")
    } else {
        printed(count)
    }
}

/// The count on the config's own form of inputs is the performed one; without zeros and equal values
/// it is no smaller.
fn assert_inputs_are_quotients(row: &CostRow, normalize: &str, case: &str) {
    let by_inputs = row.multiplications_by_inputs;
    let own = match normalize {
        "unit" => by_inputs.unit,
        _ => by_inputs.standard,
    };
    assert_eq!(own, row.tally_performed.multiplications, "{case}");
    assert!(by_inputs.dense >= own, "{case}");
}

/// With `--dense` counts and kernels do the same work, so the performed count of every method is
/// near the dense one; on sparse rows it is not.
#[test]
fn dense_rows_perform_what_the_formulas_of_a_plain_implementation_count() {
    let folder = Workplace::new(CONFIG);
    let line = "cost flowers.toml --set model.hidden=[40] --dense --measure --repeats 1 --json";
    let document = folder.report(line);
    let rows: Vec<CostRow> = serde_json::from_value(document["rows"].clone()).unwrap();
    for row in &rows {
        assert_eq!(
            row.tally_performed.multiplications, row.multiplications_by_inputs.dense,
            "{}",
            row.label
        );
        let plain = row.tally.unwrap().multiplications as f64;
        let ratio = row.tally_performed.multiplications as f64 / plain;
        // Kernels compute 1 − y as a product, an error's constants for each output, the last
        // layer's gradient twice; small layers show it most.
        assert!((0.5..2.5).contains(&ratio), "{}: {ratio}", row.label);
        assert_eq!(
            row.tally_measured,
            Some(row.tally_performed),
            "{}",
            row.label
        );
    }
    let errors = folder.refusal("cost llsq --dense");
    assert!(errors.contains("--dense applies to networks"), "{errors}");
}
