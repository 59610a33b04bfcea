//! The known pattern of zeros of a Jacobian, and the groups of columns that one evaluation measures
//! together.
//!
//! Two columns that share no row change different outputs: perturbed in the same evaluation, each
//! output still tells which of them changed it. So a Jacobian of N columns in G groups takes G + 1
//! evaluations instead of N + 1 (Curtis, Powell and Reid, "On the estimation of sparse Jacobian
//! matrices", J. Inst. Maths Applics 13, 1974). The groups are formed as they describe: each column
//! in turn joins the first group with which it shares no row. A tridiagonal pattern has 3 groups,
//! whatever N is.

/// The places of a matrix, (rows, columns), that may differ from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparsityPattern {
    rows: usize,
    /// The start of each column in `entries`, and their number.
    starts: Vec<usize>,
    /// The rows of the entries, column by column, ascending within a column.
    entries: Vec<usize>,
}

impl SparsityPattern {
    /// Creates a pattern of `rows` outputs and `columns` parameters from its places (row, column),
    /// in any order; a place may be named twice.
    ///
    /// # Panics
    /// If a place lies outside the matrix.
    pub fn new(
        rows: usize,
        columns: usize,
        places: impl IntoIterator<Item = (usize, usize)>,
    ) -> Self {
        let mut sorted: Vec<(usize, usize)> = places
            .into_iter()
            .map(|(row, column)| {
                assert!(
                    row < rows && column < columns,
                    "({row}, {column}) lies outside a matrix of {rows} rows and {columns} columns"
                );
                (column, row)
            })
            .collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut starts = vec![0; columns + 1];
        for &(column, _) in &sorted {
            starts[column + 1] += 1;
        }
        for column in 0..columns {
            starts[column + 1] += starts[column];
        }
        Self {
            rows,
            starts,
            entries: sorted.into_iter().map(|(_, row)| row).collect(),
        }
    }

    /// Creates the pattern of a square band matrix of size `size`, with `below` diagonals below the
    /// main one and `above` above it; (1, 1) is tridiagonal.
    pub fn band(size: usize, below: usize, above: usize) -> Self {
        let rows = |column: usize| column.saturating_sub(above)..size.min(column + below + 1);
        let places = (0..size).flat_map(|column| rows(column).map(move |row| (row, column)));
        Self::new(size, size, places)
    }

    /// Returns the number of rows, which is that of the function's outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns, N.
    pub fn columns(&self) -> usize {
        self.starts.len() - 1
    }

    /// Returns the rows of a column's entries, ascending.
    pub fn column(&self, column: usize) -> &[usize] {
        &self.entries[self.starts[column]..self.starts[column + 1]]
    }

    /// Returns the index of a column's first entry among all entries, column by column.
    pub fn start(&self, column: usize) -> usize {
        self.starts[column]
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether the pattern has no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns groups of columns of which no two share a row; every column that has an entry is in
    /// one. Cost: the sum, over all entries, of the number of entries in the same row.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let columns = self.columns();
        let mut row_columns = vec![Vec::new(); self.rows];
        for column in 0..columns {
            for &row in self.column(column) {
                row_columns[row].push(column);
            }
        }
        const NONE: usize = usize::MAX;
        let mut group_of = vec![NONE; columns];
        let mut groups: Vec<Vec<usize>> = Vec::new();
        // The column for which each group was last found to be taken.
        let mut taken: Vec<usize> = Vec::new();
        for column in (0..columns).filter(|&column| !self.column(column).is_empty()) {
            let neighbors = self
                .column(column)
                .iter()
                .flat_map(|&row| &row_columns[row]);
            for &neighbor in neighbors {
                if group_of[neighbor] != NONE {
                    taken[group_of[neighbor]] = column;
                }
            }
            let free = taken.iter().position(|&by| by != column);
            let group = free.unwrap_or_else(|| {
                groups.push(Vec::new());
                taken.push(NONE);
                groups.len() - 1
            });
            group_of[column] = group;
            groups[group].push(column);
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tridiagonal_pattern_has_three_groups_and_a_full_row_has_as_many_as_columns() {
        assert_eq!(SparsityPattern::band(10_000, 1, 1).groups().len(), 3);
        assert_eq!(SparsityPattern::band(7, 0, 0).groups().len(), 1);
        assert_eq!(SparsityPattern::band(50, 2, 3).groups().len(), 6);
        let row = SparsityPattern::new(2, 5, (0..5).map(|column| (1, column)));
        assert_eq!(row.groups().len(), 5);
        assert!(SparsityPattern::new(3, 3, []).groups().is_empty());
    }

    #[test]
    fn no_two_columns_of_a_group_share_a_row_and_every_column_is_in_one() {
        let places = (0..400).map(|k: usize| (k * k % 37, k * 7 % 61));
        let pattern = SparsityPattern::new(37, 61, places);
        let groups = pattern.groups();
        let mut columns = Vec::new();
        for group in &groups {
            let mut rows: Vec<usize> = Vec::new();
            for &column in group {
                columns.push(column);
                rows.extend(pattern.column(column));
            }
            let all = rows.len();
            rows.sort_unstable();
            rows.dedup();
            assert_eq!(rows.len(), all);
        }
        columns.sort_unstable();
        let filled = (0..61).filter(|&column| !pattern.column(column).is_empty());
        assert_eq!(columns, filled.collect::<Vec<_>>());
    }
}
