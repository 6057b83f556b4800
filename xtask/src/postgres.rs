//! A PostgreSQL server for the tests: private, on a free port, in a temporary directory, gone afterwards. Finds the
//! server's programs, or a container engine, or installs the package; else says what to do.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

pub(crate) use crate::programs::programs;

use crate::container::Container;
use crate::debian::{self, is_root};
use crate::host::{as_nobody_special, free_port, give_to, nobody_special, succeed};
use crate::plan::{Mode, Step};
use crate::quickstart;

/// Tests find their server here; set by the user, nothing is started.
pub(crate) const URL: &str = "POSTBOX_TEST_POSTGRES_URL";
/// What starts servers of its own finds their programs here.
pub(crate) const PROGRAMS: &str = "POSTBOX_TEST_POSTGRES_PROGRAMS";
/// What tests need.
const SETTINGS: &[&str] = &["max_connections=300", "listen_addresses=127.0.0.1"];

/// Whether what was committed has to survive the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// As servers are run: for benchmarks.
    Full,
    /// Without `fsync`: a test server's disk is nobody's archive.
    None,
}

impl Durability {
    const fn setting(self) -> &'static str {
        match self {
            Self::Full => "fsync=on",
            Self::None => "fsync=off",
        }
    }
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    /// Of a database that tests may fill with schemas.
    pub(crate) url: String,
    stop: Stop,
}

#[derive(Debug)]
enum Stop {
    /// It is the user's.
    Not,
    Cluster {
        programs: PathBuf,
        directory: PathBuf,
    },
    Container {
        _held: Container,
    },
}

impl Server {
    /// Finds or starts one.
    pub(crate) fn start(durability: Durability) -> Result<Self, String> {
        if let Some(url) = std::env::var(URL).ok().filter(|url| !url.is_empty()) {
            return Ok(Self { url, stop: Stop::Not });
        }
        let mut tried = Vec::new();
        for way in [installed, contained, packaged] {
            match way(durability) {
                Ok(server) => return Ok(server),
                Err(why) => tried.push(why),
            }
        }
        Err(format!(
            "there is no PostgreSQL server for the tests:\n  - {}\nDo one of these:\n  \
             1. install PostgreSQL, so that `initdb` and `pg_ctl` are on the PATH\n  \
             2. install a container engine: docker or podman\n  \
             3. set {URL} to a server you have, for example postgres://postgres@localhost/postgres",
            tried.join("\n  - ")
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match &self.stop {
            // A container ends itself.
            Stop::Not | Stop::Container { .. } => {}
            Stop::Cluster { programs, directory } => {
                let data = directory.join("data");
                let mut stop = as_nobody_special(&programs.join("pg_ctl"), directory);
                let _ = stop
                    .arg("-D")
                    .arg(data)
                    .args(["-m", "immediate", "stop"])
                    .output();
                let _ = fs::remove_dir_all(directory);
            }
        }
    }
}

/// A step that fails without a server, instead of skipping what needs one.
pub(crate) fn needed(step: Step, no_server: Option<&str>) -> Step {
    match no_server {
        None => step,
        Some(why) => step.mode(Mode::Fail(why.to_owned())),
    }
}

/// What kills servers: one in a container or of the user's is not ours to kill.
pub(crate) fn faults(programs: bool) -> Step {
    let mode = if programs {
        Mode::Run
    } else {
        Mode::Skip(String::from("initdb and pg_ctl are not installed"))
    };
    Step {
        last_line: Some(quickstart::judge),
        ..Step::cargo("postgres under faults", "run -p postgres-faults").mode(mode)
    }
}

fn installed(durability: Durability) -> Result<Server, String> {
    let programs =
        programs().ok_or("`initdb` and `pg_ctl` are neither on the PATH nor in the usual places")?;
    let port = free_port()?;
    let name = format!("postbox-postgres-{}-{port}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let stop = Stop::Cluster {
        programs: programs.clone(),
        directory: directory.clone(),
    };
    let server = Server {
        url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        stop,
    };
    if is_root() {
        give_to(nobody_special(), &directory)?;
    }
    let data = directory.join("data");
    let mut init = as_nobody_special(&programs.join("initdb"), &directory);
    init.arg("-D").arg(&data).args([
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--no-sync",
    ]);
    succeed(&mut init)?;
    let mut options = format!("-p {port} -k '{}'", directory.display());
    for setting in SETTINGS.iter().chain([&durability.setting()]) {
        options.push_str(" -c ");
        options.push_str(setting);
    }
    let mut start = as_nobody_special(&programs.join("pg_ctl"), &directory);
    start
        .arg("-D")
        .arg(&data)
        .arg("-l")
        .arg(directory.join("log"))
        .arg("-o")
        .arg(options);
    // The server keeps what it inherits open: it must not be a pipe that somebody reads to its end.
    let status = start
        .args(["--wait", "start"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(server),
        Ok(_) => {
            let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
            Err(format!(
                "the server in {} does not start: {log}",
                programs.display()
            ))
        }
        Err(error) => Err(format!("pg_ctl: {error}")),
    }
}

fn contained(durability: Durability) -> Result<Server, String> {
    let engine = Container::engine()?;
    let settings = ["max_connections=300", durability.setting()];
    let container = Container::start(engine.into(), &settings)?;
    Ok(Server {
        url: container.url(),
        stop: Stop::Container { _held: container },
    })
}

/// On Debian as root: a machine that is thrown away afterwards, such as a container of CI.
fn packaged(durability: Durability) -> Result<Server, String> {
    debian::install(&["postgresql"])?;
    installed(durability)
}
