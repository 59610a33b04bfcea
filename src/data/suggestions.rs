//! "Did you mean": the allowed name nearest to a misspelled one.

/// The longest text, in characters, that is compared with the allowed names.
const LONGEST: usize = 64;

/// Returns the name of `allowed` that `found` was probably meant to be, whatever its letter case and
/// its hyphens: one that begins with `found`, or is few edits away: a third of the letters of
/// `found`, but at least one, and two from five letters on.
pub fn nearest<'a>(found: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if found.chars().count() > LONGEST {
        return None;
    }
    let folded = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let found = folded(found);
    let letters = found.chars().count();
    let edits = (letters / 3).max(if letters <= 4 { 1 } else { 2 });
    let distance = |name: &str| {
        let name = folded(name);
        if found.len() >= 3 && name.starts_with(&found) {
            return 0;
        }
        strsim::damerau_levenshtein(&found, &name)
    };
    allowed
        .into_iter()
        .map(|name| (distance(name), name))
        .filter(|&(distance, _)| distance <= edits)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// `; did you mean X?`, or nothing.
pub(crate) fn question(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_by_edits_and_by_case() {
        let allowed = ["mnist", "iris", "wine", "breast-cancer"];
        assert_eq!(nearest("mnits", allowed), Some("mnist"));
        assert_eq!(nearest("MNIST", allowed), Some("mnist"));
        assert_eq!(nearest("breast_cancer", allowed), Some("breast-cancer"));
        assert_eq!(nearest("cifar", allowed), None);
        assert_eq!(nearest("vino", allowed), None);
    }

    #[test]
    fn a_misspelled_word_finds_the_nearest_candidate() {
        let words = ["epochs", "max_steps", "batch_size", "cross-entropy"];
        assert_eq!(nearest("epoch", words), Some("epochs"));
        assert_eq!(nearest("ephocs", words), Some("epochs"));
        assert_eq!(nearest("Max-Steps", words), Some("max_steps"));
        assert_eq!(nearest("batch", words), Some("batch_size"));
        assert_eq!(nearest("crossentropy", words), Some("cross-entropy"));
        assert_eq!(nearest("momentum", words), None);
        assert_eq!(nearest("x", words), None);
        assert_eq!(nearest("", words), None);
        assert_eq!(nearest(&"x".repeat(100_000), words), None);
    }
}
