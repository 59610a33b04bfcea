//! Datasets from arrays: features of a program's own, with a label for each row.
//!
//! Labels name classes, as in a CSV: `1`, `"1"` and `"1.0"` are the same class, and classes are
//! sorted by number if all are integers, otherwise by text, so that their indices depend only on
//! the set of labels.

use std::borrow::Cow;

use ndarray::{Array2, ArrayView2};

use super::classes::{Classes, MOST_CLASSES};
use super::dataset::{Dataset, Features};
use super::targets::RegressionTargets;
use crate::error::{InputError, Result};

/// The name of a dataset made from arrays.
const NAME: &str = "arrays";

/// The number types of features: `f64`, `f32`, and `u8`, which stays a byte.
pub trait Feature: Copy {
    /// Converts an array `(rows, features)` of any memory layout to features, row-major. Copies
    /// the array once.
    fn features(values: ArrayView2<'_, Self>) -> Features;
}

impl Feature for f64 {
    fn features(values: ArrayView2<'_, Self>) -> Features {
        Features::Reals(values.as_standard_layout().into_owned())
    }
}

impl Feature for f32 {
    fn features(values: ArrayView2<'_, Self>) -> Features {
        Features::Reals(values.as_standard_layout().mapv(f64::from))
    }
}

impl Feature for u8 {
    fn features(values: ArrayView2<'_, Self>) -> Features {
        Features::Bytes(values.as_standard_layout().into_owned())
    }
}

/// A label: an integer, a string or a `bool`.
pub trait Label {
    /// Returns the name of the class.
    fn class_name(&self) -> Cow<'_, str>;
}

macro_rules! labels {
    ($($type:ty)*) => {
        $(impl Label for $type {
            fn class_name(&self) -> Cow<'_, str> {
                Cow::Owned(self.to_string())
            }
        })*
    };
}

labels!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize bool);

impl Label for str {
    fn class_name(&self) -> Cow<'_, str> {
        Cow::Borrowed(self)
    }
}

impl Label for String {
    fn class_name(&self) -> Cow<'_, str> {
        Cow::Borrowed(self)
    }
}

impl<L: Label + ?Sized> Label for &L {
    fn class_name(&self) -> Cow<'_, str> {
        (**self).class_name()
    }
}

impl Dataset {
    /// Creates a dataset from `features`, `(rows, features)`, and one label for each row: integers
    /// or strings, in a slice, a `Vec` or an `ndarray` vector. Copies both once.
    ///
    /// ```
    /// use ndarray::array;
    /// use nplus1::Dataset;
    ///
    /// let x = array![[5.1, 3.5], [6.2, 2.9], [4.9, 3.0]];
    /// let data = Dataset::from_arrays(x.view(), &["setosa", "virginica", "setosa"])?;
    /// assert_eq!(data.class_names, ["setosa", "virginica"]);
    /// assert_eq!(data.labels, [0, 1, 0]);
    /// # Ok::<(), nplus1::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InputError`]: no rows or no features, another number of labels
    /// than of rows, more than 1000 classes, a feature that is infinite or NaN.
    pub fn from_arrays<'l, T: Feature, L: Label + 'l>(
        features: ArrayView2<'_, T>,
        labels: impl IntoIterator<Item = &'l L>,
    ) -> Result<Self> {
        let mut classes = Classes::default();
        for (row, label) in (0..).zip(labels) {
            (classes.push(&label.class_name(), row))
                .ok_or(InputError::TooManyClasses { most: MOST_CLASSES })?;
        }
        classes.sort();
        let data = Self {
            name: NAME.to_owned(),
            features: T::features(features),
            labels: classes.labels,
            class_names: classes.names,
            image: None,
            unit_divisor: None,
            targets: None,
            table: None,
        };
        data.check()?;
        Ok(data)
    }

