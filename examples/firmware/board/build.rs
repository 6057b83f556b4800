//! Puts the memory map of the chosen machine where the linker script of cortex-m-rt looks for `memory.x`.

use std::path::Path;
use std::{env, fs};

const MACHINES: [&str; 3] = ["mps2-an385", "microbit", "lm3s6965evb"];

fn main() {
    let feature = |machine: &str| format!("CARGO_FEATURE_{}", machine.to_uppercase().replace('-', "_"));
    let chosen: Vec<_> = MACHINES
        .iter()
        .filter(|machine| env::var_os(feature(machine)).is_some())
        .collect();
    let [machine] = chosen[..] else {
        panic!("choose exactly one machine of {MACHINES:?} as a feature");
    };
    let map = format!("memory/{machine}.x");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::copy(&map, Path::new(&out).join("memory.x")).expect("the memory map is copied");
    println!("cargo:rerun-if-changed={map}");
    println!("cargo:rustc-link-search={out}");
}
