//! The named datasets: content, source, license, and the checksums of their files.
//!
//! A file is read only if it has its checksum, so a name means the same rows everywhere.

use std::path::Path;
use std::sync::Arc;

use super::dataset::Dataset;
use super::search_paths::SearchPaths;
use super::{csv, idx, suggestions};
use crate::error::{Error, Result};

/// A named dataset.
#[derive(Debug, PartialEq)]
pub struct CatalogEntry {
    /// The name in configs, and the name of the folder.
    pub name: &'static str,
    /// The content in one line.
    pub title: &'static str,
    /// Number of rows of the training part, or of the whole dataset if it has no test part.
    pub rows: usize,
    /// Number of rows of the test part; 0 if it has none.
    pub test_rows: usize,
    /// Number of features.
    pub features: usize,
    /// The name of each feature, as in the source; empty if the file's header has them, if they are
    /// pixels, or if the source has none.
    pub feature_names: &'static [&'static str],
    /// `(height, width)`, if a row is an image.
    pub image: Option<(usize, usize)>,
    /// The constant that `normalize = "unit"` divides by.
    pub unit_divisor: Option<f64>,
    /// The name of each class; none if it has numbers to predict.
    pub class_names: &'static [&'static str],
    /// The columns of numbers to predict; none if it has classes.
    pub targets: &'static [&'static str],
    /// The source.
    pub source: &'static str,
    /// The license.
    pub license: &'static str,
    /// The publication to cite.
    pub citation: &'static str,
    /// The files.
    pub files: &'static [CatalogFile],
}

/// A file of a named dataset.
#[derive(Debug, PartialEq, Eq)]
pub struct CatalogFile {
    /// The name in the dataset's folder.
    pub name: &'static str,
    /// SHA-256 of the file as stored (not unpacked), in hexadecimal.
    pub sha256: &'static str,
}

const DIGITS: &[&str] = &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

