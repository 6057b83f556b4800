//! QEMU: whether it is there, and one run of a machine with an end.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::debian;

const QEMU: &str = "qemu-system-arm";

/// Makes sure that there is a QEMU.
pub(super) fn present() -> Result<(), String> {
    let answers = || {
        let mut version = Command::new(QEMU);
        let version = version.arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    if answers() || (debian::install(&[QEMU]).is_ok() && answers()) {
        return Ok(());
    }
    Err(format!("{QEMU} is not installed"))
}

/// Runs a machine to its end; what it printed, if it says that it passed.
pub(super) fn run(machine: &str, elf: &Path, more: &[&str], patience: Duration) -> Result<String, String> {
    let mut child = Command::new(QEMU)
        .args(["-machine", machine, "-kernel"])
        .arg(elf)
        .args(["-display", "none", "-monitor", "none", "-serial", "null"])
        .args(["-semihosting-config", "enable=on,target=native"])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{QEMU} did not start: {error}"))?;
    // Semihosting prints to standard error or output, by version.
    let readers = [reader(child.stdout.take()), reader(child.stderr.take())];
    let status = wait(&mut child, patience)?;
    let mut printed = String::new();
    for reader in readers.into_iter().flatten() {
        printed += &reader.join().unwrap_or_default();
    }
    if status.success() {
        Ok(printed)
    } else {
        print!("{printed}");
        Err(format!("the machine ended with {status}"))
    }
}

/// Waits, and kills what takes too long.
pub(super) fn wait(child: &mut Child, patience: Duration) -> Result<ExitStatus, String> {
    let give_up = Instant::now() + patience;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < give_up => thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("the machine had not ended after {patience:?}"));
            }
            Err(error) => return Err(format!("the machine was lost: {error}")),
        }
    }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> Option<thread::JoinHandle<String>> {
    pipe.map(|mut pipe| {
        thread::spawn(move || {
            let mut text = Vec::new();
            let _ = pipe.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    })
}
