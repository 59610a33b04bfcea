//! `nplus1 check --program`: is the gradient of a program's function right?

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use crate::cli::arguments::{CheckArguments, Global};
use crate::cli::gradient_progress::GradientProgress;
use crate::cli::output::{Messages, show};
use crate::cli::page;
use crate::cli::programs::{EvaluationCounts, Opened, open, warn_of_contradiction};
use crate::error::{Error, InputError, Result};
use crate::format::file::write_atomically;
use crate::format::vector;
use crate::gradient::finite_difference::failure::{EvaluationPoint, Failure};
use crate::gradient_check::{Comparison, DirectionsCheck, ObjectiveCheck, Verdict};
use crate::model::Objective;
use crate::open::file_type;
use crate::report::date;
use crate::report::function_check::{self, ComparedElement, DifferenceCurve};
use crate::run::json;

/// The number of parameters up to which each is compared by itself.
const EACH: usize = 256;
/// The number of random directions.
const DIRECTIONS: u32 = 20;
/// About how many evaluations measure the noise and show the remainder, for the progress display.
const MEASURING: u64 = 17;
/// The probability of missing an error of a tenth of the gradient above which nothing is said.
const TELLING: f64 = 1e-3;
/// The errors, relative to the gradient, whose probability of being missed is printed.
const SIZES: [f64; 4] = [1e-1, 1e-2, 1e-4, 1e-6];
/// The number of elements whose differences over h a page shows.
const CURVES: usize = 3;
/// The largest number of wrong elements that are printed as text.
const PRINTED: usize = 20;

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Right,
    Wrong,
    CannotTell,
}

/// The probability of missing an error.
#[derive(Clone, Copy, Debug, Serialize)]
struct MissedError {
    /// The size of the error, relative to the gradient.
    relative_error: f64,
    probability: f64,
}

/// The result of the command.
#[derive(Debug, Serialize)]
struct ProgramCheckReport {
    program: String,
    parameters: usize,
    loss: f64,
    /// The standard deviation of the loss's noise.
    noise: f64,
    deterministic: bool,
    verdict: Answer,
    /// `elements` or `directions`.
    compared: &'static str,
    directions: Option<usize>,
    missed: Vec<MissedError>,
    /// The orders at which Taylor's first-order remainder falls along a random direction, from the
    /// first distance to the last that is not hidden by noise: 2 if the gradient is right, 1 if it is
    /// wrong along the direction.
    taylor_orders: Vec<f64>,
    /// The largest error that may have been overlooked in an element.
    smallest_error: Option<f64>,
    /// The elements that are wrong.
    wrong: Vec<ComparedElement>,
    /// Whether these are all; with directions, the search may end before.
    complete: bool,
    /// All elements, for a page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    elements: Vec<ComparedElement>,
    /// Differences of the worst elements over h, for a page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    curves: Vec<DifferenceCurve>,
    /// The element that is nearest to its bound, or whose bound hides most.
    worst: Option<ComparedElement>,
    /// What would let the check tell.
    help: Option<String>,
    evaluations: EvaluationCounts,
}

/// Checks the gradient that the arguments name, and prints the verdict.
///
/// # Errors
/// [`Error::CheckFailed`] if it is wrong; arguments, θ or answers that are refused; an
/// interruption.
pub(super) fn run(
    command: &str,
    arguments: &CheckArguments,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    let against = match &arguments.against {
        Some(path) => Some(vector::load(path)?),
        None => None,
    };
    let files = arguments.html.clone().map(page_files).transpose()?;
    let opened = open(
        command,
        &arguments.options,
        None,
        "check",
        (global, messages),
    )?;
    let gradient = gradient(&opened, against)?;
    let parameters = opened.theta.len();
    let parts = directions(parameters, arguments).unwrap_or(parameters) as u64;
    let planned = 6 * parts + MEASURING;
    let progress = GradientProgress::start(global, opened.program.control(), planned);
    let mut report = opened.conclude(check(&opened, &gradient, arguments))?;
    drop(progress);
    report.deterministic = warn_of_contradiction(&opened.program, messages);
    report.program = command.to_owned();
    report.evaluations = EvaluationCounts::of(&opened.program);
    if let Some((page, numbers)) = files {
        write_atomically(&numbers, json::document(&report).as_bytes())?;
        let text = function_check::render(&numbers, &date::today())?;
        write_atomically(&page, text.as_bytes())?;
        messages.note(format_args!("page: {}", page.display()));
    }
    show(&report, text, global, out)?;
    let names: Vec<&str> = report.wrong.iter().map(|element| &*element.name).collect();
    let failed = match report.verdict {
        Answer::Wrong if names.is_empty() => Some("the gradient is wrong".to_owned()),
        Answer::Wrong => Some(format!("the gradient is wrong in {}", list(&names))),
        Answer::Right | Answer::CannotTell => None,
    };
    opened.program.finish();
    failed.map_or(Ok(()), |message| Err(Error::CheckFailed(message)))
}