    /// Creates a dataset from `features`, `(rows, features)`, whose labels are indices into
    /// `class_names`. So a class may have no row. Copies all once.
    ///
    /// # Errors
    /// [`InputError`]: as for [`Dataset::from_arrays`], and a label
    /// beyond the classes.
    pub fn from_class_indices<'l, T: Feature>(
        features: ArrayView2<'_, T>,
        labels: impl IntoIterator<Item = &'l usize>,
        class_names: &[impl AsRef<str>],
    ) -> Result<Self> {
        let classes = class_names.len();
        if classes > MOST_CLASSES {
            return Err(InputError::TooManyClasses { most: MOST_CLASSES }.into());
        }
        let index = |(row, &label): (usize, &usize)| match u16::try_from(label) {
            Ok(index) if label < classes => Ok(index),
            _ => Err(InputError::LabelBeyondClasses {
                row,
                label,
                classes,
            }),
        };
        let labels = labels.into_iter().enumerate().map(index);
        let data = Self {
            name: NAME.to_owned(),
            features: T::features(features),
            labels: labels.collect::<Result<_, _>>()?,
            class_names: (class_names.iter().map(|name| name.as_ref().to_owned())).collect(),
            image: None,
            unit_divisor: None,
            targets: None,
            table: None,
        };
        data.check()?;
        Ok(data)
    }

    /// Creates a dataset of a regression from `features`, `(rows, features)`, and the numbers to
    /// predict, `(rows, targets)`. Copies both once.
    ///
    /// ```
    /// use ndarray::array;
    /// use nplus1::Dataset;
    ///
    /// let x = array![[5.1, 3.5], [6.2, 2.9], [4.9, 3.0]];
    /// let y = array![[10.0], [12.5], [9.0]];
    /// let data = Dataset::from_arrays_regression(x.view(), y.view(), &["price"])?;
    /// assert!(data.is_regression());
    /// # Ok::<(), nplus1::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InputError`]: no rows, no features or no targets, another number of rows or of names, a
    /// feature or a target that is infinite or NaN.
    pub fn from_arrays_regression<T: Feature>(
        features: ArrayView2<'_, T>,
        targets: ArrayView2<'_, f64>,
        names: &[impl AsRef<str>],
    ) -> Result<Self> {
        let data = Self {
            name: NAME.to_owned(),
            labels: vec![0; features.nrows()],
            features: T::features(features),
            class_names: Vec::new(),
            image: None,
            unit_divisor: None,
            targets: Some(RegressionTargets {
                names: (names.iter().map(|name| name.as_ref().to_owned())).collect(),
                values: targets.as_standard_layout().into_owned(),
            }),
            table: None,
        };
        data.check()?;
        Ok(data)
    }

    /// Creates a dataset without classes: every row has label 0.
    pub(crate) fn of_features(features: Features) -> Self {
        Self {
            name: NAME.to_owned(),
            labels: vec![0; features.dim().0],
            features,
            class_names: Vec::new(),
            image: None,
            unit_divisor: None,
            targets: None,
            table: None,
        }
    }

    /// Creates a dataset without known classes: every row has label 0.
    pub(crate) fn unlabeled<T: Feature>(
        features: ArrayView2<'_, T>,
        class_names: &[String],
    ) -> Self {
        Self {
            name: NAME.to_owned(),
            labels: vec![0; features.nrows()],
            features: T::features(features),
            class_names: class_names.to_vec(),
            image: None,
            unit_divisor: None,
            targets: None,
            table: None,
        }
    }

    /// Checks what the public fields may violate. Reads every number once.
    ///
    /// # Errors
    /// [`InputError`]: no rows or no features, another number of labels
    /// than of rows, a label beyond the classes, a feature or a target that is infinite or NaN.
    pub fn check(&self) -> Result<(), InputError> {
        let (rows, features) = self.features.dim();
        if rows != self.labels.len() {
            return Err(InputError::LabelCount {
                rows,
                labels: self.labels.len(),
            });
        }
        if rows == 0 {
            return Err(InputError::NoRows);
        }
        if features == 0 {
            return Err(InputError::NoFeatures { rows });
        }
        if u32::try_from(rows).is_err() {
            return Err(InputError::TooManyRows { rows });
        }
        if let Some(targets) = &self.targets {
            targets.check(rows)?;
            return self.features.check_finite();
        }
        let classes = self.class_count();
        if let Some(row) = (self.labels.iter()).position(|&label| usize::from(label) >= classes) {
            return Err(InputError::LabelBeyondClasses {
                row,
                label: usize::from(self.labels[row]),
                classes,
            });
        }
        if self.table.as_ref().is_some_and(|table| table.is_raw) {
            // Missing values are NaN until they are filled in.
            return Ok(());
        }
        self.features.check_finite()
    }
}

impl Features {
    /// Refuses numbers that are infinite or NaN.
    pub(crate) fn check_finite(&self) -> Result<(), InputError> {
        let Self::Reals(values) = self else {
            return Ok(());
        };
        match first_not_finite(values) {
            None => Ok(()),
            Some(((row, feature), value)) => Err(InputError::NotFinite {
                row,
                feature,
                value,
            }),
        }
    }
}

fn first_not_finite(values: &Array2<f64>) -> Option<((usize, usize), f64)> {
    let mut values = values.indexed_iter().map(|(at, &value)| (at, value));
    values.find(|(_, value)| !value.is_finite())
}
