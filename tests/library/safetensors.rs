//! A model is loaded from its file bit by bit; no file makes loading panic, and every assumption
//! about a file is reported.

use std::path::Path;
use std::sync::Arc;

use crate::support::property_cases::property_cases;
use nplus1::data::{Scaling, Schema};
use nplus1::error::Error;
use nplus1::format::{AnyParameters, Model, safetensors};
use nplus1::model::{Layout, Loss, Network, OutputUnits, Parameters};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Returns a 3-2-2 model whose parameters all differ and have no short decimal form.
fn model() -> Model {
    let layout = Arc::new(Layout::new(&[3, 2, 2], true));
    let flat = (0..layout.len())
        .map(|index| (index as f32 + 0.1).sin())
        .collect();
    Model {
        name: "small".to_owned(),
        network: Network {
            layout: layout.clone(),
            output: OutputUnits::Softmax,
            loss: Loss::CrossEntropy,
            l2: 1e-4,
            class_weights: Vec::new(),
        },
        parameters: AnyParameters::F32(Parameters::from_flat(layout, flat)),
        class_names: vec!["Iris \"setosa\"".to_owned(), "ünïcode".to_owned()],
        scaling: Scaling {
            offset: vec![0.1, -0.2, 1.0 / 3.0],
            divisor: vec![255.0, 0.7, 5e-324],
            targets: None,
        },
        schema: Schema::default(),
    }
}

/// Returns the header and the data of a file.
fn parts(bytes: &[u8]) -> (Value, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (
        serde_json::from_slice(&bytes[8..8 + length]).unwrap(),
        bytes[8 + length..].to_vec(),
    )
}

/// Returns a file of this header and data.
fn file(header: &Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn load(bytes: &[u8]) -> Result<safetensors::LoadedModel, Error> {
    safetensors::from_bytes(bytes, Path::new("model.safetensors"))
}

/// Loads a file that must be refused, and returns the message.
fn refusal(bytes: &[u8]) -> String {
    let error = load(bytes).expect_err("the file is refused");
    assert_eq!(error.exit_code(), 2, "{error}");
    assert!(
        error.to_string().starts_with("model.safetensors"),
        "{error}"
    );
    error.to_string()
}

/// Returns the file of [`model`] after `edit` has changed its header and data.
fn edited(edit: impl FnOnce(&mut Value, &mut Vec<u8>)) -> Vec<u8> {
    let (mut header, mut data) = parts(&safetensors::to_bytes(&model()));
    edit(&mut header, &mut data);
    file(&header, &data)
}

#[test]
fn a_model_is_loaded_from_its_file_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let model = model();
    safetensors::save(&model, &path).unwrap();
    let loaded = safetensors::load(&path).unwrap();
    assert_eq!(loaded.model, model);
    assert_eq!(loaded.assumed, Vec::<String>::new());
    assert_eq!(loaded.model.parameters.sha256(), model.parameters.sha256());
}

#[test]
fn a_model_in_double_precision_without_biases_and_with_one_output_is_loaded_bit_by_bit() {
    let layout = Arc::new(Layout::new(&[2, 1], false));
    let model = Model {
        network: Network {
            layout: layout.clone(),
            output: OutputUnits::Linear,
            loss: Loss::Logistic,
            l2: 0.0,
            class_weights: Vec::new(),
        },
        parameters: Parameters::from_flat(layout, vec![0.1_f64, -5e-324]).into(),
        scaling: Scaling {
            offset: vec![0.0; 2],
            divisor: vec![1.0; 2],
            targets: None,
        },
        ..model()
    };
    assert_eq!(load(&safetensors::to_bytes(&model)).unwrap().model, model);
}

#[test]
fn equal_models_give_equal_files_whose_data_hash_to_weights_sha256() {
    let bytes = safetensors::to_bytes(&model());
    assert_eq!(bytes, safetensors::to_bytes(&model()));
    let (header, data) = parts(&bytes);
    assert_eq!(
        format!("{:x}", Sha256::digest(&data)),
        model().parameters.sha256()
    );
    assert_eq!(header["layers.0.weight"]["shape"], json!([2, 3]));
    assert_eq!(header["layers.1.bias"]["shape"], json!([2]));
    assert_eq!((bytes.len() - data.len()) % 8, 0);
}

#[test]
fn a_file_of_another_program_loads_and_its_assumptions_are_reported() {
    let bytes = edited(|header, _| header["__metadata__"] = json!({"format": "pt"}));
    let loaded = load(&bytes).unwrap();
    assert_eq!(loaded.model.parameters, model().parameters);
    assert_eq!(loaded.model.network.output, OutputUnits::Sigmoid);
    assert_eq!(loaded.model.class_names, ["0", "1"]);
    assert_eq!(loaded.model.scaling.divisor, [1.0; 3]);
    let assumed = loaded.assumed.join("; ");
    for word in ["output", "loss", "classes", "unscaled"] {
        assert!(assumed.contains(word), "{assumed}");
    }
}

#[test]
fn one_output_is_taken_for_two_classes_with_the_logistic_loss_alone() {
    let with = |metadata: Value| {
        let header = json!({
            "__metadata__": metadata,
            "layers.0.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
        });
        file(&header, &[0; 8])
    };
    let loaded = load(&with(json!({"format": "pt"}))).unwrap();
    assert_eq!(loaded.model.network.loss, Loss::Logistic);
    assert_eq!(loaded.model.class_names, ["0", "1"]);
    let message = refusal(&with(json!({"output": "sigmoid"})));
    assert!(message.contains("`loss` \"logistic\""), "{message}");
}

