//! Breadth-first search over the states of a machine. What a state means is not known here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

/// Something with states and steps between them.
pub trait Machine {
    /// Where it can be.
    type State: Clone;
    /// What can happen.
    type Step: Copy;

    /// Where it begins.
    fn initial(&self) -> Self::State;

    /// A name of the state. States with the same name are taken for one, so what differs in what it can do
    /// next must differ in its name.
    fn key(&self, state: &Self::State) -> u128;

    /// Everything that can happen next.
    fn steps(&self, state: &Self::State, steps: &mut Vec<Self::Step>);

    /// What comes of a step, or what is wrong with it.
    fn take(&self, state: &Self::State, step: Self::Step) -> Result<Self::State, String>;
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// States that are different.
    pub states: usize,
    /// Steps between them.
    pub transitions: usize,
    /// How many steps the farthest state is away.
    pub depth: usize,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states, {} transitions, depth {}",
            self.states, self.transitions, self.depth
        )
    }
}

/// A shortest history that ends with what was looked for.
#[derive(Clone, Debug)]
pub struct Found<S> {
    /// What is wrong, or was wanted.
    pub what: String,
    /// How it comes to that, from the beginning. No history is shorter.
    pub history: Vec<S>,
    /// What was looked at before.
    pub explored: Explored,
}

/// Goes through all states; stops at the first step that is wrong, or that `wanted` names.
///
/// # Errors
/// [`Found`], with a shortest history: steps are tried in the order of their distance from the beginning.
pub fn search<M: Machine>(
    machine: &M,
    mut wanted: impl FnMut(&M::State, M::Step, &M::State) -> Option<String>,
) -> Result<Explored, Found<M::Step>> {
    let initial = machine.initial();
    // Each state that was seen: which one it was first reached from, and how.
    let mut origins: Vec<Option<(usize, M::Step)>> = vec![None];
    let mut numbers = HashMap::from([(machine.key(&initial), 0)]);
    let mut layer = vec![(0, initial)];
    let mut explored = Explored {
        states: 1,
        ..Explored::default()
    };
    let mut steps = Vec::new();
    while !layer.is_empty() {
        let mut next_layer = Vec::new();
        for (number, state) in &layer {
            steps.clear();
            machine.steps(state, &mut steps);
            for &step in &steps {
                explored.transitions += 1;
                let taken = machine.take(state, step);
                let found = match &taken {
                    Ok(next) => wanted(state, step, next),
                    Err(what) => Some(what.clone()),
                };
                if let Some(what) = found {
                    let history = history(&origins, *number, step);
                    return Err(Found {
                        what,
                        history,
                        explored,
                    });
                }
                let Ok(next) = taken else { continue };
                if let Entry::Vacant(vacant) = numbers.entry(machine.key(&next)) {
                    vacant.insert(origins.len());
                    next_layer.push((origins.len(), next));
                    origins.push(Some((*number, step)));
                }
            }
        }
        explored.states = origins.len();
        explored.depth += usize::from(!next_layer.is_empty());
        layer = next_layer;
    }
    Ok(explored)
}

/// The steps that led to `last`, and `last`.
fn history<S: Copy>(origins: &[Option<(usize, S)>], mut at: usize, last: S) -> Vec<S> {
    let mut steps = vec![last];
    while let Some((before, step)) = origins[at] {
        steps.push(step);
        at = before;
    }
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two jars of 3 and 5 litres.
    struct Jars;

    impl Machine for Jars {
        type State = (u128, u128);
        type Step = &'static str;

        fn initial(&self) -> (u128, u128) {
            (0, 0)
        }
        fn key(&self, (small, large): &(u128, u128)) -> u128 {
            small * 10 + large
        }
        fn steps(&self, _: &(u128, u128), steps: &mut Vec<&'static str>) {
            steps.extend(["fill 3", "fill 5", "empty 3", "empty 5", "3 to 5", "5 to 3"]);
        }
        fn take(&self, &(small, large): &(u128, u128), step: &'static str) -> Result<(u128, u128), String> {
            Ok(match step {
                "fill 3" => (3, large),
                "fill 5" => (small, 5),
                "empty 3" => (0, large),
                "empty 5" => (small, 0),
                "3 to 5" => (small - small.min(5 - large), large + small.min(5 - large)),
                _ => (small + large.min(3 - small), large - large.min(3 - small)),
            })
        }
    }

    #[test]
    fn all_states_are_seen_once_and_the_history_is_the_shortest() {
        let explored = search(&Jars, |_, _, _| None).unwrap();
        assert_eq!((explored.states, explored.transitions), (16, 96));
        let four = search(&Jars, |_, _, (_, large)| {
            (*large == 4).then(|| String::from("four"))
        });
        let history = four.unwrap_err().history;
        assert_eq!(
            history,
            ["fill 5", "5 to 3", "empty 3", "5 to 3", "fill 5", "5 to 3"]
        );
    }
}
