//! Contenders in turn, round after round: a machine that is slow for a while is slow for all of them, so that ratios hold
//! where absolute times do not.

use std::fmt::Display;
use std::time::Instant;

use crate::{Failure, Figures};

/// Something to be measured: a name, and a run that returns its figure.
pub struct Contender<'a> {
    name: String,
    run: Box<dyn FnMut() -> Result<f64, Failure> + 'a>,
}

impl<'a> Contender<'a> {
    /// A contender whose `run` measures itself once.
    pub fn new(name: impl Into<String>, run: impl FnMut() -> Result<f64, Failure> + 'a) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

impl std::fmt::Debug for Contender<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contender")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Gives each contender its turn, `rounds` times, and writes the median of each under `row`; for each but the first also
/// the median of its ratios to the first **of the same round**, in a column `name / first`. One round more comes first
/// and does not count.
///
/// # Errors
/// Whatever a contender fails with; nothing is written then.
///
/// ```
/// use postbox_benches::{Contender, Figures, side_by_side};
///
/// let contenders = vec![Contender::new("ours", || Ok(30.0)), Contender::new("theirs", || Ok(60.0))];
/// let medians = side_by_side(&mut Figures::silent(), "join", 8, 3, contenders)?;
/// assert_eq!(medians, [30.0, 60.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn side_by_side(
    figures: &mut Figures,
    table: impl Display,
    row: impl Display,
    rounds: usize,
    mut contenders: Vec<Contender<'_>>,
) -> Result<Vec<f64>, Failure> {
    let mut values = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for (contender, values) in contenders.iter_mut().zip(&mut values) {
            let value = (contender.run)()?;
            if round > 0 {
                values.push(value);
            }
        }
    }
    let mut medians = Vec::new();
    for (contender, own) in contenders.iter().zip(&values) {
        let median = quantile(&mut own.clone(), 0.5);
        figures.add(&table, &row, &contender.name, median)?;
        medians.push(median);
    }
    let (Some(first), Some(base)) = (contenders.first(), values.first()) else {
        return Ok(medians);
    };
    for (contender, own) in contenders.iter().zip(&values).skip(1) {
        let mut ratios: Vec<f64> = own.iter().zip(base).map(|(own, base)| own / base).collect();
        let column = format!("{} / {}", contender.name, first.name);
        figures.add(&table, &row, column, quantile(&mut ratios, 0.5))?;
    }
    Ok(medians)
}

/// The value below which this share of them lies, 0 to 1; sorts them. 0 when there are none.
///
/// ```
/// assert_eq!(postbox_benches::quantile(&mut [3.0, 1.0, 2.0], 0.5), 2.0);
/// ```
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a position among at most some millions of values"
    )]
    let at = (last as f64 * share).round() as usize;
    values.get(at).copied().unwrap_or_default()
}

/// How long `work` takes, divided by what it did.
///
/// ```
/// let (sum, each) = postbox_benches::nanoseconds(1_000, || (0..1_000_u64).sum::<u64>());
/// assert_eq!(sum, 499_500);
/// assert!(each >= 0.0);
/// ```
pub fn nanoseconds<T>(units: u64, work: impl FnOnce() -> T) -> (T, f64) {
    let started = Instant::now();
    let done = work();
    #[allow(
        clippy::cast_precision_loss,
        reason = "durations of benchmarks and counts of messages"
    )]
    let each = started.elapsed().as_nanos() as f64 / units as f64;
    (done, each)
}
