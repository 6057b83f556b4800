//! Installs packages where that is known to work and does no harm: on Debian as root, as in a container of CI.

use std::path::Path;
use std::process::{Command, Stdio};

/// Installs packages; says why not elsewhere.
pub(crate) fn install(packages: &[&str]) -> Result<(), String> {
    if !is_root() || !Path::new("/etc/debian_version").is_file() {
        return Err(format!(
            "{} missing, and this is not Debian as root",
            packages.join(" ")
        ));
    }
    println!("    installing {}", packages.join(" "));
    let apt = |args: &[&str]| {
        Command::new("apt-get")
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let install = ["install", "--yes", "--no-install-recommends"];
    if apt(&["update"]) && apt(&[&install[..], packages].concat()) {
        Ok(())
    } else {
        Err(format!("apt-get could not install {}", packages.join(" ")))
    }
}

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|answer| answer.stdout.starts_with(b"0\n"))
}
