//! What this machine has to offer. Asks, and never installs.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The bare-metal target that proves core needs neither an operating system nor an allocator.
pub(crate) const BARE_METAL: &str = "thumbv7em-none-eabihf";

/// Asks rustup for the toolchain that has the interpreter.
pub(crate) const NIGHTLY: &str = "+nightly";

/// The optional parts of a Rust toolchain, as found.
#[derive(Clone, Copy, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an independent finding, not a state"
)]
pub(crate) struct Toolchain {
    pub(crate) rustfmt: bool,
    pub(crate) clippy: bool,
    pub(crate) nextest: bool,
    /// The standard parts of [`BARE_METAL`].
    pub(crate) bare_metal: bool,
    /// The interpreter of the nightly toolchain, and the sources that it builds its standard library from.
    pub(crate) miri: bool,
    /// Where a missing component is an error, since nobody reads the warning.
    pub(crate) ci: bool,
}

impl Toolchain {
    /// Asks each tool for its version.
    pub(crate) fn probe() -> Self {
        Self {
            rustfmt: answers(&["fmt", "--version"]),
            clippy: answers(&["clippy", "--version"]),
            nextest: answers(&["nextest", "--version"]),
            bare_metal: has_target(BARE_METAL),
            miri: has_miri(),
            ci: ci(),
        }
    }
}

/// Whether nobody is there to read a warning.
pub(crate) fn ci() -> bool {
    env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// The cargo that started us, so that every step uses the same toolchain.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Where the manifest of the workspace lies.
pub(crate) fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

fn answers(args: &[&str]) -> bool {
    Command::new(cargo())
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Through rustup, which is told not to install what is missing.
fn has_miri() -> bool {
    let ask = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.arg(NIGHTLY).args(args).env("RUSTUP_AUTO_INSTALL", "0");
        command
            .stderr(Stdio::null())
            .output()
            .ok()
            .filter(|answer| answer.status.success())
    };
    let Some(sysroot) = ask("rustc", &["--print", "sysroot"]) else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    let sources = Path::new(&sysroot).join("lib/rustlib/src/rust/library");
    sources.is_dir() && ask("cargo", &["miri", "--version"]).is_some()
}

/// Looks for the target's libraries on disk: toolchains without rustup have them in the same place.
pub(crate) fn has_target(target: &str) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let Ok(answer) = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .output()
    else {
        return false;
    };
    let libraries = String::from_utf8_lossy(&answer.stdout);
    let Ok(mut entries) = Path::new(libraries.trim()).read_dir() else {
        return false;
    };
    entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_root_holds_the_manifest() {
        let manifest = std::fs::read_to_string(workspace_root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }

    #[test]
    fn a_target_that_does_not_exist_is_not_installed() {
        assert!(!has_target("z80-none-cpm"));
    }

    #[test]
    fn cargo_has_no_such_command_means_the_tool_is_missing() {
        assert!(!answers(&["no-such-command-of-cargo", "--version"]));
    }
}