#[test]
fn other_tensor_names_are_refused_with_those_found_and_those_expected() {
    let bytes = edited(|header, _| {
        let header = header.as_object_mut().unwrap();
        for part in ["weight", "bias"] {
            let entry = header.remove(&format!("layers.0.{part}")).unwrap();
            header.insert(format!("fc1.{part}"), entry);
        }
    });
    let message = refusal(&bytes);
    assert!(message.contains("fc1.weight"), "{message}");
    assert!(message.contains("layers.0.weight"), "{message}");
}

#[test]
fn every_missing_metadata_key_of_our_own_format_is_refused_by_name() {
    let (header, _) = parts(&safetensors::to_bytes(&model()));
    let keys = header["__metadata__"].as_object().unwrap().clone();
    assert_eq!(keys.len(), 11);
    for key in keys
        .keys()
        .filter(|key| !["format", "version"].contains(&key.as_str()))
    {
        let bytes = edited(|header, _| {
            header["__metadata__"].as_object_mut().unwrap().remove(key);
        });
        let message = refusal(&bytes);
        assert!(message.contains(&format!("metadata `{key}`")), "{message}");
    }
}

#[test]
fn metadata_that_contradicts_itself_or_the_tensors_is_refused_by_name() {
    for (key, value) in [
        ("sizes", "[3,2,3]"),
        ("sizes", "much"),
        ("bias", "false"),
        ("precision", "f64"),
        ("output", "tanh"),
        ("loss", "quadratic"),
        ("l2", "-1"),
        ("l2", "1e999"),
        ("class_names", "[\"a\"]"),
        ("class_names", "3"),
        ("scaling", "{\"offset\":[0,0,0],\"divisor\":[1,0,1]}"),
        ("scaling", "{\"offset\":[0,0,0],\"divisor\":[1,1]}"),
        ("scaling", "{}"),
    ] {
        let message = refusal(&edited(|header, _| {
            header["__metadata__"][key] = json!(value);
        }));
        assert!(
            message.contains(&format!("metadata `{key}`")),
            "{value}: {message}"
        );
    }
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_name() {
    type Edit = fn(&mut Value);
    let cases: [(&str, Edit); 7] = [
        ("layers.1.weight", |header| {
            header["layers.1.weight"]["shape"] = json!([4, 1]);
        }),
        ("layers.0.weight", |header| {
            header["layers.0.weight"]["shape"] = json!([6]);
        }),
        ("layers.0.bias", |header| {
            header["layers.0.bias"]["shape"] = json!([1, 2]);
        }),
        ("layers.0.weight", |header| {
            header["layers.0.weight"]["dtype"] = json!("I32");
        }),
        ("layers.1.bias", |header| {
            header["layers.1.bias"]["dtype"] = json!("U32");
        }),
        ("layers.1.bias", |header| {
            let entry = header.as_object_mut().unwrap().remove("layers.1.weight");
            header["layers.3.weight"] = entry.unwrap();
        }),
        ("layers.1.bias", |header| {
            let entry = header.as_object_mut().unwrap().remove("layers.1.bias");
            header["layers.1.offset"] = entry.unwrap();
        }),
    ];
    for (tensor, edit) in cases {
        let message = refusal(&edited(|header, _| edit(header)));
        assert!(message.contains(tensor), "{tensor}: {message}");
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused_with_their_position() {
    for (bad, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let bytes = edited(|_, data| data[16..20].copy_from_slice(&bad.to_le_bytes()));
        let message = refusal(&bytes);
        assert!(message.contains("layers.0.weight[1, 1]"), "{message}");
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = safetensors::to_bytes(&model());
    for length in 0..bytes.len() {
        refusal(&bytes[..length]);
    }
}

#[test]
fn hostile_headers_are_refused_without_a_panic_and_without_allocating_what_they_claim() {
    let huge = usize::MAX / 2;
    for header in [
        json!({"layers.0.weight": {"dtype": "F32", "shape": [huge, huge], "data_offsets": [0, 0]}}),
        json!({"layers.0.weight": {"dtype": "F32", "shape": [0, huge], "data_offsets": [0, 0]}}),
        json!({"layers.0.weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [4, 0]}}),
        json!({"layers.0.weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, huge]}}),
        json!({"layers.0.weight": {"dtype": "F99", "shape": [1, 1], "data_offsets": [0, 4]}}),
        json!({"__metadata__": {"format": 3}}),
        json!({}),
        json!([]),
    ] {
        refusal(&file(&header, &[]));
    }
    for length in [u64::MAX, 1 << 40, 1 << 26, 7] {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[b'['; 100]);
        refusal(&bytes);
    }
    // Nested deeper than the stack of a recursive parser.
    let nested = "[".repeat(1 << 20);
    let mut bytes = (nested.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(nested.as_bytes());
    refusal(&bytes);
}

proptest::proptest! {
    #![proptest_config(property_cases(256))]

    #[test]
    fn no_changed_byte_makes_loading_panic(at in 0_usize..900, value: u8) {
        let mut bytes = safetensors::to_bytes(&model());
        let at = at % bytes.len();
        bytes[at] = value;
        if let Err(error) = load(&bytes) {
            assert_eq!(error.exit_code(), 2);
        }
    }
}
