//! The rules that look at one line at a time, as functions of the sources. Reads no file.

use crate::source::Source;

/// The file, what it may use or name, and why.
pub(crate) type Exception = (&'static str, &'static str, &'static str);

/// Files of more than `max` lines, beside what `allowed` says; and entries of `allowed` that no file needs.
pub(crate) fn too_long(sources: &[Source], max: usize, allowed: &[(&str, usize, &str)]) -> Vec<String> {
    let entry = |source: &Source| allowed.iter().find(|entry| entry.0 == source.path);
    let mut findings = Vec::new();
    for source in sources {
        let (lines, limit) = (
            source.text.lines().count(),
            entry(source).map_or(max, |entry| entry.1),
        );
        if lines > limit {
            findings.push(format!(
                "{}:{lines}: {lines} lines, allowed are {limit}",
                source.path
            ));
        }
    }
    for (path, _, _) in allowed {
        if !sources
            .iter()
            .any(|source| source.path == *path && source.text.lines().count() > max)
        {
            findings.push(format!("{path}:1: needs no entry in the table any more"));
        }
    }
    findings
}

/// The keyword `unsafe`, also in tests, but not the name of a lint.
pub(crate) fn unsafe_code(sources: &[Source]) -> Vec<String> {
    let code = |source: &Source| source.without_comments();
    lines(sources, code, |line| {
        words(line)
            .any(|word| word == "unsafe")
            .then(|| String::from("unsafe"))
    })
}

/// Names that begin with an executor's, in code and literals, also in tests.
pub(crate) fn executors(sources: &[Source], executors: &[&str]) -> Vec<String> {
    let code = |source: &Source| source.without_comments();
    lines(sources, code, |line| executor(line, executors))
}

/// The same for the dependencies and features of a manifest.
pub(crate) fn executors_in_manifest(manifest: &Source, executors: &[&str]) -> Vec<String> {
    lines(
        std::slice::from_ref(manifest),
        |manifest| manifest.text.replace('-', "_"),
        |line| executor(line.split('#').next().unwrap_or_default(), executors),
    )
}

/// Any of `forbidden` in code that ships.
pub(crate) fn forbidden(sources: &[Source], forbidden: &[&str]) -> Vec<String> {
    lines(sources, Source::shipped, |line| {
        forbidden
            .iter()
            .find(|what| line.contains(**what))
            .map(|what| (*what).to_owned())
    })
}

/// Any of `needles` anywhere.
pub(crate) fn containing(sources: &[Source], needles: &[&str]) -> Vec<String> {
    let text = |source: &Source| source.text.clone();
    lines(sources, text, |line| {
        needles
            .iter()
            .find(|needle| line.contains(**needle))
            .map(|needle| format!("contains {needle}"))
    })
}

/// One finding for each line of `view` that `judge` objects to.
fn lines(
    sources: &[Source],
    view: impl Fn(&Source) -> String,
    judge: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        for (line, number) in view(source).lines().zip(1..) {
            findings.extend(judge(line).map(|what| format!("{}:{number}: {what}", source.path)));
        }
    }
    findings
}

fn executor(line: &str, executors: &[&str]) -> Option<String> {
    let named = |word: &&str| {
        executors
            .iter()
            .any(|executor| word.to_lowercase().starts_with(executor))
    };
    words(line).find(named).map(String::from)
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

#[test]
fn a_long_file_is_found_unless_it_has_a_reason() {
    let sources = [
        Source::new("core/src/a.rs", "x\n".repeat(301)),
        Source::new("core/src/b.rs", "x\n".repeat(300)),
    ];
    assert_eq!(
        too_long(&sources, 300, &[]),
        ["core/src/a.rs:301: 301 lines, allowed are 300"]
    );
    assert!(too_long(&sources, 300, &[("core/src/a.rs", 301, "why")]).is_empty());
    assert_eq!(
        too_long(
            &sources,
            300,
            &[("core/src/a.rs", 301, "why"), ("core/src/b.rs", 400, "why")]
        )
        .len(),
        1
    );
}

#[test]
fn unsafe_is_found_in_code_and_not_in_comments_or_lints() {
    let found = |text| unsafe_code(&[Source::new("a.rs", text)]);
    assert_eq!(
        found("// unsafe\n/* unsafe\n */ unsafe { f() }"),
        ["a.rs:3: unsafe"]
    );
    assert_eq!(
        found("#[cfg(test)]\nmod tests { unsafe fn f() {} }"),
        ["a.rs:2: unsafe"]
    );
    assert!(found("#![deny(unsafe_code)]\n/// unsafe\nfn safe() {}").is_empty());
}

#[test]
fn an_executor_is_found_in_code_literals_and_manifest() {
    let found = |text| executors(&[Source::new("a.rs", text)], &["tokio", "async_std"]);
    assert_eq!(
        found("//! tokio\nuse tokio::spawn;\nstruct TokioTimer;"),
        ["a.rs:2: tokio", "a.rs:3: TokioTimer"]
    );
    assert_eq!(found("const NAME: &str = \"tokio\";").len(), 1);
    let manifest = Source::new("Cargo.toml", "# not tokio\n[dependencies]\nasync-std = \"1\"");
    assert_eq!(
        executors_in_manifest(&manifest, &["tokio", "async_std"]),
        ["Cargo.toml:3: async_std"]
    );
}

#[test]
fn printing_and_panicking_are_found_only_where_they_ship() {
    let words = &["println!", "todo!(", ".unwrap()"];
    let found = |text| forbidden(&[Source::new("a.rs", text)], words);
    assert_eq!(found("fn f() {\n  g().unwrap();\n  eprintln!();\n}").len(), 2);
    assert_eq!(
        found("#[cfg(test)]\n#[allow(x)]\nmod tests { fn f() { g().unwrap() } }\nfn h() { todo!() }"),
        ["a.rs:4: todo!("]
    );
    assert!(
        found("/// x.unwrap()\nconst S: &str = r#\"println! \" \"#;\n#[cfg(test)] use a::{b};").is_empty()
    );
    assert_eq!(
        found("#[cfg(feature = \"testing\")]\nfn f() { g().unwrap() }").len(),
        1
    );
    assert_eq!(
        found("fn f<'a>(c: &'a char) -> bool { *c == '\"' }\nfn g() { h().unwrap() }").len(),
        1
    );
}

#[test]
fn a_private_path_is_found_anywhere() {
    let sources = [Source::new("a.md", "see\n/home/me/x")];
    assert_eq!(containing(&sources, &["/home/"]), ["a.md:2: contains /home/"]);
}