static ENTRIES: [CatalogEntry; 6] = [
    CatalogEntry {
        name: "mnist",
        title: "handwritten digits, 28 × 28 pixels, 0…255",
        rows: 60_000,
        test_rows: 10_000,
        features: 784,
        feature_names: &[],
        image: Some((28, 28)),
        unit_divisor: Some(255.0),
        class_names: DIGITS,
        targets: &[],
        source: "the MNIST database of handwritten digits, http://yann.lecun.com/exdb/mnist/",
        license: "CC BY-SA 3.0 (copyright Yann LeCun and Corinna Cortes; derived from NIST's Special Databases 1 and 3)",
        citation: "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition. Proceedings of the IEEE 86(11), 1998, pp. 2278–2324",
        // `load` expects this order: training images, training labels, test images, test labels.
        files: &[
            CatalogFile {
                name: "train-images-idx3-ubyte.gz",
                sha256: "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971",
            },
            CatalogFile {
                name: "train-labels-idx1-ubyte.gz",
                sha256: "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203",
            },
            CatalogFile {
                name: "t10k-images-idx3-ubyte.gz",
                sha256: "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be",
            },
            CatalogFile {
                name: "t10k-labels-idx1-ubyte.gz",
                sha256: "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
            },
        ],
    },
    CatalogEntry {
        name: "iris",
        title: "Fisher's iris: sepals and petals in cm",
        rows: 150,
        test_rows: 0,
        features: 4,
        feature_names: &[
            "sepal length (cm)",
            "sepal width (cm)",
            "petal length (cm)",
            "petal width (cm)",
        ],
        image: None,
        unit_divisor: None,
        class_names: &["setosa", "versicolor", "virginica"],
        targets: &[],
        source: "UCI Machine Learning Repository, https://doi.org/10.24432/C56C76; as shipped with scikit-learn",
        license: "CC BY 4.0",
        citation: "R. A. Fisher: The use of multiple measurements in taxonomic problems. Annals of Eugenics 7(2), 1936, pp. 179–188",
        files: &[CatalogFile {
            name: "iris.csv",
            sha256: "f13ffa8fdd56fd8e6c8d16d4081a3fbd3114bcd0aae4256c43205169cd9d1449",
        }],
    },
    CatalogEntry {
        name: "wine",
        title: "chemical analysis of wines of three cultivars",
        rows: 178,
        test_rows: 0,
        features: 13,
        feature_names: &[
            "alcohol",
            "malic_acid",
            "ash",
            "alcalinity_of_ash",
            "magnesium",
            "total_phenols",
            "flavanoids",
            "nonflavanoid_phenols",
            "proanthocyanins",
            "color_intensity",
            "hue",
            "od280/od315_of_diluted_wines",
            "proline",
        ],
        image: None,
        unit_divisor: None,
        class_names: &["class_0", "class_1", "class_2"],
        targets: &[],
        source: "UCI Machine Learning Repository, https://doi.org/10.24432/C5PC7J; as shipped with scikit-learn",
        license: "CC BY 4.0",
        citation: "S. Aeberhard, M. Forina: Wine. UCI Machine Learning Repository, 1991",
        files: &[CatalogFile {
            name: "wine.csv",
            sha256: "10e8a802908b34f86e5da8ce962f3c806694bc98450a18f61851af59f324bede",
        }],
    },
    CatalogEntry {
        name: "breast-cancer",
        title: "Wisconsin diagnostic breast cancer: measures of cell nuclei",
        rows: 569,
        test_rows: 0,
        features: 30,
        feature_names: &[
            "mean radius",
            "mean texture",
            "mean perimeter",
            "mean area",
            "mean smoothness",
            "mean compactness",
            "mean concavity",
            "mean concave points",
            "mean symmetry",
            "mean fractal dimension",
            "radius error",
            "texture error",
            "perimeter error",
            "area error",
            "smoothness error",
            "compactness error",
            "concavity error",
            "concave points error",
            "symmetry error",
            "fractal dimension error",
            "worst radius",
            "worst texture",
            "worst perimeter",
            "worst area",
            "worst smoothness",
            "worst compactness",
            "worst concavity",
            "worst concave points",
            "worst symmetry",
            "worst fractal dimension",
        ],
        image: None,
        unit_divisor: None,
        class_names: &["malignant", "benign"],
        targets: &[],
        source: "UCI Machine Learning Repository, https://doi.org/10.24432/C5DW2B; as shipped with scikit-learn",
        license: "CC BY 4.0",
        citation: "W. Wolberg, O. Mangasarian, N. Street, W. Street: Breast Cancer Wisconsin (Diagnostic). UCI Machine Learning Repository, 1993",
        files: &[CatalogFile {
            name: "breast-cancer.csv",
            sha256: "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed",
        }],
    },
    CatalogEntry {
        name: "digits",
        title: "handwritten digits, 8 × 8 pixels, 0…16",
        rows: 1797,
        test_rows: 0,
        features: 64,
        feature_names: &[],
        image: Some((8, 8)),
        unit_divisor: Some(16.0),
        class_names: DIGITS,
        targets: &[],
        source: "UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, its test set; as shipped with scikit-learn",
        license: "CC BY 4.0",
        citation: "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits. UCI Machine Learning Repository, 1998",
        files: &[CatalogFile {
            name: "digits.csv.gz",
            sha256: "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
        }],
    },
    CatalogEntry {
        name: "diabetes",
        title: "progression of diabetes a year after ten measurements",
        rows: 442,
        test_rows: 0,
        features: 10,
        feature_names: &[],
        image: None,
        unit_divisor: None,
        class_names: &[],
        targets: &["progression"],
        source: "https://www4.stat.ncsu.edu/~boos/var.select/diabetes.html; unscaled, as shipped with scikit-learn",
        license: "published with the paper, without terms; BSD 3-Clause as a part of scikit-learn",
        citation: "B. Efron, T. Hastie, I. Johnstone, R. Tibshirani: Least angle regression. Annals of Statistics 32(2), 2004, pp. 407–499",
        files: &[CatalogFile {
            name: "diabetes.csv",
            sha256: "9193026b7622ff944f0a6855a10107b24caf50dad69787c46e6890e69c27faca",
        }],
    },
];

