//! A linear least-squares objective and the cost of its derivative, with which GradBench
//! (gradbench.github.io, `llsq`, after cmpad's `llsq_obj`) compares tools.
//!
//! The objective fits a polynomial of `parameters` terms to the sign function at n points from −1
//! to 1:
//!
//! ```text
//! y(x) = ½ Σᵢ (sᵢ − Σⱼ xⱼ·tᵢʲ)²      tᵢ = −1 + 2i/(n − 1),  sᵢ = sign tᵢ
//! ```
//!
//! The differences use the library's public interface for arbitrary functions, so the counts and
//! times are those of any user's function.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::record::StudyRecord;
use super::table::{Table, duration, times, whole};
use super::timing::clocks::repetitions;
use super::{Study, StudyReport, closing};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::gradient::Control;
use crate::gradient::finite_difference::{Differences, Failure};
use crate::model::Objective;
use crate::numeric::statistics::{median, median_ratio};
use crate::numeric::tally::Tally;
use crate::parallel::Workers;
use crate::textbook::counting::{Counted, Number, count, sum};

/// Largest number of derivatives in one sample.
const MOST_RUNS: usize = 1_000_000;

/// The parameters of the study, with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeastSquaresPlan {
    /// Numbers of parameters, ascending.
    pub sizes: Vec<usize>,
    /// Number of points, n.
    pub points: usize,
    /// Number of samples of each time.
    pub repeats: usize,
}

/// One method at one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeastSquaresRow {
    /// `primal`, `by-hand`, `forward-difference` or `central-difference`.
    pub method: String,
    /// Number of parameters, N.
    pub parameters: usize,
    /// Number of points, n.
    pub points: usize,
    /// Number of objective values requested, and the operations in them.
    pub tally: Tally,
    /// Multiplications relative to one value of the objective.
    pub multiplications_to_primal: f64,
    /// Median seconds of the samples.
    pub seconds: f64,
    /// Seconds of each sample.
    pub samples: Vec<f64>,
    /// Seconds of one value of the objective, measured with each sample.
    pub primal_samples: Vec<f64>,
    /// Seconds relative to one value of the objective: the median over the samples.
    pub seconds_to_primal: f64,
}

/// The least-squares objective.
#[derive(Clone, Copy, Debug)]
pub struct LeastSquares {
    /// Number of parameters, N.
    pub parameters: usize,
    /// Number of points, n, at least 2.
    pub points: usize,
}

impl LeastSquares {
    fn point(&self, at: usize) -> f64 {
        -1.0 + 2.0 * at as f64 / (self.points as f64 - 1.0)
    }

    /// Computes sᵢ − Σⱼ xⱼ·tᵢʲ, with one multiplication per power.
    fn residual<N: Number>(&self, x: &[N], at: usize) -> N {
        let t = self.point(at);
        let sign = if t == 0.0 { 0.0 } else { t.signum() };
        let (mut rest, mut power) = (N::of(sign), N::of(1.0));
        for &coefficient in x {
            rest = rest - coefficient * power;
            power = power * N::of(t);
        }
        rest
    }

    /// Computes y(x).
    pub fn of<N: Number>(&self, x: &[N]) -> N {
        let squares = (0..self.points).map(|at| {
            let rest = self.residual(x, at);
            rest * rest
        });
        sum(squares) * N::of(0.5)
    }

    /// Computes ∂y/∂x, `(N,)`, by the hand-derived formula −Σᵢ (sᵢ − …)·tᵢʲ.
    pub fn derivative<N: Number>(&self, x: &[N]) -> Vec<N> {
        let mut gradient = vec![N::of(0.0); x.len()];
        for at in 0..self.points {
            let rest = self.residual(x, at);
            let (t, mut power) = (N::of(self.point(at)), N::of(1.0));
            for partial in &mut gradient {
                *partial = *partial - rest * power;
                power = power * t;
            }
        }
        gradient
    }
}

impl Objective for LeastSquares {
    fn parameters(&self) -> usize {
        self.parameters
    }

    fn value(&self, theta: &[f64]) -> f64 {
        self.of(theta)
    }
}

/// Returns the x at which derivatives are computed: away from the minimum, with distinct
/// coefficients.
pub fn start(parameters: usize) -> Vec<f64> {
    (0..parameters)
        .map(|j| 1.0 / (1.0 + j as f64) - 0.3)
        .collect()
}

/// The methods, in the order of their rows.
const METHODS: [&str; 4] = [
    "primal",
    "by-hand",
    "forward-difference",
    "central-difference",
];

/// The study of the derivative of the least-squares objective.
pub struct LeastSquaresStudy<'a> {
    /// The worker threads.
    pub workers: &'a Workers,
    /// Stops the study, even within a row.
    pub control: &'a Control,
}

