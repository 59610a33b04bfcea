//! An ONNX model: raw features in, answers out, any number of rows.
//!
//! | tensor | type and shape |
//! |---|---|
//! | input `features` | float32 (float64 of a model in f64), `(rows, numbers)`: the columns of numbers, or pixels; NaN is a missing value |
//! | input named after a column of text | string, `(rows, 1)`; the empty text is a missing value |
//! | output `class` | int64, `(rows,)`: the index of the most likely class |
//! | output `probabilities` (`outputs` if they are none) | as `features`, `(rows, classes)` |
//! | output `targets` instead, of a regression | `(rows, targets)`, in their units |
//!
//! The metadata of the model has the names of features and classes, and the categories, as JSON.
//! A category that no training row has makes zeros: ONNX cannot refuse a row.

mod answer;

use prost::Message;
use serde_json::json;

use super::contents::{Contents, ExportedFeature};
use super::protobuf::{
    AttributeProto, DimensionProto, DimensionSize, GraphProto, INT_ATTRIBUTE, ModelProto,
    NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto, element,
};
use super::weights::StoredWeights;

/// The version of the operators, and that of the file format that came with it: ONNX 1.16. Each
/// operator used is the newest of its kind in later versions too, or differs from it in types only.
const OPSET: i64 = 21;
const IR_VERSION: i64 = 10;

/// The input of numbers.
const FEATURES: &str = "features";

/// Returns the bytes of the file.
pub(super) fn to_bytes(contents: &Contents) -> Vec<u8> {
    let mut graph = Graph::new(contents);
    let inputs = graph.encode();
    let scaled = graph.scale(inputs);
    let outputs = graph.layers(scaled);
    graph.answer(&outputs);
    let entry = |key: &str, value: String| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value),
    };
    let names = |text: bool| -> Vec<String> {
        let features = contents.features.iter().enumerate();
        let chosen = features.filter(|(_, feature)| feature.categories.is_some() == text);
        chosen.map(|(at, _)| contents.feature_name(at)).collect()
    };
    let mut metadata = vec![entry("sizes", contents.sizes())];
    if contents.has_names() {
        metadata.push(entry("feature_names", json!(names(false)).to_string()));
    }
    let outputs = json!(contents.outputs.names).to_string();
    metadata.push(match contents.outputs.units {
        Some(_) => entry("target_names", outputs),
        None => entry("class_names", outputs),
    });
    for (index, feature) in contents.features.iter().enumerate() {
        if let Some(categories) = feature.categories {
            let key = format!("categories of {}", contents.feature_name(index));
            metadata.push(entry(&key, json!(categories).to_string()));
        }
    }
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some("nplus1".to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        doc_string: Some(contents.model.name.clone()),
        graph: Some(graph.proto),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(OPSET),
        }],
        metadata_props: metadata,
    };
    model.encode_to_vec()
}

/// The graph of a model while it is built; a value is known by its name.
struct Graph<'a> {
    contents: &'a Contents<'a>,
    /// The type in which the network computes.
    real: i32,
    proto: GraphProto,
}

impl<'a> Graph<'a> {
    fn new(contents: &'a Contents<'a>) -> Self {
        Self {
            contents,
            real: if contents.is_single {
                element::FLOAT
            } else {
                element::DOUBLE
            },
            proto: GraphProto {
                name: Some("network".to_owned()),
                ..GraphProto::default()
            },
        }
    }

