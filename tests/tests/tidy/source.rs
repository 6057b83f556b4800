//! The files of the repository, and Rust code with comments, literals or tests blanked out line for line.

use std::fs;
use std::iter::repeat_n;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One text file; the path is relative to the repository, with `/`.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// Compiled for tests only, as a file of its own.
    pub(crate) test_only: bool,
}

/// The repository on disk.
#[derive(Debug)]
pub(crate) struct Repository {
    root: PathBuf,
}

impl Repository {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// The file at `path`; empty when it cannot be read as text.
    pub(crate) fn source(&self, path: &str) -> Source {
        Source::new(path, fs::read_to_string(self.root.join(path)).unwrap_or_default())
    }

    /// Every `*.rs` file, tracked or not, save build output and hidden folders.
    pub(crate) fn rust_files(&self) -> Vec<Source> {
        let rust = |path: &&String| {
            Path::new(path)
                .extension()
                .is_some_and(|extension| extension == "rs")
        };
        let mut sources: Vec<_> = self
            .walk()
            .iter()
            .filter(rust)
            .map(|path| self.source(path))
            .collect();
        let tests: Vec<_> = sources.iter().flat_map(Source::test_modules).collect();
        for source in &mut sources {
            let stem = source.path.trim_end_matches(".rs");
            source.test_only = tests.iter().any(|test| {
                stem.strip_prefix(test.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
        }
        sources
    }

    /// Every text file that git tracks; without git, every file that is not hidden.
    pub(crate) fn tracked_files(&self) -> Vec<Source> {
        let listed = Command::new("git")
            .args(["ls-files", "-z"])
            .current_dir(&self.root)
            .output();
        let mut paths: Vec<String> = match listed {
            Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout)
                .split('\0')
                .filter(|path| !path.is_empty())
                .map(String::from)
                .collect(),
            _ => Vec::new(),
        };
        if paths.is_empty() {
            paths = self.walk();
        }
        paths.iter().map(|path| self.source(path)).collect()
    }

    fn walk(&self) -> Vec<String> {
        let (mut files, mut folders) = (Vec::new(), vec![String::new()]);
        while let Some(folder) = folders.pop() {
            let Ok(entries) = self.root.join(&folder).read_dir() else {
                continue;
            };
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name == "target" || name.starts_with('.') {
                    continue;
                }
                match entry.file_type() {
                    Ok(kind) if kind.is_file() => files.push(format!("{folder}{name}")),
                    Ok(kind) if kind.is_dir() => folders.push(format!("{folder}{name}/")),
                    _ => {}
                }
            }
        }
        files.sort();
        files
    }
}

impl Source {
    pub(crate) fn new(path: &str, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
            test_only: false,
        }
    }

    /// Code and literals; comments are blank.
    pub(crate) fn without_comments(&self) -> String {
        let text: Vec<_> = self.text.chars().collect();
        blank(&text, |kind| kind == Kind::Comment)
    }

    /// Code alone: no comments, no literals, and nothing that only tests compile.
    pub(crate) fn shipped(&self) -> String {
        let mut code = self.code();
        for item in test_items(&code) {
            for c in &mut code[item] {
                if *c != '\n' {
                    *c = ' ';
                }
            }
        }
        if self.test_only {
            String::new()
        } else {
            code.into_iter().collect()
        }
    }

    fn code(&self) -> Vec<char> {
        let text: Vec<_> = self.text.chars().collect();
        blank(&text, |kind| kind != Kind::Code).chars().collect()
    }

    /// Where the modules lie that this file declares for tests only, as paths without `.rs`.
    fn test_modules(&self) -> Vec<String> {
        let stem = self.path.trim_end_matches(".rs");
        let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        let folder = if matches!(name, "lib" | "main" | "mod") {
            folder
        } else {
            stem
        };
        let code = self.code();
        let declared = |item: Range<usize>| {
            let item: String = code[item].iter().collect();
            let module = item
                .trim_end()
                .strip_suffix(';')?
                .rsplit_once("mod ")?
                .1
                .trim()
                .to_owned();
            Some(format!("{folder}/{module}"))
        };
        test_items(&code).into_iter().filter_map(declared).collect()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// `text` with what `hide` chooses replaced by spaces, so that lines and columns stay.
fn blank(text: &[char], hide: impl Fn(Kind) -> bool) -> String {
    let kinds = classify(text);
    let shown = |(&c, kind): (&char, Kind)| if c != '\n' && hide(kind) { ' ' } else { c };
    text.iter().zip(kinds).map(shown).collect()
}

fn classify(text: &[char]) -> Vec<Kind> {
    let mut kinds = Vec::with_capacity(text.len());
    while kinds.len() < text.len() {
        let at = kinds.len();
        let in_word = at > 0 && (text[at - 1].is_alphanumeric() || text[at - 1] == '_');
        let (kind, length) = piece(&text[at..], in_word);
        kinds.extend(repeat_n(kind, length));
    }
    kinds
}

/// The kind and length of what `rest` begins with.
fn piece(rest: &[char], in_word: bool) -> (Kind, usize) {
    match rest {
        ['/', '/', ..] => (
            Kind::Comment,
            rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
        ),
        ['/', '*', ..] => (Kind::Comment, block_comment(rest)),
        ['"', ..] => (Kind::Literal, quoted(rest, '"')),
        ['\'', '\\', ..] => (Kind::Literal, quoted(rest, '\'')),
        ['\'', _, '\'', ..] => (Kind::Literal, 3),
        ['r', '"' | '#', ..] | ['b' | 'c', 'r', '"' | '#', ..] if !in_word => match raw_string(rest) {
            Some(length) => (Kind::Literal, length),
            None => (Kind::Code, 1),
        },
        _ => (Kind::Code, 1),
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The length of a raw string; `None` for a raw identifier.
fn raw_string(rest: &[char]) -> Option<usize> {
    let start = rest.iter().position(|c| *c == 'r')? + 1;
    let hashes = rest[start..].iter().take_while(|c| **c == '#').count();
    let body = start + hashes + 1;
    if rest.get(body - 1) != Some(&'"') {
        return None;
    }
    let closes =
        |at: &usize| rest[*at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    Some(
        (body..rest.len())
            .find(closes)
            .map_or(rest.len(), |at| at + 1 + hashes),
    )
}

/// The items under `#[cfg(test)]` or `#[cfg(all(test, ..))]`, attributes included.
fn test_items(code: &[char]) -> Vec<Range<usize>> {
    let starts_with =
        |at: usize, prefix: &str| prefix.chars().eq(code[at..].iter().copied().take(prefix.len()));
    let mut items = Vec::new();
    let mut at = 0;
    while at < code.len() {
        if starts_with(at, "#![cfg(test)]") {
            items.push(at..code.len());
            break;
        }
        let gated = starts_with(at, "#[cfg(test)]") || starts_with(at, "#[cfg(all(test,");
        let end = if gated { item_end(code, at) } else { at + 1 };
        if gated {
            items.push(at..end);
        }
        at = end;
    }
    items
}

/// Past the `;` or the closing brace of the item at `start`, or at the end of what holds it.
fn item_end(code: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.iter().enumerate().skip(start) {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return at,
            '}' if depth == 1 => return at + 1,
            ')' | ']' | '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}
