//! `nplus1 check --against`: it names the mistake in another program's gradient, and the smallest
//! error that it would have seen.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::compilers::numpy;
use crate::support::gradient_files::{Tensors, read, write};
use crate::support::program::Workplace;
use safetensors::tensor::Dtype;
use serde_json::Value;

const CONFIG: &str = r#"
name = "flowers"
seed = 3
[data]
dataset = "iris"
validation = 30
test = 30
normalize = "standard"
[model]
hidden = [4]
output = "softmax"
initialization = "scaled"
[loss]
kind = "cross-entropy"
l2 = 1e-2
[optimizer]
learning_rate = 0.2
[train]
epochs = 1
batch_size = 10
"#;

/// Returns the document's `against` for the gradient of `folder`'s config after `damage`.
fn against(folder: &Workplace, damage: &dyn Fn(&mut Tensors)) -> Value {
    folder.report("check flowers.toml --directions 1 --json --save g.safetensors");
    let path = folder.path().join("g.safetensors");
    let mut tensors = read(&path);
    damage(&mut tensors);
    write(&path, &tensors, Dtype::F32);
    let line = "check flowers.toml --directions 1 --json --against g.safetensors";
    let (mut document, _) = folder.document(line, 3);
    document["against"].take()
}

fn scale(tensors: &mut Tensors, factor: f64) {
    for (.., numbers) in tensors {
        numbers.iter_mut().for_each(|x| *x *= factor);
    }
}

#[test]
fn every_element_times_1_001_is_wrong_on_784_30_10() {
    let folder = Workplace::new(CONFIG);
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/mnist-30.toml");
    fs::copy(config, folder.path().join("flowers.toml")).unwrap();
    let found = against(&folder, &|tensors| scale(tensors, 1.001));
    assert_eq!(found["passed"], false);
    let mistake = found["mistake"].as_str().unwrap();
    assert!(mistake.contains("factor 1.001"), "{mistake}");
    assert_eq!(found["tensors"].as_array().unwrap().len(), 4);
    let caught = |key: &str| found[key].as_f64().unwrap();
    assert!(caught("caught_whole") < 1e-4, "{found}");
    assert!(
        caught("caught_whole") <= caught("caught_element"),
        "{found}"
    );
    assert!(
        caught("caught_element") <= caught("caught_weakest_element"),
        "{found}"
    );
}

#[test]
fn the_mistake_in_a_wrong_gradient_is_named() {
    let folder = Workplace::new(CONFIG);
    type Damage<'a> = &'a dyn Fn(&mut Tensors);
    let whole: [(Damage, &str); 3] = [
        (
            &|tensors| scale(tensors, 10.0),
            "a sum over the rows in place of their mean",
        ),
        (&|tensors| scale(tensors, -1.0), "the sign of every element"),
        (&|tensors| scale(tensors, 0.0), "all elements are 0"),
    ];
    for (damage, words) in whole {
        let found = against(&folder, damage);
        let mistake = found["mistake"]
            .as_str()
            .unwrap_or_else(|| panic!("{words}: {found}"));
        assert!(mistake.contains(words), "{mistake}");
        assert_eq!(found["tensors"].as_array().unwrap().len(), 4);
    }
    // Tensor 1 is layers.0.weight (4, 4), tensor 3 layers.1.weight (3, 4).
    let parts: [(Damage, &str, &str); 6] = [
        (
            &|tensors| {
                let right = tensors[1].2.clone();
                for at in 0..16 {
                    tensors[1].2[at] = right[at % 4 * 4 + at / 4];
                }
            },
            "layers.0.weight",
            "transposed",
        ),
        (
            &|tensors| {
                let right = tensors[3].2.clone();
                for at in 0..12 {
                    tensors[3].2[at] = right[at % 3 * 4 + at / 3];
                }
            },
            "layers.1.weight",
            "transposed",
        ),
        (
            &|tensors| tensors[2].2.iter_mut().for_each(|x| *x *= -1.0),
            "layers.1.bias",
            "sign of every element",
        ),
        (
            &|tensors| tensors[1].2[5] *= -1.0,
            "layers.0.weight",
            "the sign of layers.0.weight[1, 1]",
        ),
        (
            &|tensors| tensors[1].2.swap(2, 9),
            "layers.0.weight",
            "layers.0.weight[0, 2] and layers.0.weight[2, 1] are swapped",
        ),
        (
            &|tensors| tensors[0].2.fill(0.0),
            "layers.0.bias",
            "all elements are 0",
        ),
    ];
    for (damage, name, words) in parts {
        let found = against(&folder, damage);
        let tensors = found["tensors"].as_array().unwrap();
        assert_eq!(
            (tensors.len(), &tensors[0]["name"]),
            (1, &name.into()),
            "{found}"
        );
        let mistake = tensors[0]["mistake"]
            .as_str()
            .unwrap_or_else(|| panic!("{found}"));
        assert!(mistake.contains(words), "{mistake}");
    }
}

#[test]
fn a_gradient_of_other_rows_and_one_without_l2_are_recognized() {
    let folder = Workplace::new(CONFIG);
    for (rows, words) in [
        ("--rows 7", "training rows 0 to 6"),
        ("--rows 90", "training rows 0 to 89"),
    ] {
        let line = format!("check flowers.toml --directions 1 --json --save g.safetensors {rows}");
        folder.report(&line);
        let line = "check flowers.toml --directions 1 --json --against g.safetensors";
        let (document, errors) = folder.document(line, 3);
        let mistake = document["against"]["mistake"].as_str().unwrap();
        assert!(
            mistake.contains(words) && errors.contains(words),
            "{mistake}"
        );
    }
    folder.report("check flowers.toml --directions 1 --json --save g.safetensors --set loss.l2=0");
    let line = "check flowers.toml --directions 1 --json --against g.safetensors";
    let (document, _) = folder.document(line, 3);
    assert_eq!(document["against"]["mistake"], "the l2 term is missing");
}

