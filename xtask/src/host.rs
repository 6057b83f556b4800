//! What starts servers needs of the machine: a port, somebody who is not root, and commands that say why they failed.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::debian::is_root;

/// The server refuses to run as root: then as the user of the package, or as nobody.
pub(crate) fn as_nobody_special(program: &Path, directory: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command
        .args(["-u", nobody_special(), "--"])
        .arg(program)
        .current_dir(directory);
    command
}

/// Who runs what refuses to run as root.
pub(crate) fn nobody_special() -> &'static str {
    let known = |user: &str| succeed(Command::new("id").arg(user)).is_ok();
    if known("postgres") { "postgres" } else { "nobody" }
}

/// Makes a directory somebody's, with all that is in it.
pub(crate) fn give_to(user: &str, directory: &Path) -> Result<(), String> {
    let owner = format!("{user}:");
    succeed(Command::new("chown").args(["-R", &owner]).arg(directory)).map(|_| ())
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    listener
        .local_addr()
        .map(|address| address.port())
        .map_err(|error| error.to_string())
}

/// Runs a command silently, and returns what it says.
pub(crate) fn succeed(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let says = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} failed, {}: {}", output.status, says.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_says_why() {
        let why = succeed(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err();
        assert!(why.contains("broken") && why.contains('3'), "{why}");
    }
}
