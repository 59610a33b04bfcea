//! `nplus1 check --against`: it names the mistake in another program's gradient, and the smallest
//! error that it would have seen.

use std::fs;
use std::path::Path;

use crate::support::program::Workplace;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
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

/// Name, shape and numbers of each tensor, sorted by name: both biases, then each weight after its
/// bias.
type Tensors = Vec<(String, Vec<usize>, Vec<f64>)>;

fn read(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Tensors = file
        .iter()
        .map(|(name, tensor)| {
            let numbers = tensor.data().chunks_exact(8);
            let numbers = numbers.map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()));
            (name.to_owned(), tensor.shape().to_vec(), numbers.collect())
        })
        .collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    tensors
}

/// Writes the tensors in single precision.
fn write(path: &Path, tensors: &Tensors) {
    let bytes: Vec<(&str, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, shape, numbers)| {
            let bytes = numbers.iter().flat_map(|&x| (x as f32).to_le_bytes());
            (name.as_str(), shape, bytes.collect())
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap();
        (*name, view)
    });
    fs::write(path, serialize(views, None).unwrap()).unwrap();
}

/// Returns the document's `against` for the gradient of `folder`'s config after `damage`.
fn against(folder: &Workplace, damage: &dyn Fn(&mut Tensors)) -> Value {
    folder.report("check flowers.toml --directions 1 --json --save g.safetensors");
    let path = folder.path().join("g.safetensors");
    let mut tensors = read(&path);
    damage(&mut tensors);
    write(&path, &tensors);
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