/// Returns the path of the page and that of the numbers beside it, which are free or from a check.
fn page_files(page: PathBuf) -> Result<(PathBuf, PathBuf)> {
    let numbers = page.with_extension("json");
    if numbers == page {
        return Err(Error::Usage(format!(
            "--html {}: the numbers go to a file of this name\n  help: name the page check.html",
            page.display()
        )));
    }
    if file_type(&numbers)?.is_some() {
        function_check::check(&numbers)?;
    }
    Ok((page::target(page)?, numbers))
}

/// Returns the gradient to be checked: from a file, or the program's own.
fn gradient(opened: &Opened, against: Option<Vec<f64>>) -> Result<Vec<f64>> {
    let theta = &opened.theta;
    let gradient = match against {
        Some(gradient) => gradient,
        None => {
            let answered = opened.program.evaluate(theta, true);
            let answered = answered.map_err(|message| Failure::Function {
                message,
                place: EvaluationPoint::Theta,
            });
            opened.conclude(answered)?.gradient.unwrap_or_default()
        }
    };
    if gradient.len() == theta.len() {
        return Ok(gradient);
    }
    Err(InputError::GradientLength {
        gradient: gradient.len(),
        theta: theta.len(),
    }
    .into())
}

/// Returns the number of random directions along which `parameters` are compared; `None` if each is
/// compared by itself.
fn directions(parameters: usize, arguments: &CheckArguments) -> Option<usize> {
    let each = arguments.full || (arguments.directions.is_none() && parameters <= EACH);
    (!each).then(|| arguments.directions.unwrap_or(DIRECTIONS) as usize)
}

fn check(
    opened: &Opened,
    gradient: &[f64],
    arguments: &CheckArguments,
) -> Result<ProgramCheckReport, Failure> {
    let (program, theta) = (&opened.program, &opened.theta[..]);
    let check = ObjectiveCheck::new(program, theta, gradient, program.threads())?;
    let mut report = ProgramCheckReport {
        program: String::new(),
        parameters: theta.len(),
        loss: check.value,
        noise: check.noise.deviation,
        deterministic: true,
        verdict: Answer::Right,
        compared: "elements",
        directions: None,
        missed: Vec::new(),
        taylor_orders: Vec::new(),
        smallest_error: None,
        wrong: Vec::new(),
        complete: true,
        elements: Vec::new(),
        curves: Vec::new(),
        worst: None,
        help: None,
        evaluations: EvaluationCounts::of(program),
    };
    if let Some(count) = directions(theta.len(), arguments) {
        let found = check.directions(count)?;
        report.conclude_directions(program, &found);
    } else {
        let derivatives = check.derivatives()?;
        report.conclude_elements(program, check.verdict(&derivatives));
        if arguments.html.is_some() {
            let compared = check.comparisons(&derivatives);
            report.elements = compared
                .iter()
                .map(|c| self::compared(program, c))
                .collect();
        }
    }
    if arguments.html.is_some() {
        report.add_curves(&check)?;
    }
    // The function may end along that line; the verdict does not need it.
    match check.taylor_remainders() {
        Ok(remainders) => report.taylor_orders = remainders.orders(),
        Err(Failure::NotFinite { .. } | Failure::Function { .. }) => {}
        Err(failure) => return Err(failure),
    }
    program.revisit().map_err(|message| Failure::Function {
        message,
        place: EvaluationPoint::Theta,
    })?;
    Ok(report)
}

impl ProgramCheckReport {
    fn conclude_elements(&mut self, program: &dyn Objective, verdict: Verdict) {
        self.help = verdict.help();
        match verdict {
            Verdict::Right {
                worst,
                smallest_error,
            } => {
                self.smallest_error = Some(smallest_error);
                self.worst = Some(compared(program, &worst));
            }
            Verdict::Wrong {
                worst, elements, ..
            } => {
                self.verdict = Answer::Wrong;
                self.worst = Some(compared(program, &worst));
                self.wrong = elements
                    .iter()
                    .map(|element| compared(program, element))
                    .collect();
            }
            Verdict::CannotTell {
                worst,
                noise,
                smallest_error,
                ..
            } => {
                self.verdict = Answer::CannotTell;
                self.noise = noise;
                self.smallest_error = Some(smallest_error);
                self.worst = Some(compared(program, &worst));
            }
        }
    }

