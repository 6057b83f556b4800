//! The parts of `benches/README.md` that are written by the chore: each stands between a mark and the end of it.

use std::process::Command;

use crate::toolchain::workspace_root;

/// The text with another part `name`: what stands between `<!-- figures: name -->` and the next `<!-- end -->`.
pub(super) fn replace(text: &str, name: &str, part: &str) -> Result<String, String> {
    const END: &str = "<!-- end -->";
    let mark = format!("<!-- figures: {name} -->\n");
    let (before, rest) = text.split_once(&mark).ok_or_else(|| {
        format!(
            "benches/README.md has no place for {name:?}: a line {:?}",
            mark.trim()
        )
    })?;
    let (_, after) = rest
        .split_once(END)
        .ok_or_else(|| format!("benches/README.md: {name:?} has no end, a line {END:?}"))?;
    Ok(format!("{before}{mark}{part}{END}{after}"))
}

/// Where and from what the figures come.
pub(super) fn machine() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(workspace_root())
            .output()
            .ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let processor = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Commit {}, {}, {} ({cores} threads), {}.\n",
        said("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_default(),
        said("rustc", &["--version"]).unwrap_or_default(),
        processor.unwrap_or_else(|| String::from("processor unknown")),
        std::env::consts::OS,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a\n<!-- figures: x -->\nold\n<!-- end -->\nb\n<!-- figures: y -->\n<!-- end -->\n";

    #[test]
    fn a_part_is_replaced_and_the_rest_stays() {
        let text = replace(TEXT, "x", "new\n").unwrap();
        assert_eq!(text, TEXT.replace("old", "new"));
        assert_eq!(replace(&text, "x", "new\n").unwrap(), text);
    }

    #[test]
    fn a_table_without_a_place_is_an_error_that_names_it() {
        assert!(replace(TEXT, "z", "").unwrap_err().contains("\"z\""));
    }
}
