//! Divides the rows of a dataset into training, validation and test rows.
//!
//! A dataset with a test part keeps its order: the last rows of the training part are for
//! validation. A dataset without one is shuffled once by the seed and divided class by class
//! (stratified), so that each part has the classes in the same proportions; the rows of a regression
//! are divided as they were shuffled. The same seed gives the same rows on every machine. Refused: shares that leave no rows, a `test` share if there is a
//! test part.

use std::sync::Arc;

use ndarray_rand::rand::seq::SliceRandom;

use super::dataset::{Dataset, LoadedData, Part, Scaling, Split};
use super::schema::Schema;
use super::source::{DataConfig, DataSource, Normalize, Share};
use super::table::{DataTable, encode};
use crate::error::{Error, Result};
use crate::numeric::random::{Purpose, stream};

impl LoadedData {
    /// Divides the rows into training, validation and test rows as `config` says.
    ///
    /// Fractions are relative to all rows of the training file. `limit` keeps the first training
    /// rows (in shuffled order, if the dataset is shuffled).
    ///
    /// # Errors
    /// A share that leaves no rows, or a `test` share of a dataset that has a test part.
    pub fn split(&self, config: &DataConfig, seed: u64) -> Result<Split> {
        let all = self.train.rows();
        if let Some(test_part) = &self.test {
            if config.test.is_some() {
                return Err(refused(
                    &self.train,
                    format!(
                        "`test` asks for test rows, but the dataset already has {} test rows",
                        test_part.rows()
                    ),
                )
                .help("remove `test`, or use `validation`"));
            }
            let mut train = numbers(all);
            let validation = self.rows_of("validation", config.validation, all, all)?;
            let validation = validation.map(|count| train.split_off(all - count));
            let test = Some(numbers(test_part.rows()));
            let test = test.map(|rows| (test_part, rows));
            return self.assemble(config, train, validation, test);
        }
        let mut train = self.shuffled(seed);
        let test = self.rows_of("test", config.test, all, all)?;
        let test = test.map(|count| self.take_stratified(&mut train, count));
        let left = train.len();
        let validation = self.rows_of("validation", config.validation, all, left)?;
        let validation = validation.map(|count| self.take_stratified(&mut train, count));
        let test = test.map(|rows| (&self.train, rows));
        self.assemble(config, train, validation, test)
    }

    /// Divides the rows into training and validation rows, without test rows and limit, as
    /// [`LoadedData::split`] does.
    ///
    /// # Errors
    /// A share that leaves no rows; values too large to be scaled.
    pub fn split_rows(
        &self,
        validation: Option<Share>,
        normalize: Normalize,
        seed: u64,
    ) -> Result<Split> {
        let config = DataConfig {
            // The rows are here already.
            source: DataSource::Catalog(self.train.name.clone()),
            task: None,
            validation,
            test: None,
            folds: None,
            limit: None,
            normalize,
        };
        self.split(&config, seed)
    }

    /// Divides the rows into `count` folds, stratified by class: each row of the training file is a test row
    /// of exactly one fold.
    ///
    /// The sizes of the folds differ by at most one row, and so do their numbers of rows of each
    /// class. A validation share is taken from the fold's training rows, and a fraction is relative
    /// to them. A test part of the dataset is not used.
    ///
    /// # Errors
    /// Fewer than 2 folds, more folds than rows, a `test` share, or shares that leave no rows.
    pub fn folds(&self, config: &DataConfig, count: usize, seed: u64) -> Result<Vec<Split>> {
        let all = self.train.rows();
        if count < 2 || count > all {
            return Err(refused(
                &self.train,
                format!("`folds = {count}`; allowed are 2…{all}, because there are {all} rows"),
            ));
        }
        if config.test.is_some() {
            return Err(refused(
                &self.train,
                "`test` and `folds` exclude each other: each fold has its own test rows".into(),
            )
            .help("remove one of them"));
        }
        let order = self.shuffled(seed);
        let fold_of = self.deal_into_folds(&order, count);
        let rows_of_fold = |fold: usize, inside: bool| -> Vec<u32> {
            let chosen = |row: &&u32| (fold_of[**row as usize] == fold) == inside;
            order.iter().filter(chosen).copied().collect()
        };
        (0..count)
            .map(|fold| {
                let mut train = rows_of_fold(fold, false);
                let mut test = rows_of_fold(fold, true);
                test.sort_unstable();
                let left = train.len();
                let validation = self.rows_of("validation", config.validation, left, left)?;
                let validation = validation.map(|count| self.take_stratified(&mut train, count));
                self.assemble(config, train, validation, Some((&self.train, test)))
            })
            .collect()
    }

