//! The order of core's modules, read from the paths in their code. Resolves no macro and no re-export.

use crate::rules::Exception;
use crate::source::Source;

/// Uses of a module that does not stand above the user's; uses of a name at the root, which would hide its
/// module; files of modules that are not in `order`; and exceptions that nothing needs.
pub(crate) fn violations(sources: &[Source], order: &[&str], exceptions: &[Exception]) -> Vec<String> {
    let place = |module: &str| order.iter().position(|name| *name == module);
    let mut findings = Vec::new();
    let mut needed = vec![false; exceptions.len()];
    for source in sources {
        let Some(user) = module(&source.path) else {
            continue;
        };
        let Some(user_place) = place(&user) else {
            findings.push(format!("{}:1: `{user}` has no place in the order", source.path));
            continue;
        };
        for Use { line, name, of_root } in uses(source) {
            let problem = match place(&name) {
                Some(place) if place <= user_place => continue,
                Some(_) => format!("`{user}` uses `{name}`, which stands below it"),
                None if of_root => format!("`crate::{name}` hides its module: name that as well"),
                None => continue,
            };
            let exception = exceptions
                .iter()
                .position(|entry| entry.0 == source.path && entry.1 == name);
            match exception {
                Some(at) => needed[at] = true,
                None => findings.push(format!("{}:{line}: {problem}", source.path)),
            }
        }
    }
    let unneeded = exceptions.iter().zip(needed).filter(|(_, needed)| !needed);
    findings
        .extend(unneeded.map(|(entry, _)| format!("{}:1: needs no exception for `{}`", entry.0, entry.1)));
    findings
}

/// A first path segment below the root of the crate.
struct Use {
    line: usize,
    name: String,
    /// Said with `crate::`; with `super::` it may also be a name of an enclosing inline module.
    of_root: bool,
}

/// The module that a file of core belongs to; `None` for the root, which names all of them.
fn module(path: &str) -> Option<String> {
    let inside = path.strip_prefix("core/src/")?.trim_end_matches(".rs");
    let first = inside.split('/').next()?;
    (first != "lib").then(|| first.to_owned())
}

/// How many `super::` lead from the file to the root.
fn depth(path: &str) -> usize {
    path.trim_start_matches("core/src/")
        .trim_end_matches(".rs")
        .trim_end_matches("/mod")
        .split('/')
        .count()
}

fn uses(source: &Source) -> Vec<Use> {
    let code = source.shipped();
    let tokens = tokens(&code);
    let token = |at: usize| tokens.get(at).map_or("", |(_, token)| *token);
    let mut uses = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let mut supers = 0;
        while token(at) == "super" && token(at + 1) == "::" {
            (supers, at) = (supers + 1, at + 2);
        }
        let of_root = token(at) == "crate" && token(at + 1) == "::";
        if of_root {
            at += 2;
        }
        if of_root || supers == depth(&source.path) {
            let heads = heads(&tokens, at)
                .into_iter()
                .filter(|head| token(head + 1) != "!");
            uses.extend(heads.map(|head| Use {
                line: tokens[head].0,
                name: token(head).into(),
                of_root,
            }));
        }
        if !of_root && supers == 0 {
            at += 1;
        }
    }
    uses
}

/// Where the first segments stand of a path or a group of paths at `at`.
fn heads(tokens: &[(usize, &str)], at: usize) -> Vec<usize> {
    if tokens.get(at).is_none_or(|(_, token)| *token != "{") {
        return if at < tokens.len() { vec![at] } else { Vec::new() };
    }
    let (mut heads, mut depth, mut expected) = (Vec::new(), 0_usize, false);
    for (at, (_, token)) in tokens.iter().enumerate().skip(at) {
        match *token {
            "{" => (depth, expected) = (depth + 1, depth == 0),
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => expected = depth == 1,
            _ if expected => {
                heads.push(at);
                expected = false;
            }
            _ => {}
        }
    }
    heads
}

/// Words, `::` and single characters, each with its line.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (mut rest, number) in code.lines().zip(1..) {
        while let Some(first) = rest.chars().next() {
            let word = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            let length = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                word => word,
            };
            let (token, after) = rest.split_at(length);
            if !token.trim().is_empty() {
                tokens.push((number, token));
            }
            rest = after;
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &[&str] = &["time", "claim", "store", "bus"];

    fn found(path: &str, text: &str) -> Vec<String> {
        violations(&[Source::new(path, text)], ORDER, &[])
    }

    #[test]
    fn a_use_of_a_lower_module_is_found() {
        let lower = ["core/src/claim.rs:2: `claim` uses `store`, which stands below it"];
        assert_eq!(
            found(
                "core/src/claim.rs",
                "use crate::time::Instant;\nuse crate::store::Store;"
            ),
            lower
        );
        assert_eq!(
            found("core/src/claim.rs", "fn f(\n  s: crate::store::S) {}"),
            lower
        );
        assert_eq!(
            found("core/src/claim.rs", "use crate::{time::{self, A},\n store as s};"),
            lower
        );
        assert_eq!(found("core/src/claim.rs", "\nuse super::store;"), lower);
        assert_eq!(found("core/src/claim/mod.rs", "use super::store;").len(), 1);
        assert_eq!(
            found("core/src/claim/fence.rs", "use super::super::{bus, time};").len(),
            1
        );
        assert_eq!(
            found(
                "core/src/claim.rs",
                "macro_rules! m { () => { $crate::bus::f() } }"
            )
            .len(),
            1
        );
    }

    #[test]
    fn a_use_of_itself_or_of_a_higher_module_is_not() {
        assert!(found("core/src/store.rs", "use crate::{claim::{A, B}, store::C, time};").is_empty());
        assert!(
            found(
                "core/src/bus/memory.rs",
                "use super::store;\nuse crate::bus::Bus;"
            )
            .is_empty()
        );
        assert!(found("core/src/lib.rs", "pub use crate::bus::Bus;").is_empty());
        assert!(
            found(
                "core/src/time.rs",
                "/// [`S`](crate::store::S)\n// crate::bus\npub(crate) fn f() {}"
            )
            .is_empty()
        );
        assert!(
            found(
                "core/src/time.rs",
                "#[cfg(test)]\nmod tests { use crate::bus::Bus; }"
            )
            .is_empty()
        );
        assert!(found("core/src/time.rs", "fn f() { crate::check!(1) }").is_empty());
    }

    #[test]
    fn a_name_at_the_root_must_say_its_module() {
        assert_eq!(
            found("core/src/time.rs", "use crate::Bus;\nuse crate::*;").len(),
            2
        );
    }

    #[test]
    fn a_new_module_needs_a_place() {
        assert_eq!(
            found("core/src/extra.rs", ""),
            ["core/src/extra.rs:1: `extra` has no place in the order"]
        );
    }

    #[test]
    fn an_exception_holds_for_its_file_and_only_while_needed() {
        let sources = [Source::new("core/src/time.rs", "use crate::bus::Bus;")];
        assert!(violations(&sources, ORDER, &[("core/src/time.rs", "bus", "why")]).is_empty());
        assert_eq!(
            violations(&sources, ORDER, &[("core/src/claim.rs", "bus", "why")]).len(),
            2
        );
    }
}