    /// Adds the differences over h of the elements that are farthest from theirs, in bounds.
    fn add_curves(&mut self, check: &ObjectiveCheck<'_>) -> Result<(), Failure> {
        let compared = match &self.elements[..] {
            [] => &self.wrong,
            _ => &self.elements,
        };
        let mut worst = compared.clone();
        worst.sort_by(|one, other| other.bounds.total_cmp(&one.bounds));
        for element in worst.into_iter().take(CURVES) {
            let points = check.central_differences(element.index)?;
            self.curves.push(DifferenceCurve { element, points });
        }
        Ok(())
    }

    fn conclude_directions(&mut self, program: &dyn Objective, found: &DirectionsCheck) {
        self.compared = "directions";
        self.directions = Some(found.directions.len());
        let missed = |relative_error| MissedError {
            relative_error,
            probability: found.miss_probability(relative_error),
        };
        self.missed = SIZES.map(missed).to_vec();
        self.wrong = found
            .wrong
            .iter()
            .map(|element| compared(program, element))
            .collect();
        self.complete = found.complete;
        if !found.agrees() || !found.wrong.is_empty() {
            self.verdict = Answer::Wrong;
        } else if self.missed[0].probability > TELLING {
            self.verdict = Answer::CannotTell;
            self.help = Some(
                "less noise in the function, or --full, which compares each element by itself"
                    .to_owned(),
            );
        }
    }
}

fn compared(program: &dyn Objective, compared: &Comparison) -> ComparedElement {
    ComparedElement {
        index: compared.index,
        name: program.name(compared.index),
        theirs: compared.theirs,
        ours: compared.ours,
        bound: compared.bound,
        visible: compared.visible,
        bounds: compared.bounds(),
    }
}

/// Joins names, at most five of them.
fn list(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

fn text(report: &ProgramCheckReport) -> String {
    let mut text = String::new();
    let mut write = |line: String| {
        writeln!(text, "{line}").expect("a string takes all that is written");
    };
    write(format!("program      {}", report.program));
    write(format!("parameters   {}", report.parameters));
    write(format!("loss         {:?}", report.loss));
    write(format!(
        "noise        {:.1e}, the deviation of the loss near θ",
        report.noise
    ));
    write(format!(
        "compared     {}",
        match report.directions {
            None => "every element with an extrapolated central difference".to_owned(),
            Some(count) => format!("{count} random directions"),
        }
    ));
    write(format!("evaluations  {}", report.evaluations));
    write(format!("remainder    {}", taylor(&report.taylor_orders)));
    for missed in &report.missed {
        write(format!(
            "             an error of {:.0e} of the gradient is missed with probability {:.0e}",
            missed.relative_error, missed.probability
        ));
    }
    let width = report
        .wrong
        .iter()
        .take(PRINTED)
        .map(|element| element.name.chars().count());
    let width = width.max().unwrap_or(0).max(9);
    if !report.wrong.is_empty() {
        write(format!(
            "  {:<width$}  {:>14}  {:>14}  {:>14}",
            "parameter", "theirs", "ours", "in bounds"
        ));
    }
    for element in report.wrong.iter().take(PRINTED) {
        write(format!(
            "  {:<width$}  {:>14.7e}  {:>14.7e}  {:>14.1e}",
            element.name, element.theirs, element.ours, element.bounds
        ));
    }
    if report.wrong.len() > PRINTED {
        write(format!(
            "  … {} more: --json has all",
            report.wrong.len() - PRINTED
        ));
    }
    write(format!("verdict      {}", verdict(report)));
    if let Some(help) = &report.help {
        write(format!("what helps   {help}"));
    }
    text
}

/// Describes the orders of Taylor's remainder.
fn taylor(orders: &[f64]) -> String {
    let orders: Vec<String> = orders.iter().map(|order| format!("{order:.2}")).collect();
    let found = if orders.is_empty() {
        "is within the noise".to_owned()
    } else {
        format!("falls with order {}", orders.join(", "))
    };
    format!("{found} along a random direction (2 if the gradient is right; else it goes to 1)")
}

fn verdict(report: &ProgramCheckReport) -> String {
    let smallest = report.smallest_error.unwrap_or_default();
    match (report.verdict, &report.worst) {
        (Answer::Right, Some(_)) => {
            format!("right: an error above {smallest:.1e} in any element would have been seen")
        }
        (Answer::Right, None) => "right, but for errors that all directions miss".to_owned(),
        (Answer::CannotTell, Some(worst)) => format!(
            "cannot tell: in {}, {:e}, only an error above {smallest:.1e} can be seen",
            worst.name, worst.theirs
        ),
        (Answer::CannotTell, None) => {
            "cannot tell: an error of a tenth of the gradient could be missed".to_owned()
        }
        (Answer::Wrong, _) => {
            let count = report.wrong.len();
            let elements = if count == 1 { "element" } else { "elements" };
            let more = if report.complete { "" } else { ", and more" };
            format!("WRONG: {count} {elements}{more} of {}", report.parameters)
        }
    }
}
