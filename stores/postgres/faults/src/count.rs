//! What was committed against what was delivered: the checks, and the table. Runs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A committed message: its id, its key, and its number within the key in commit order.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) number: i64,
}

/// One line of the table.
#[derive(Debug, Default)]
pub(crate) struct Count {
    pub(crate) name: &'static str,
    pub(crate) messages: usize,
    pub(crate) faults: usize,
    pub(crate) lost: usize,
    /// Delivered, but not committed.
    pub(crate) phantoms: usize,
    pub(crate) duplicates: usize,
    /// The most duplicates that the faults account for.
    pub(crate) allowed: usize,
    pub(crate) disordered: usize,
    /// Leases that overlapped, in the database's time.
    pub(crate) overlaps: usize,
}

impl Count {
    pub(crate) fn of(name: &'static str, facts: &[Fact], delivered: &[String]) -> Self {
        let mut first = BTreeMap::new();
        for (at, id) in delivered.iter().enumerate() {
            first.entry(id.as_str()).or_insert(at);
        }
        let committed: BTreeSet<&str> = facts.iter().map(|fact| fact.id.as_str()).collect();
        let mut keys: BTreeMap<&str, Vec<(i64, usize)>> = BTreeMap::new();
        for fact in facts {
            if let Some(at) = first.get(fact.id.as_str()) {
                keys.entry(&fact.key).or_default().push((fact.number, *at));
            }
        }
        let mut disordered = 0;
        for places in keys.values_mut() {
            places.sort_unstable();
            disordered += places
                .windows(2)
                .filter(|pair| matches!(pair, [a, b] if a.1 > b.1))
                .count();
        }
        Self {
            name,
            messages: facts.len(),
            lost: committed.iter().filter(|id| !first.contains_key(*id)).count(),
            phantoms: first.keys().filter(|id| !committed.contains(*id)).count(),
            duplicates: delivered.len() - first.len(),
            allowed: usize::MAX,
            disordered,
            ..Self::default()
        }
    }

    pub(crate) const fn is_good(&self) -> bool {
        self.messages > 0
            && self.lost == 0
            && self.phantoms == 0
            && self.duplicates <= self.allowed
            && self.disordered == 0
            && self.overlaps == 0
    }
}

/// All lines, as Markdown.
pub(crate) struct Table<'a>(pub(crate) &'a [Count]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| what happens | messages | faults | lost | not committed | duplicates | order violations | overlaps |"
        )?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|---:|")?;
        for c in self.0 {
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} | {} |",
                c.name, c.messages, c.faults, c.lost, c.phantoms, c.duplicates, c.disordered, c.overlaps
            )?;
        }
        let sum = |of: fn(&Count) -> usize| self.0.iter().map(of).sum::<usize>();
        let (messages, lost) = (sum(|c| c.messages), sum(|c| c.lost + c.phantoms));
        write!(
            f,
            "committed {messages} = published {}, lost {lost}, duplicates {}, violations {}",
            messages - sum(|c| c.lost),
            sum(|c| c.duplicates),
            sum(|c| c.disordered + c.overlaps)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Vec<Fact> {
        let fact = |(id, key, number): (&str, &str, i64)| Fact {
            id: id.into(),
            key: key.into(),
            number,
        };
        [("a1", "a", 1), ("b1", "b", 1), ("a2", "a", 2)]
            .map(fact)
            .to_vec()
    }

    fn count(delivered: &[&str]) -> Count {
        let delivered: Vec<String> = delivered.iter().map(|id| (*id).to_owned()).collect();
        Count::of("test", &facts(), &delivered)
    }

    #[test]
    fn what_is_lost_made_up_twice_or_out_of_order_is_counted() {
        assert!(count(&["a1", "a2", "b1"]).is_good());
        assert!(
            count(&["a1", "a2", "b1", "a1"]).is_good(),
            "a late duplicate is not out of order"
        );
        assert_eq!(count(&["a1", "a2", "b1", "a1"]).duplicates, 1);
        assert_eq!(count(&["a1", "a2"]).lost, 1);
        assert_eq!(count(&["a1", "a2", "b1", "c"]).phantoms, 1);
        assert_eq!(count(&["a2", "b1", "a1"]).disordered, 1);
        assert!(!Count::of("nothing", &[], &[]).is_good());
    }
}