/// Returns all named datasets.
pub fn entries() -> &'static [CatalogEntry] {
    &ENTRIES
}

/// Returns the names of all named datasets.
pub fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|entry| entry.name)
}

/// Returns the dataset called `name`.
///
/// # Errors
/// No dataset has this name: the message lists all names and suggests the nearest.
pub fn entry(name: &str) -> Result<&'static CatalogEntry> {
    ENTRIES
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| {
            let question = suggestions::question(suggestions::nearest(name, names()));
            let allowed: Vec<&str> = names().collect();
            Error::Usage(format!(
                "unknown dataset `{name}`{question}\n  help: the named datasets are {}",
                allowed.join(", ")
            ))
        })
}

impl CatalogEntry {
    /// Reads the training part and, if there is one, the test part from the first folder of `paths`
    /// that holds all files. Needs little memory beyond that of the data.
    ///
    /// # Errors
    /// The files are missing, or a file does not have its checksum.
    pub fn load(&self, paths: &SearchPaths) -> Result<(Dataset, Option<Dataset>)> {
        let folder = paths.find(self)?;
        let dataset = |files: &[CatalogFile]| match files {
            [table] => self.load_table(&folder, table),
            [images, labels, ..] => self.load_images(&folder, images, labels),
            [] => unreachable!("every dataset has files"),
        };
        let train = dataset(self.files)?;
        let test = match self.files {
            [_, _, test @ ..] if self.test_rows > 0 => Some(dataset(test)?),
            _ => None,
        };
        Ok((train, test))
    }

    fn load_images(
        &self,
        folder: &Path,
        images: &CatalogFile,
        labels: &CatalogFile,
    ) -> Result<Dataset> {
        idx::load(
            (&folder.join(images.name), Some(images.sha256)),
            (&folder.join(labels.name), Some(labels.sha256)),
            self.name.to_owned(),
            Some(&self.class_names()),
        )
    }

    fn load_table(&self, folder: &Path, file: &CatalogFile) -> Result<Dataset> {
        let targets: Vec<String> = self.targets.iter().map(ToString::to_string).collect();
        let options = csv::ReadOptions {
            targets: Some(&targets[..]).filter(|targets| !targets.is_empty()),
            ..csv::ReadOptions::default()
        };
        let mut table = csv::read(&folder.join(file.name), &options, Some(file.sha256))?;
        let schema = &mut table.table.schema;
        schema.image = self.image;
        for (column, name) in schema.columns.iter_mut().zip(self.names()) {
            column.name = Some(name);
        }
        Ok(Dataset {
            name: self.name.to_owned(),
            features: table.features,
            labels: table.classes.labels,
            class_names: self.class_names(),
            image: self.image,
            unit_divisor: self.unit_divisor,
            targets: table.targets,
            table: Some(Arc::new(table.table)),
        })
    }

    /// Returns the names of the features that the file does not have. Pixels are called as in
    /// scikit-learn, by row and column.
    fn names(&self) -> Vec<String> {
        match self.image {
            Some((height, width)) => (0..height * width)
                .map(|pixel| format!("pixel_{}_{}", pixel / width, pixel % width))
                .collect(),
            None => self.feature_names.iter().map(ToString::to_string).collect(),
        }
    }

    fn class_names(&self) -> Vec<String> {
        self.class_names.iter().map(ToString::to_string).collect()
    }
}

/// Reads a named dataset, to be shared by the parts of a run.
///
/// # Errors
/// No such name, missing files, or a file that does not have its checksum.
pub fn load(name: &str, paths: &SearchPaths) -> Result<(Arc<Dataset>, Option<Arc<Dataset>>)> {
    let (train, test) = entry(name)?.load(paths)?;
    Ok((Arc::new(train), test.map(Arc::new)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_name_and_the_list() {
        let error = entry("mnits").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(
            error.to_string(),
            "unknown dataset `mnits`; did you mean `mnist`?\n  help: the named datasets are mnist, iris, wine, breast-cancer, digits, diabetes"
        );
    }
}
