//! What is built for the firmware's tests: binaries for machines, the parts for devices, the bridge for the host.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Run;
use super::compiler::Compiler;
use crate::toolchain::cargo;

/// Builds one binary for one machine; returns where it is until the next build.
pub(super) fn binary(firmware: &Path, run: Run) -> Result<PathBuf, String> {
    let features = match run.binary() {
        // Its network is a feature, since nothing else needs that much code.
        "device" => format!("{} net", run.machine),
        // It runs on none: the board is only there to link it.
        "allocates" => String::from("mps2-an385 allocator"),
        _ => String::from(run.machine),
    };
    let what = [
        "--package",
        "firmware",
        "--bin",
        run.binary(),
        "--features",
        &features,
    ];
    let target = compile(firmware, &what, run.target)?;
    Ok(target.join(run.target).join("release").join(run.binary()))
}

/// Builds the page for firmware authors, and so core, the stores and the adapter for devices, for a target.
pub(super) fn portable(firmware: &Path, target: &str) -> Result<(), String> {
    compile(firmware, &["--package", "sensor"], target)?;
    println!("core, heapless, flash and embassy build for {target}");
    Ok(())
}

/// Runs cargo for a target; where the target directory is.
fn compile(firmware: &Path, what: &[&str], triple: &str) -> Result<PathBuf, String> {
    let compiler = Compiler::find(triple)?;
    let target = firmware.join("target").join(compiler.name());
    let mut command = Command::new(cargo());
    command
        .args(["build", "--quiet", "--release", "--locked", "--target", triple])
        .args(what)
        .current_dir(firmware)
        .env("CARGO_TARGET_DIR", &target);
    compiler.configure(&mut command, triple);
    let status = command
        .status()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    if !status.success() {
        return Err(format!("the build failed: {status}"));
    }
    Ok(target)
}

/// Builds the bridge, in the workspace; where it is.
pub(super) fn bridge(firmware: &Path) -> Result<PathBuf, String> {
    let root = firmware.join("../..");
    let mut command = Command::new(cargo());
    command
        .args(["build", "--quiet", "--package", "bridge"])
        .current_dir(&root);
    let built = command
        .status()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let program = target.join("debug/bridge");
    match (built.success(), program.canonicalize()) {
        (true, Ok(program)) => Ok(program),
        _ => Err(String::from("the bridge was not built")),
    }
}
