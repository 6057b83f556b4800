//! The stream of commands: read from JSON lines, and made longer when more are wanted. Nothing is handled here.

use std::io::BufRead;

use serde::{Deserialize, Serialize};

/// How many copies of the file go on at the same time, so that many todos are under way at once.
const ABREAST: usize = 64;

/// One line of input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Command {
    Create { id: String, title: String },
    Rename { id: String, title: String },
    Complete { id: String },
}

impl Command {
    /// The command's name, as handlers know it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "todo.create",
            Self::Rename { .. } => "todo.rename",
            Self::Complete { .. } => "todo.complete",
        }
    }

    /// Which todo it is about.
    pub(crate) fn todo(&self) -> &str {
        match self {
            Self::Create { id, .. } | Self::Rename { id, .. } | Self::Complete { id } => id,
        }
    }

    /// The same for another todo.
    fn about(&self, todo: String) -> Self {
        match self.clone() {
            Self::Create { title, .. } => Self::Create { id: todo, title },
            Self::Rename { title, .. } => Self::Rename { id: todo, title },
            Self::Complete { .. } => Self::Complete { id: todo },
        }
    }
}

/// The input is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("{name}: {source}")]
    Unreadable { name: String, source: std::io::Error },
    #[error("{name}, line {line}: {source}")]
    Line {
        name: String,
        line: usize,
        source: serde_json::Error,
    },
    #[error("{name}: there is no command in it")]
    Empty { name: String },
}

/// Reads commands up to the end; blank lines and lines that start with `#` are skipped.
pub(crate) fn read(name: &str, lines: impl BufRead) -> Result<Vec<Command>, InputError> {
    let name = || name.to_owned();
    let mut commands = Vec::new();
    for (text, line) in lines.lines().zip(1..) {
        let text = text.map_err(|source| InputError::Unreadable { name: name(), source })?;
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let command = serde_json::from_str(text).map_err(|source| InputError::Line {
            name: name(),
            line,
            source,
        })?;
        commands.push(command);
    }
    if commands.is_empty() {
        return Err(InputError::Empty { name: name() });
    }
    Ok(commands)
}

/// Exactly `count` commands: `base` over and over, each time about todos of its own, many copies abreast in an
/// order that `random` decides. The commands of one todo keep their order.
pub(crate) fn extend(base: &[Command], count: usize, random: &mut Random) -> Vec<Command> {
    // In no name yet, so that no two copies of anything meet.
    let mut dash = String::from("-");
    while base.iter().any(|command| command.todo().contains(&dash)) {
        dash.push('-');
    }
    let name = |command: &Command, copy: usize| match copy {
        0 => command.todo().to_owned(),
        _ => format!("{}{dash}{copy}", command.todo()),
    };
    let mut commands = Vec::with_capacity(count);
    let copies: Vec<usize> = (0..count.div_ceil(base.len().max(1))).collect();
    for abreast in copies.chunks(ABREAST) {
        for command in base {
            let mut copies = abreast.to_vec();
            random.shuffle(&mut copies);
            commands.extend(copies.into_iter().map(|copy| command.about(name(command, copy))));
        }
    }
    commands.truncate(count);
    commands
}

/// `SplitMix64`: the same seed, the same run.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `bound`, which must not be zero.
    pub(crate) const fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z >> 33) as usize) % bound
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SHIPPED: &str = include_str!("../todos.jsonl");

    #[test]
    fn a_bad_line_is_named_with_its_number() {
        let text =
            "\n# note\n{\"command\":\"complete\",\"id\":\"a\"}\n{\"command\":\"remove\",\"id\":\"a\"}\n";
        let error = read("my.jsonl", text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("my.jsonl, line 4: "), "{error}");
        assert!(error.contains("remove") && error.contains("create"), "{error}");
    }

    #[test]
    fn input_without_commands_is_refused() {
        assert!(read("-", "\n# nothing\n".as_bytes()).is_err());
    }

    #[test]
    fn more_commands_are_about_more_todos_each_in_the_order_of_the_file() {
        let base = read("todos.jsonl", SHIPPED.as_bytes()).unwrap();
        let long = extend(&base, 4_000, &mut Random(7));
        assert_eq!(long.len(), 4_000);
        assert_eq!(long, extend(&base, 4_000, &mut Random(7)));
        let mut begun = HashSet::new();
        for command in &long {
            let new = begun.insert(command.todo());
            assert_eq!(new, matches!(command, Command::Create { .. }), "{command:?}");
        }
    }

    #[test]
    fn a_name_that_the_file_has_already_is_not_given_to_a_copy() {
        let create = |id: &str| Command::Create {
            id: id.into(),
            title: String::new(),
        };
        let long = extend(&[create("a"), create("a-1"), create("a--")], 300, &mut Random(1));
        let names: HashSet<&str> = long.iter().map(Command::todo).collect();
        assert_eq!(names.len(), 300, "{names:?}");
    }
}