impl Study for LeastSquaresStudy<'_> {
    const KIND: &'static str = "llsq";
    const COMMAND: &'static str = "cost";
    type Plan = LeastSquaresPlan;
    type Row = LeastSquaresRow;

    fn config(&self) -> Option<&Config> {
        None
    }

    fn threads(&self, _: &LeastSquaresPlan) -> usize {
        self.workers.threads()
    }

    fn run(
        &mut self,
        plan: &LeastSquaresPlan,
        record: &mut StudyRecord<LeastSquaresRow>,
    ) -> Result<bool> {
        for &parameters in &plan.sizes {
            let problem = LeastSquares {
                parameters,
                points: plan.points,
            };
            for method in METHODS {
                let same =
                    |row: &LeastSquaresRow| row.method == method && row.parameters == parameters;
                if record.rows().iter().any(same) {
                    continue;
                }
                let Some(row) = row(&problem, method, plan, self.workers, self.control)? else {
                    return Ok(false);
                };
                record.push(row)?;
            }
        }
        Ok(true)
    }

    fn line(row: &LeastSquaresRow) -> String {
        format!(
            "N = {}  {}: {}, {} times one value",
            row.parameters,
            row.method,
            duration(row.seconds),
            times(row.seconds_to_primal)
        )
    }

    fn report<'a>(
        &'a self,
        _: &'a LeastSquaresPlan,
        record: &'a StudyRecord<LeastSquaresRow>,
    ) -> impl StudyReport + 'a {
        LeastSquaresReport::new(record.label(), record.rows())
    }
}

/// Computes one row; returns `None` if `control` requested a stop.
fn row(
    problem: &LeastSquares,
    method: &str,
    plan: &LeastSquaresPlan,
    workers: &Workers,
    control: &Control,
) -> Result<Option<LeastSquaresRow>> {
    let x = start(problem.parameters);
    let counted: Vec<Counted> = x.iter().map(|&x| Counted::of(x)).collect();
    let (_, value) = count(|| problem.of(&counted));
    let differences = match method {
        "forward-difference" => Some(Differences::FORWARD),
        "central-difference" => Some(Differences::CENTRAL),
        _ => None,
    };
    // Computes one derivative; returns the number of objective values it requested.
    let derive = || -> std::result::Result<u64, Failure> {
        match (&differences, method) {
            (Some(differences), _) => {
                let uncounted = control.with_new_counter();
                let estimate =
                    differences.gradient_with_control(problem, &x, workers, &uncounted)?;
                std::hint::black_box(&estimate.gradient);
                Ok(uncounted.evaluations())
            }
            (None, "primal") => {
                std::hint::black_box(problem.value(std::hint::black_box(&x)));
                Ok(1)
            }
            (None, _) => {
                std::hint::black_box(problem.derivative(std::hint::black_box(&x[..])));
                Ok(0)
            }
        }
    };
    let start = Instant::now();
    let evaluations = match derive() {
        Ok(evaluations) => evaluations,
        Err(Failure::Stopped { .. }) => return Ok(None),
        Err(other) => return Err(Error::Usage(other.to_string())),
    };
    let runs = repetitions(start.elapsed().as_secs_f64(), MOST_RUNS);
    let start = Instant::now();
    std::hint::black_box(problem.value(&x));
    let primal_runs = repetitions(start.elapsed().as_secs_f64(), MOST_RUNS);
    let (mut samples, mut primal_samples) = (Vec::new(), Vec::new());
    for _ in 0..plan.repeats {
        let start = Instant::now();
        for _ in 0..primal_runs {
            std::hint::black_box(problem.value(std::hint::black_box(&x)));
        }
        primal_samples.push(start.elapsed().as_secs_f64() / primal_runs as f64);
        let start = Instant::now();
        for _ in 0..runs {
            if derive().is_err() {
                return Ok(None);
            }
        }
        samples.push(start.elapsed().as_secs_f64() / runs as f64);
        if control.is_stopped() {
            return Ok(None);
        }
    }
    let mut tally = match method {
        "by-hand" => count(|| problem.derivative(&counted)).1,
        _ => value * evaluations,
    };
    tally.evaluations = evaluations;
    Ok(Some(LeastSquaresRow::new(
        problem,
        method,
        tally,
        &value,
        samples,
        primal_samples,
    )))
}

impl LeastSquaresRow {
    /// Creates the row of a derivative that performs `tally` from its samples and those of the value,
    /// which performs `primal`, beside each.
    fn new(
        problem: &LeastSquares,
        method: &str,
        tally: Tally,
        primal: &Tally,
        samples: Vec<f64>,
        primal_samples: Vec<f64>,
    ) -> Self {
        Self {
            method: method.to_owned(),
            parameters: problem.parameters,
            points: problem.points,
            tally,
            multiplications_to_primal: tally.multiplications as f64 / primal.multiplications as f64,
            seconds: median(&samples).unwrap_or(f64::NAN),
            seconds_to_primal: median_ratio(&samples, &primal_samples).unwrap_or(f64::NAN),
            samples,
            primal_samples,
        }
    }
}

