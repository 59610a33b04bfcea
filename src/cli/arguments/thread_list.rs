//! Numbers of threads of a measurement, such as `1,2,4`.

use crate::parallel::Workers;
use crate::parallel::workers::MOST_THREADS;

/// Different numbers of threads, in the given order, each from 1 to `MOST_THREADS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadList(pub Vec<usize>);

impl ThreadList {
    /// Returns 1, 2, 4, … and the number of physical cores that this process may use.
    pub fn up_to_all() -> Self {
        Self::up_to(Workers::available())
    }

    fn up_to(most: usize) -> Self {
        let powers = std::iter::successors(Some(1), |count| Some(count * 2));
        let below = powers.take_while(|&count| count < most);
        Self(below.chain([most]).collect())
    }
}

impl std::str::FromStr for ThreadList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed =
            format!("allowed: numbers from 1 to {MOST_THREADS}, each once, such as 1,2,4");
        let mut list = Vec::new();
        for part in text.split(',') {
            let count = part.trim().parse::<usize>().ok();
            let count = count.filter(|count| (1..=MOST_THREADS).contains(count));
            let count = count.ok_or_else(|| {
                format!("`{}` is not a number of threads; {allowed}", part.trim())
            })?;
            if list.contains(&count) {
                return Err(format!("duplicate value {count}; {allowed}"));
            }
            list.push(count);
        }
        Ok(Self(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_given_order() {
        assert_eq!("4, 1,1024".parse(), Ok(ThreadList(vec![4, 1, 1024])));
    }

    #[test]
    fn the_default_doubles_up_to_all_cores() {
        assert_eq!(ThreadList::up_to(1).0, [1]);
        assert_eq!(ThreadList::up_to(2).0, [1, 2]);
        assert_eq!(ThreadList::up_to(6).0, [1, 2, 4, 6]);
    }

    #[test]
    fn zero_duplicates_large_numbers_and_words_are_refused() {
        for (text, found) in [
            ("0", "`0`"),
            ("1,2,1", "duplicate value 1"),
            ("1,1025", "`1025`"),
            ("1,,2", "``"),
            ("two", "`two`"),
        ] {
            let message = text.parse::<ThreadList>().unwrap_err();
            assert!(message.contains(found), "{message}");
            assert!(message.contains("from 1 to 1024"), "{message}");
        }
    }
}
