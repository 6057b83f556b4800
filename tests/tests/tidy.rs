//! The rules of the house as tests, run over the files of this repository. Nothing here builds or runs them.
//!
//! The tables below are meant to be amended: an exception is an entry with a reason, and one that is no
//! longer needed fails.

use std::path::Path;

#[path = "tidy/order.rs"]
mod order;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use rules::Exception;
use source::{Repository, Source};

/// Core's modules, lowest first: one may use itself and those before it.
const CORE_ORDER: &[&str] = &[
    "primitive",
    "time",
    "id",
    "message",
    "claim",
    "retry",
    "lease",
    "observe",
    "join",
    "runtime",
    "wakeup",
    "store",
    "publisher",
    "dispatcher",
    "backstop",
    "sync",
    "handle",
    "aggregate",
    "bus",
    "service",
    "testing",
];

/// Uses against the order: the file, the module (or name at the root) that it uses, and why.
const ORDER_EXCEPTIONS: &[Exception] = &[];

/// Longer than [`MAX_LINES`]: the file, its own limit, and why.
const LONG_FILES: &[(&str, usize, &str)] = &[];

const MAX_LINES: usize = 300;

/// Where code ships from, and the limit on lines holds.
const SHIPPED: &[&str] = &["core/", "stores/", "adapters/"];

const EXECUTORS: &[&str] = &["tokio", "async_std", "smol", "embassy"];

/// What library code must not do.
const FORBIDDEN: &[&str] = &["eprintln!", "println!", "todo!(", ".unwrap()"];

const DOCUMENTS: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
];

/// Paths of somebody's machine, and hosts that a mirror or a registry would put into a file. Split, since
/// this file is searched as well.
const PRIVATE: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("crates", ".io"),
    concat!("npmjs", ".org"),
    concat!("pypi", ".org"),
    concat!("proxy.golang", ".org"),
];

/// The lock files name the registry of every package, and have to.
const PRIVATE_EXEMPT: &str = "Cargo.lock";

fn repository() -> Repository {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Repository::new(here.parent().unwrap_or(here))
}

fn core_sources() -> Vec<Source> {
    let sources = repository().rust_files();
    let sources: Vec<_> = sources
        .into_iter()
        .filter(|source| source.path.starts_with("core/src/"))
        .collect();
    assert!(
        sources.iter().any(|source| source.path == "core/src/lib.rs"),
        "the walk did not find core: every rule would hold"
    );
    sources
}

#[track_caller]
fn none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}\n", findings.join("\n  "));
}

#[test]
fn a_shipped_file_has_at_most_300_lines() {
    let mut sources = repository().rust_files();
    sources.retain(|source| {
        source.path.contains("/src/") && SHIPPED.iter().any(|folder| source.path.starts_with(folder))
    });
    none(
        "split it, or give a reason in LONG_FILES",
        &rules::too_long(&sources, MAX_LINES, LONG_FILES),
    );
}

#[test]
fn core_is_safe_outside_of_join() {
    let mut sources = core_sources();
    sources.retain(|source| !source.path.starts_with("core/src/join/") && source.path != "core/src/join.rs");
    none(
        "unsafe code belongs in core/src/join",
        &rules::unsafe_code(&sources),
    );
}

#[test]
fn core_names_no_executor() {
    let mut findings = rules::executors(&core_sources(), EXECUTORS);
    findings.extend(rules::executors_in_manifest(
        &repository().source("core/Cargo.toml"),
        EXECUTORS,
    ));
    none("executors belong in adapters/", &findings);
}

#[test]
fn core_neither_prints_nor_panics_outside_of_tests() {
    none(
        "return an error instead",
        &rules::forbidden(&core_sources(), FORBIDDEN),
    );
}

#[test]
fn a_core_module_uses_only_modules_above_it() {
    none(
        "see CORE_ORDER; a lower module may be a value passed in instead of a name",
        &order::violations(&core_sources(), CORE_ORDER, ORDER_EXCEPTIONS),
    );
}

#[test]
fn the_documents_of_the_repository_exist() {
    let repository = repository();
    let missing = DOCUMENTS
        .iter()
        .filter(|name| repository.source(name).text.trim().is_empty());
    let findings: Vec<_> = missing
        .map(|name| format!("{name}:1: missing or empty"))
        .collect();
    none("a newcomer looks for these", &findings);
}

#[test]
fn no_file_names_a_private_path_or_a_registry_host() {
    let mut sources = repository().tracked_files();
    sources.retain(|source| source.path.rsplit('/').next() != Some(PRIVATE_EXEMPT));
    assert!(
        sources.iter().any(|source| source.path == "Cargo.toml"),
        "the list of tracked files is wrong"
    );
    none(
        "a clone must build and read well anywhere",
        &rules::containing(&sources, PRIVATE),
    );
}