/// The rows with summary sentences.
#[derive(Clone, Debug, Serialize)]
pub struct LeastSquaresReport<'a> {
    /// The study's directory.
    pub study: String,
    /// One row per method and size.
    pub rows: &'a [LeastSquaresRow],
    /// Summary sentences.
    pub findings: Vec<String>,
}

impl<'a> LeastSquaresReport<'a> {
    /// Summarizes `rows`, which are recorded in the directory `study`.
    pub fn new(study: String, rows: &'a [LeastSquaresRow]) -> Self {
        let largest = rows.iter().map(|row| row.parameters).max();
        let find = |method: &str| {
            let wanted =
                |row: &&LeastSquaresRow| row.method == method && Some(row.parameters) == largest;
            rows.iter().find(wanted)
        };
        let mut findings = Vec::new();
        if let (Some(central), Some(by_hand)) = (find("central-difference"), find("by-hand")) {
            findings.push(format!(
                "With {} parameters, central differences evaluate 2N = {} values and take {} times the time of one value; the hand-derived gradient takes {} times.",
                central.parameters,
                central.tally.evaluations,
                times(central.seconds_to_primal),
                times(by_hand.seconds_to_primal),
            ));
        }
        Self {
            study,
            rows,
            findings,
        }
    }

    /// Returns the table with a row per method and size.
    pub fn table(&self) -> Table {
        let mut table = Table::new([
            "derivative",
            "N",
            "values",
            "multiplications",
            "÷ primal",
            "time",
            "÷ primal",
        ]);
        for row in self.rows {
            table.row([
                row.method.clone(),
                whole(row.parameters as u64),
                whole(row.tally.evaluations),
                whole(row.tally.multiplications),
                times(row.multiplications_to_primal),
                duration(row.seconds),
                times(row.seconds_to_primal),
            ]);
        }
        table
    }
}

impl StudyReport for LeastSquaresReport<'_> {
    fn heading(&self) -> String {
        "Cost of a derivative: linear least squares".to_owned()
    }

    fn render(&self, _: &str, table: &dyn Fn(&Table) -> String) -> String {
        format!("{}\n", table(&self.table())) + &closing(&self.findings, &self.study)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hand_derived_gradient_agrees_with_central_differences() {
        let problem = LeastSquares {
            parameters: 6,
            points: 9,
        };
        let x = start(6);
        let workers = Workers::exactly(2).unwrap();
        let estimate = Differences::CENTRAL
            .gradient(&problem, &x, &workers)
            .unwrap();
        let by_hand = problem.derivative(&x);
        assert!(by_hand.iter().any(|g| g.abs() > 0.1));
        for (found, expected) in estimate.gradient.iter().zip(&by_hand) {
            // y is quadratic: no truncation, round-off u·|y|/h with h = 6e-6 and y of order 10.
            assert!((found - expected).abs() <= 1e-9, "{found} for {expected}");
        }
    }

    #[test]
    fn central_differences_take_2n_values_and_forward_differences_n_plus_one() {
        let workers = Workers::exactly(2).unwrap();
        for parameters in [1, 8, 128] {
            let problem = LeastSquares {
                parameters,
                points: 16,
            };
            let plan = LeastSquaresPlan {
                sizes: vec![parameters],
                points: 16,
                repeats: 1,
            };
            let n = parameters as u64;
            for (method, evaluations) in [
                ("primal", 1),
                ("by-hand", 0),
                ("forward-difference", n + 1),
                ("central-difference", 2 * n),
            ] {
                let row = row(&problem, method, &plan, &workers, &Control::default());
                let row = row.unwrap().unwrap();
                assert_eq!(row.tally.evaluations, evaluations, "{method}");
                if evaluations > 0 {
                    assert_eq!(row.multiplications_to_primal, evaluations as f64);
                }
            }
        }
    }

    /// Uneven rounds: the least, median and largest of the seconds and of the ratios all differ.
    #[test]
    fn a_row_has_the_median_of_its_samples_and_of_its_ratios() {
        let problem = LeastSquares {
            parameters: 6,
            points: 9,
        };
        let row = LeastSquaresRow::new(
            &problem,
            "by-hand",
            Tally::multiplications(8),
            &Tally::multiplications(4),
            vec![50.0, 30.0, 10.0, 20.0, 90.0],
            vec![5.0, 10.0, 1.0, 10.0, 10.0],
        );
        assert_eq!(row.multiplications_to_primal, 2.0);
        assert_eq!(row.seconds, 30.0);
        // 10, 3, 10, 2 and 9.
        assert_eq!(row.seconds_to_primal, 9.0);
    }

    #[test]
    fn the_hand_derived_gradient_takes_twice_the_multiplications_of_a_value() {
        let problem = LeastSquares {
            parameters: 128,
            points: 64,
        };
        let x: Vec<Counted> = start(128).into_iter().map(Counted::of).collect();
        let (_, value) = count(|| problem.of(&x));
        let (_, derivative) = count(|| problem.derivative(&x));
        assert_eq!(value.multiplications, 64 * (2 * 128 + 1) + 1);
        assert_eq!(derivative.multiplications, 64 * 4 * 128);
    }
}
