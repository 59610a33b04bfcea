//! Gradients in safetensors files, read and written as another program would.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};

/// Name, shape and numbers of each tensor, sorted by name: the biases of a layer, then its weights.
pub type Tensors = Vec<(String, Vec<usize>, Vec<f64>)>;

/// Reads the tensors of a file in double precision.
pub fn read(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Tensors = file
        .iter()
        .map(|(name, tensor)| {
            assert_eq!(tensor.dtype(), Dtype::F64, "{name}");
            let numbers = tensor.data().chunks_exact(8);
            let numbers = numbers.map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()));
            (name.to_owned(), tensor.shape().to_vec(), numbers.collect())
        })
        .collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    tensors
}

/// Writes tensors in single or in double precision.
pub fn write(path: &Path, tensors: &Tensors, dtype: Dtype) {
    let bytes: Vec<(&str, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, shape, numbers)| {
            let bytes = match dtype {
                Dtype::F32 => (numbers.iter())
                    .flat_map(|&x| (x as f32).to_le_bytes())
                    .collect(),
                _ => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
            };
            (name.as_str(), shape, bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(dtype, (*shape).clone(), bytes).unwrap();
        (*name, view)
    });
    fs::write(path, serialize(views, None).unwrap()).unwrap();
}