    /// Adds an operator and returns its output, which is called `output`.
    fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, i64)],
    ) -> String {
        let attribute = |&(name, number): &(&str, i64)| AttributeProto {
            name: Some(name.to_owned()),
            i: Some(number),
            r#type: Some(INT_ATTRIBUTE),
        };
        let output = own(output);
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.clone()],
            name: Some(format!("make {output}")),
            op_type: Some(operator.to_owned()),
            attribute: attributes.iter().map(attribute).collect(),
        });
        output
    }

    /// Adds a constant of `shape`, in the type `kind`: single or double precision, integers or
    /// booleans.
    fn constant(&mut self, name: &str, kind: i32, numbers: &[f64], shape: &[usize]) -> String {
        let bytes = numbers.iter().flat_map(|&number| match kind {
            element::FLOAT => (number as f32).to_le_bytes().to_vec(),
            element::INT64 => (number as i64).to_le_bytes().to_vec(),
            element::BOOL => vec![u8::from(number != 0.0)],
            _ => number.to_le_bytes().to_vec(),
        });
        let (name, raw_data) = (own(name), Some(bytes.collect()));
        self.proto.initializer.push(TensorProto {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: Some(kind),
            name: Some(name.clone()),
            raw_data,
            ..TensorProto::default()
        });
        name
    }

    /// Adds a constant row of texts.
    fn texts(&mut self, name: &str, texts: &[String]) -> String {
        let name = own(name);
        self.proto.initializer.push(TensorProto {
            dims: vec![1, texts.len() as i64],
            data_type: Some(element::STRING),
            string_data: texts.iter().map(|text| text.clone().into_bytes()).collect(),
            name: Some(name.clone()),
            raw_data: None,
        });
        name
    }

    /// Turns features into the network's inputs, `(rows, inputs)`, in double precision if they are
    /// to be scaled or filled in.
    fn encode(&mut self) -> String {
        let features = &self.contents.features;
        let is_number = |feature: &&ExportedFeature| feature.categories.is_none();
        let numbers = features.iter().filter(is_number).count();
        let mut wide = String::new();
        if numbers > 0 {
            self.proto
                .input
                .push(value(FEATURES, self.real, Some(numbers)));
            wide = match self.contents.is_single {
                true => {
                    let double = [("to", i64::from(element::DOUBLE))];
                    self.node("Cast", &[FEATURES], "numbers", &double)
                }
                false => FEATURES.to_owned(),
            };
            wide = self.fill_numbers(wide);
        }
        if numbers == features.len() {
            return wide;
        }
        let (mut parts, mut next) = (Vec::new(), 0);
        for (index, feature) in features.iter().enumerate() {
            parts.push(match feature.categories {
                Some(categories) => self.one_hot(index, categories, feature.fill),
                None => {
                    let at = self.constant(
                        &format!("place {index}"),
                        element::INT64,
                        &[next as f64],
                        &[1],
                    );
                    next += 1;
                    self.node(
                        "Gather",
                        &[&wide, &at],
                        &format!("number {index}"),
                        &[("axis", 1)],
                    )
                }
            });
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.node("Concat", &parts, "inputs", &[("axis", 1)])
    }

    /// Replaces missing numbers, if the model has a value for them.
    fn fill_numbers(&mut self, numbers: String) -> String {
        let features = self.contents.features.iter();
        let own = features.filter(|feature| feature.categories.is_none());
        let fills: Vec<Option<f64>> = own.map(|feature| feature.fill).collect();
        if fills.iter().all(Option::is_none) {
            return numbers;
        }
        let fills: Vec<f64> = fills
            .into_iter()
            .map(|fill| fill.unwrap_or(f64::NAN))
            .collect();
        let fill = self.constant("fill", element::DOUBLE, &fills, &[1, fills.len()]);
        let missing = self.node("IsNaN", &[&numbers], "missing", &[]);
        self.node("Where", &[&missing, &fill, &numbers], "filled", &[])
    }

    /// Turns a text into 1 and 0, `(rows, categories)`.
    fn one_hot(&mut self, index: usize, categories: &[String], fill: Option<f64>) -> String {
        let column = self.input_name(index);
        self.proto
            .input
            .push(value(&column, element::STRING, Some(1)));
        let known = self.texts(&format!("categories {index}"), categories);
        let mut hot = self.node("Equal", &[&column, &known], &format!("is {index}"), &[]);
        if let Some(fill) = fill {
            let nothing = self.texts(&format!("nothing {index}"), &[String::new()]);
            let missing = self.node(
                "Equal",
                &[&column, &nothing],
                &format!("missing {index}"),
                &[],
            );
            let mut filled = vec![0.0; categories.len()];
            filled[fill as usize] = 1.0;
            let shape = [1, categories.len()];
            let filled = self.constant(&format!("fill {index}"), element::BOOL, &filled, &shape);
            let taken = format!("filled {index}");
            let taken = self.node("And", &[&missing, &filled], &taken, &[]);
            hot = self.node("Or", &[&hot, &taken], &format!("known {index}"), &[]);
        }
        let double = [("to", i64::from(element::DOUBLE))];
        self.node("Cast", &[&hot], &format!("inputs of {index}"), &double)
    }

    /// Returns the name of the input of a column of text: that of the column, unless the graph has
    /// another value with it.
    fn input_name(&self, index: usize) -> String {
        let name = self.contents.feature_name(index);
        match name.is_empty() || own(&name) == name {
            true => format!("column {index}: {name}"),
            false => name,
        }
    }

    /// Scales the inputs in double precision, and rounds them to that of the network.
    fn scale(&mut self, inputs: String) -> String {
        let scaling = &self.contents.model.scaling;
        let constant = |numbers: &[f64]| match scaling_is_uniform(numbers) {
            true => numbers[..1].to_vec(),
            false => numbers.to_vec(),
        };
        let mut values = inputs;
        if !scaling.keeps_zero() {
            let offset = constant(&scaling.offset);
            let offset = self.constant("offset", element::DOUBLE, &offset, &[1, offset.len()]);
            values = self.node("Sub", &[&values, &offset], "shifted", &[]);
        }
        if scaling.uniform_divisor() != Some(1.0) {
            let divisor = constant(&scaling.divisor);
            let divisor = self.constant("divisor", element::DOUBLE, &divisor, &[1, divisor.len()]);
            values = self.node("Div", &[&values, &divisor], "divided", &[]);
        }
        match self.contents.is_single {
            true => {
                let single = [("to", i64::from(element::FLOAT))];
                self.node("Cast", &[&values], "scaled", &single)
            }
            false => values,
        }
    }

    /// Adds the layers and returns the pre-activations of the outputs.
    fn layers(&mut self, inputs: String) -> String {
        let contents = self.contents;
        let last = contents.layers.len() - 1;
        let mut below = inputs;
        for (index, layer) in contents.layers.iter().enumerate() {
            let StoredWeights::Full(weights) = &layer.weights else {
                unreachable!("`to_bytes` refuses other weights for this format");
            };
            let shape = [layer.fan_out, layer.fan_in];
            let weight = format!("layers.{index}.weight");
            let weight = self.constant(&weight, self.real, weights, &shape);
            let mut terms = vec![below, weight];
            if !layer.biases.is_empty() {
                let bias = format!("layers.{index}.bias");
                terms.push(self.constant(&bias, self.real, &layer.biases, &[layer.fan_out]));
            }
            let terms: Vec<&str> = terms.iter().map(String::as_str).collect();
            below = self.node("Gemm", &terms, &format!("z.{index}"), &[("transB", 1)]);
            if index < last {
                below = self.node("Sigmoid", &[&below], &format!("a.{index}"), &[]);
            }
        }
        below
    }
}

