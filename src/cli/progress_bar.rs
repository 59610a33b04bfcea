//! The progress bar, and the choice between it and plain lines.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::arguments::{Global, ProgressMode};

/// The bar of work with a known end. Only the message, which comes last and is cut, depends on the
/// width of the terminal: a line that wraps would stay there whenever the bar is drawn again.
const WITH_END: &str = "{bar:10} {percent:>3} %, {eta} left  {wide_msg}";
/// The bar of work without a known end.
const WITHOUT_END: &str = "{spinner} {elapsed}  {wide_msg}";

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressForm {
    /// As a bar that is drawn again and again.
    Bar,
    /// As lines.
    Lines,
    /// Not at all.
    Hidden,
}

impl ProgressForm {
    /// Returns the form that the global options and the terminal ask for.
    pub fn new(global: &Global) -> Self {
        let terminal = std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        match global.progress {
            _ if global.quiet => Self::Hidden,
            ProgressMode::None => Self::Hidden,
            ProgressMode::Auto | ProgressMode::Bar if terminal => Self::Bar,
            _ => Self::Lines,
        }
    }
}

/// Makes a bar on standard error for `total` units of work, if their number is known.
pub fn progress_bar(total: Option<u64>) -> ProgressBar {
    let template = if total.is_some() {
        WITH_END
    } else {
        WITHOUT_END
    };
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(template).expect("the templates are valid"));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_of_the_bar_that_is_never_cut_fits_a_narrow_terminal() {
        // As wide as each placeholder can be: `12m` is a time, `100` a percentage.
        for template in [WITH_END, WITHOUT_END] {
            let fixed = (template.replace("{bar:10}", &"=".repeat(10)))
                .replace("{percent:>3}", "100")
                .replace("{eta}", "123h")
                .replace("{elapsed}", "123h")
                .replace("{spinner}", "-");
            let fixed = fixed
                .strip_suffix("{wide_msg}")
                .expect("the message is last");
            assert!(!fixed.contains('{') && fixed.len() <= 40, "{fixed}");
        }
    }
}
