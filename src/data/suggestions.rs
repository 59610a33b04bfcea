//! "Did you mean": the allowed name nearest to a misspelled one.

/// The name of `allowed` that `found` was probably meant to be, if one is near enough: at most two
/// edits away (one for names of up to four letters), or alike but for letter case.
pub fn nearest<'a>(found: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = found.to_lowercase();
    let edits = if found.chars().count() <= 4 { 1 } else { 2 };
    allowed
        .into_iter()
        .map(|name| {
            let distance = strsim::damerau_levenshtein(&folded, &name.to_lowercase());
            (distance, name)
        })
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
}
