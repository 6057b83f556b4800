//! Figures held against a budget: what grows by more than a tenth fails, so that it is noticed when it happens and not
//! when the flash is full or the service is slow.

use std::fmt::Write;
use std::path::Path;

/// What a figure may be over its budget, in percent.
const SLACK: u64 = 10;

/// A name and a number.
pub(crate) type Figure = (String, u64);

/// The figures that a program printed, one a line: two words and a number.
pub(crate) fn printed(text: &str) -> Vec<Figure> {
    let figure = |line: &str| {
        let (name, number) = line.trim().rsplit_once(' ')?;
        Some((name.to_owned(), number.parse().ok()?))
    };
    text.lines().filter_map(figure).collect()
}

/// Compares figures with the budget in a file; the table, or which are over it.
pub(crate) fn check(budget: &Path, figures: &[Figure]) -> Result<String, String> {
    let text = std::fs::read_to_string(budget).map_err(|error| format!("{}: {error}", budget.display()))?;
    compare(&printed(&text), figures)
}

fn compare(budget: &[Figure], figures: &[Figure]) -> Result<String, String> {
    let mut table = format!("{:<34} {:>9} {:>9}\n", "", "measured", "budget");
    let mut over = Vec::new();
    for (name, measured) in figures {
        let allowed = budget.iter().find(|(known, _)| known == name);
        let allowed = allowed.map_or(0, |(_, allowed)| *allowed);
        let _ = writeln!(table, "{name:<34} {measured:>9} {allowed:>9}");
        if *measured * 100 > allowed * (100 + SLACK) {
            over.push(name.as_str());
        }
    }
    if over.is_empty() {
        return Ok(table);
    }
    Err(format!(
        "{table}more than {SLACK} % over budget.txt, or not in it: {}",
        over.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(measured: u64) -> Vec<Figure> {
        vec![(String::from("tasks text"), measured)]
    }

    #[test]
    fn a_tenth_over_the_budget_is_allowed_and_no_more() {
        assert!(compare(&figures(1_000), &figures(1_100)).is_ok());
        assert!(compare(&figures(1_000), &figures(1_101)).is_err());
    }

    #[test]
    fn a_figure_without_a_budget_is_refused() {
        let why = compare(&[], &figures(1)).unwrap_err();
        assert!(why.contains("tasks text"), "{why}");
    }

    #[test]
    fn figures_are_read_from_lines() {
        let read = printed("mps2: all is well\ninstructions enqueue 12\n\nbytes future 7\n");
        let names: Vec<_> = read
            .iter()
            .map(|(name, number)| (name.as_str(), *number))
            .collect();
        assert_eq!(names, [("instructions enqueue", 12), ("bytes future", 7)]);
    }
}