    /// Applies `limit`, computes the scaling and puts the parts together.
    fn assemble(
        &self,
        config: &DataConfig,
        mut train: Vec<u32>,
        validation: Option<Vec<u32>>,
        test: Option<(&Arc<Dataset>, Vec<u32>)>,
    ) -> Result<Split> {
        let mut left_out = Vec::new();
        if let Some(limit) = config.limit {
            if limit == 0 {
                return Err(refused(
                    &self.train,
                    "`limit = 0` leaves no training row".into(),
                ));
            }
            left_out = train.split_off(limit.min(train.len()));
        }
        let part = |dataset: &Arc<Dataset>, rows| Part {
            dataset: Arc::clone(dataset),
            rows,
        };
        let learned = self.learned(&train)?;
        let encoded = |dataset: &Arc<Dataset>| match &learned {
            Some(schema) if Arc::ptr_eq(dataset, &self.train) => encode(dataset, schema, &left_out),
            Some(schema) => encode(dataset, schema, &[]),
            None => Ok(Arc::clone(dataset)),
        };
        let dataset = encoded(&self.train)?;
        let test = match test {
            Some((other, rows)) if Arc::ptr_eq(other, &self.train) => Some(part(&dataset, rows)),
            Some((other, rows)) => Some(part(&encoded(other)?, rows)),
            None => None,
        };
        let train = part(&dataset, train);
        Ok(Split {
            scaling: Scaling::fit(config.normalize, &train)?,
            train,
            validation: validation.map(|rows| part(&dataset, rows)),
            test,
        })
    }

    /// Returns the dataset of the training file as inputs, with categories and fill values of all
    /// its rows.
    ///
    /// # Errors
    /// A column without any value.
    pub fn whole(&self) -> Result<Arc<Dataset>> {
        match self.learned(&numbers(self.train.rows()))? {
            Some(schema) => encode(&self.train, &schema, &[]),
            None => Ok(Arc::clone(&self.train)),
        }
    }

    /// Learns categories and fill values from the training rows, if the columns have any.
    fn learned(&self, rows: &[u32]) -> Result<Option<Schema>> {
        let table = self.train.table.as_ref().filter(|table| table.is_raw);
        let learn = |table: &Arc<DataTable>| table.learn(&self.train.features, rows);
        table.map(learn).transpose()
    }

    /// Converts a share of `whole` rows to a number of rows: at least one, and fewer than `left`.
    fn rows_of(
        &self,
        key: &str,
        share: Option<Share>,
        whole: usize,
        left: usize,
    ) -> Result<Option<usize>> {
        let Some(share) = share else { return Ok(None) };
        let (rows, asked) = match share {
            Share::Rows(rows) => (rows, rows.to_string()),
            // The conversion saturates: a negative fraction or NaN gives 0 rows.
            Share::Fraction(fraction) => (
                (fraction * whole as f64).round() as usize,
                format!("{fraction}"),
            ),
        };
        let problem = if rows == 0 {
            format!("`{key} = {asked}` gives no row: there are {whole} rows")
        } else if rows >= left {
            let others = if left < whole {
                format!(", {} of them for the test", whole - left)
            } else {
                String::new()
            };
            format!(
                "`{key} = {asked}` ({rows} rows) leaves no training row: there are {whole} rows{others}"
            )
        } else {
            return Ok(Some(rows));
        };
        Err(refused(&self.train, problem).help(format!(
            "give {key} a number of rows from 1 to {}, or a fraction",
            left.saturating_sub(1)
        )))
    }

    /// Returns the row numbers in the random order of the seed.
    fn shuffled(&self, seed: u64) -> Vec<u32> {
        let mut rows = numbers(self.train.rows());
        rows.shuffle(&mut stream(seed, Purpose::Split));
        rows
    }

    /// Removes `count` of `rows` and returns them in the file's order; the others keep their order.
    /// The number of rows of each class is proportional, rounded by the largest-remainder method.
    fn take_stratified(&self, rows: &mut Vec<u32>, count: usize) -> Vec<u32> {
        let class_of = |row: u32| usize::from(self.train.labels[row as usize]);
        // The rows of a regression are all in one class.
        let mut sizes = vec![0usize; self.train.class_count().max(1)];
        for &row in &*rows {
            sizes[class_of(row)] += 1;
        }
        // In u128, so that no product overflows.
        let exact = |class: usize| sizes[class] as u128 * count as u128;
        let all = rows.len() as u128;
        let mut quotas: Vec<usize> = (0..sizes.len())
            .map(|class| (exact(class) / all) as usize)
            .collect();
        let mut by_remainder: Vec<usize> = (0..sizes.len()).collect();
        by_remainder.sort_by_key(|&class| std::cmp::Reverse(exact(class) % all));
        let missing = count - quotas.iter().sum::<usize>();
        for &class in &by_remainder[..missing] {
            quotas[class] += 1;
        }
        let mut taken = Vec::with_capacity(count);
        rows.retain(|&row| {
            let quota = &mut quotas[class_of(row)];
            let take = *quota > 0;
            if take {
                *quota -= 1;
                taken.push(row);
            }
            !take
        });
        taken.sort_unstable();
        taken
    }

    /// Assigns the rows, class by class, to the folds in turn; returns the fold of each row.
    fn deal_into_folds(&self, order: &[u32], folds: usize) -> Vec<usize> {
        let mut by_class = order.to_vec();
        by_class.sort_by_key(|&row| self.train.labels[row as usize]);
        let mut fold_of = vec![0; order.len()];
        for (turn, row) in by_class.into_iter().enumerate() {
            fold_of[row as usize] = turn % folds;
        }
        fold_of
    }
}

/// Returns 0, 1, …, `rows` − 1.
fn numbers(rows: usize) -> Vec<u32> {
    (0..u32::try_from(rows).expect("the readers refuse more rows than a u32 counts")).collect()
}

fn refused(dataset: &Dataset, problem: String) -> Error {
    Error::refused(&dataset.name, problem)
}
