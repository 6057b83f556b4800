//! Which compiler can build for bare metal: rustup's, or the distribution's together with the source of `core`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian;

/// What Debian has to be asked for.
const PACKAGES: &[&str] = &[
    "rustc-web",
    "rust-web-src",
    "lld",
    "qemu-system-arm",
    "mosquitto",
    "mosquitto-clients",
    "binutils-arm-none-eabi",
];

/// A compiler for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Compiler {
    /// The toolchain that runs us, which has the target's `core` installed.
    Installed,
    /// A compiler that builds `core` from the source it came with; whether it needs the system's linker.
    FromSource { rustc: PathBuf, needs_linker: bool },
}

impl Compiler {
    /// The first that is found; as root on Debian, one is installed if there is none.
    pub(super) fn find(target: &str) -> Result<Self, String> {
        if crate::toolchain::has_target(target) {
            return Ok(Self::Installed);
        }
        if let Some(found) = from_source() {
            return Ok(found);
        }
        let installed = debian::install(PACKAGES).map(|()| from_source());
        installed.ok().flatten().ok_or_else(|| {
            format!(
                "nothing here builds for {target}: neither `rustup target add {target}` was run, nor is there a \
                 rustc with the source of core (Debian: apt-get install {})",
                PACKAGES.join(" ")
            )
        })
    }

    /// A name for directories: what one compiler built is of no use to the other.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::FromSource { .. } => "from-source",
        }
    }

    pub(super) fn configure(&self, command: &mut Command, target: &str) {
        if let Self::FromSource { rustc, needs_linker } = self {
            // `-Zbuild-std` is unstable; the compiler is a released one, told to allow it.
            command
                .arg("-Zbuild-std=core,alloc")
                .env("RUSTC", rustc)
                .env("RUSTC_BOOTSTRAP", "1");
            if *needs_linker {
                let linker = target.to_uppercase().replace('-', "_");
                command.env(format!("CARGO_TARGET_{linker}_LINKER"), "ld.lld");
            }
        }
    }
}

/// Any compiler on the path that came with the source of `core`.
fn from_source() -> Option<Compiler> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join("rustc"))
        .filter(|rustc| rustc.is_file())
        .find_map(|rustc| {
            let sysroot = sysroot(&rustc)?;
            let source = sysroot.join("lib/rustlib/src/rust/library/core");
            source.is_dir().then(|| Compiler::FromSource {
                needs_linker: !has_linker(&sysroot),
                rustc,
            })
        })
}

fn sysroot(rustc: &Path) -> Option<PathBuf> {
    // Rustup's proxy would be told which toolchain by our own environment.
    let answer = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    answer.status.success().then(|| PathBuf::from(text.trim()))
}

/// Whether the compiler brings `rust-lld`, as rustup's do and Debian's does not.
fn has_linker(sysroot: &Path) -> bool {
    let Ok(targets) = sysroot.join("lib/rustlib").read_dir() else {
        return false;
    };
    targets
        .flatten()
        .any(|target| target.path().join("bin/rust-lld").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_target_needs_no_flags() {
        let mut command = Command::new("cargo");
        Compiler::Installed.configure(&mut command, "thumbv7m-none-eabi");
        assert_eq!(command.get_args().count() + command.get_envs().count(), 0);
    }

    #[test]
    fn a_build_from_source_names_the_linker_of_its_target() {
        let compiler = Compiler::FromSource {
            rustc: PathBuf::from("/somewhere/rustc"),
            needs_linker: true,
        };
        let mut command = Command::new("cargo");
        compiler.configure(&mut command, "thumbv7m-none-eabi");
        let linker = "CARGO_TARGET_THUMBV7M_NONE_EABI_LINKER";
        assert!(command.get_envs().any(|(name, _)| name == linker));
    }
}