/// Writes the arrays of `g.npz` as a program of NumPy changes them; `None` without NumPy.
fn numpy_changes(folder: &Workplace, program: &str) -> Option<()> {
    let python = numpy()?;
    let program = format!(
        "import numpy\ng = dict(numpy.load('g.npz'))\nw = 'layers.0.weight'\n{program}\nnumpy.savez('changed.npz', **g)"
    );
    let mut command = Command::new(python);
    let output = command
        .current_dir(folder.path())
        .args(["-c", &program])
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(())
}

const CHANGED: &str = "check flowers.toml --directions 1 --json --against changed.npz";

#[test]
fn an_npz_of_numpy_is_compared_like_safetensors() {
    let folder = Workplace::new(CONFIG);
    let saved = "check flowers.toml --directions 1 --json --save g";
    folder.report(&format!("{saved}.npz"));
    folder.report(&format!("{saved}.safetensors"));
    let against = |file: &str| {
        let line = format!("check flowers.toml --directions 1 --json --against {file}");
        folder.report(&line)["against"].take()
    };
    let mut expected = against("g.safetensors");
    let mut found = against("g.npz");
    assert_eq!(found["passed"], true);
    for document in [&mut expected, &mut found] {
        document["file"].take();
    }
    assert_eq!(found, expected);
    // Single precision, Fortran's order, the names of PyTorch's nn.Sequential, big-endian numbers.
    for (change, precision) in [
        ("g = {n: a.astype('f4') for n, a in g.items()}", "f32"),
        (
            "g = {n: numpy.asfortranarray(a) for n, a in g.items()}",
            "f64",
        ),
        (
            "g = {n.replace('layers.0', '0').replace('layers.1', '2'): a for n, a in g.items()}",
            "f64",
        ),
        ("g = {n: a.astype('>f8') for n, a in g.items()}", "f64"),
    ] {
        if numpy_changes(&folder, change).is_none() {
            return;
        }
        let found = &folder.report(CHANGED)["against"];
        assert_eq!(found["passed"], true, "{change}");
        assert_eq!(found["precision"], precision, "{change}");
    }
    numpy_changes(&folder, "numpy.savez_compressed('packed.npz', **g)").unwrap();
    assert_eq!(against("packed.npz")["passed"], true);
    for (change, element) in [
        ("g[w][1, 2] *= 1.001", "layers.0.weight[1, 2]"),
        ("g[w][3, 0] = numpy.nan", "layers.0.weight[3, 0]"),
        ("g[w][0, 1] = numpy.inf", "layers.0.weight[0, 1]"),
    ] {
        numpy_changes(&folder, change).unwrap();
        let (document, errors) = folder.document(CHANGED, 3);
        assert_eq!(document["against"]["excess_at"], element, "{change}");
        assert!(
            errors.contains(element) && errors.contains("changed.npz"),
            "{errors}"
        );
    }
}

#[test]
fn an_npz_that_is_no_gradient_of_the_network_is_refused_with_what_it_holds() {
    let folder = Workplace::new(CONFIG);
    folder.report("check flowers.toml --directions 1 --json --save g.npz");
    for (change, part) in [
        ("del g['layers.1.bias']", "tensor layers.1.bias: missing"),
        (
            "g['offset'] = numpy.zeros(4)",
            "tensor offset: not a parameter of the network",
        ),
        (
            "g[w] = g[w].ravel()",
            "shape [16], but the network has [4, 4]",
        ),
        (
            "g['layers.1.weight'] = g['layers.1.weight'].T",
            "shape [4, 3], but the network has [3, 4]",
        ),
        ("g[w] = g[w].astype(int)", "type <i8"),
        ("g[w] = g[w].astype('f2')", "type <f2"),
        ("g[w] = g[w].astype(complex)", "type `<c16`"),
        ("g[w] = g[w].astype(str)", "type <U"),
        (
            "g = {'arr_' + str(i): a for i, a in enumerate(g.values())}",
            "tensor layers.0.weight: missing",
        ),
    ] {
        if numpy_changes(&folder, change).is_none() {
            return;
        }
        let errors = folder.refusal(CHANGED);
        assert!(errors.contains(part), "{change}: {errors}");
        assert!(errors.contains("help: "), "{errors}");
    }
}

#[test]
fn every_cut_and_every_flipped_byte_of_an_npz_ends_with_a_verdict_or_a_refusal() {
    let folder = Workplace::new(CONFIG);
    folder.report("check flowers.toml --directions 1 --json --save g.npz");
    let layout = std::sync::Arc::new(nplus1::model::Layout::new(&[4, 4, 3], true));
    let good = fs::read(folder.path().join("g.npz")).unwrap();
    let path = folder.path().join("bad.npz");
    let load = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        nplus1::format::gradient::load(&path, &layout)
    };
    let (right, _) = load(&good).unwrap();
    for cut in 0..good.len() {
        assert_eq!(load(&good[..cut]).unwrap_err().exit_code(), 2, "{cut}");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        match load(&bad) {
            Err(error) => assert_eq!(error.exit_code(), 2, "{at}: {error}"),
            // Dates, versions and attributes mean nothing.
            Ok((gradient, _)) => assert_eq!(gradient, right, "{at}"),
        }
    }
}