/// The inputs and outputs that every model of a kind has.
const PUBLIC: [&str; 5] = [FEATURES, "class", "probabilities", "outputs", "targets"];

/// Returns the name of a value: those that a user sees as they are, others under a prefix, so that no
/// column has the same name.
fn own(name: &str) -> String {
    if PUBLIC.contains(&name) || ["layers.", PREFIX].iter().any(|own| name.starts_with(own)) {
        return name.to_owned();
    }
    format!("{PREFIX}{name}")
}

/// The prefix of values that no user sees.
const PREFIX: &str = "network/";

/// Describes an input or output of any number of rows; of one number each, if `width` is `None`.
fn value(name: &str, kind: i32, width: Option<usize>) -> ValueInfoProto {
    let dimension = |size| DimensionProto { value: Some(size) };
    let rows = dimension(DimensionSize::DimParam("rows".to_owned()));
    let width = width.map(|width| dimension(DimensionSize::DimValue(width as i64)));
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(kind),
                shape: Some(TensorShapeProto {
                    dim: std::iter::once(rows).chain(width).collect(),
                }),
            }),
        }),
        doc_string: None,
    }
}

fn scaling_is_uniform(numbers: &[f64]) -> bool {
    numbers.iter().all(|number| *number == numbers[0])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::*;
    use crate::data::Scaling;
    use crate::data::schema::{Column, Fill, Schema};
    use crate::format::export::WeightType;
    use crate::format::{AnyParameters, Model};
    use crate::model::{Layout, Loss, Network, OutputUnits, Parameters};

    /// A network of a number and a text, with two classes.
    fn model(text_column: &str) -> Model {
        let layout = Arc::new(Layout::new(&[3, 2, 2], true));
        let flat = (0..layout.len()).map(|at| at as f32).collect();
        let text = Column {
            name: Some(text_column.to_owned()),
            categories: Some(vec!["a".to_owned(), "b".to_owned()]),
            fill: Some(Fill::Category("b".to_owned())),
        };
        Model {
            name: "small".to_owned(),
            network: Network {
                layout: Arc::clone(&layout),
                output: OutputUnits::Sigmoid,
                loss: Loss::CrossEntropy,
                l2: 0.0,
                class_weights: Vec::new(),
            },
            parameters: AnyParameters::F32(Parameters::from_flat(layout, flat)),
            class_names: vec!["no".to_owned(), "yes".to_owned()],
            scaling: Scaling {
                offset: vec![1.0, 0.5, 0.5],
                divisor: vec![2.0, 1.0, 1.0],
                targets: None,
            },
            schema: Schema {
                columns: vec![text, Column::numbers(Some("size".to_owned()))],
                ..Schema::default()
            },
        }
    }

    fn graph(text_column: &str) -> GraphProto {
        let model = model(text_column);
        let contents = Contents::new(&model, WeightType::Full).unwrap();
        let bytes = to_bytes(&contents);
        ModelProto::decode(&bytes[..]).unwrap().graph.unwrap()
    }

    #[test]
    fn every_value_is_made_once_before_it_is_used() {
        // A column with the name of an output must not become that output.
        for text_column in [
            "color",
            "probabilities",
            "network/z.0",
            "layers.0.weight",
            "",
        ] {
            let graph = graph(text_column);
            let mut known = HashSet::new();
            let inputs = graph.input.iter().map(|input| input.name.clone().unwrap());
            let constants = graph
                .initializer
                .iter()
                .map(|each| each.name.clone().unwrap());
            for name in inputs.chain(constants) {
                assert!(known.insert(name.clone()), "{name} is there twice");
            }
            for node in &graph.node {
                for input in &node.input {
                    assert!(known.contains(input), "{input} is not there yet");
                }
                assert!(known.insert(node.output[0].clone()), "{}", node.output[0]);
            }
            for output in &graph.output {
                assert!(known.contains(output.name.as_ref().unwrap()));
            }
        }
    }

    #[test]
    fn weights_are_stored_as_in_pytorch_in_the_precision_of_the_model() {
        let graph = graph("color");
        let weight = graph.initializer.iter();
        let weight = weight
            .clone()
            .find(|each| each.name.as_deref() == Some("layers.1.weight"))
            .unwrap();
        assert_eq!(weight.dims, [2, 2]);
        assert_eq!(weight.data_type, Some(element::FLOAT));
        // Behind 3·2 weights and 2 biases.
        let expected: Vec<u8> = (8..12).flat_map(|at| (at as f32).to_le_bytes()).collect();
        assert_eq!(weight.raw_data.as_deref(), Some(&expected[..]));
    }
}
