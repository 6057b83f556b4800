//! A PostgreSQL cluster that can be crashed: in a temporary directory, on a port of its own, gone afterwards.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where the programs are, if they are not on the `PATH`.
const PROGRAMS: &str = "POSTBOX_TEST_POSTGRES_PROGRAMS";

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(crate) struct Cluster {
    directory: PathBuf,
    port: u16,
}

impl Cluster {
    /// A new cluster, running. Its disk is waited for: it is to lose nothing.
    pub(crate) fn start() -> Result<Self, Failure> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let name = format!("postbox-faults-{}-{port}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory)?;
        let cluster = Self { directory, port };
        if is_root() {
            run(Command::new("chown")
                .arg(format!("{}:", user()))
                .arg(&cluster.directory))?;
        }
        let mut init = cluster.program("initdb");
        init.arg("-D").arg(cluster.data());
        run(init.args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
        ]))?;
        cluster.go_on()?;
        Ok(cluster)
    }

    /// Starts the server, after a crash with the recovery that comes with it.
    pub(crate) fn go_on(&self) -> Result<(), Failure> {
        let options = format!(
            "-p {} -k '{}' -c listen_addresses=127.0.0.1 -c max_connections=300",
            self.port,
            self.directory.display()
        );
        let mut start = self.program("pg_ctl");
        start.arg("-D").arg(self.data()).arg("-o").arg(options);
        start
            .arg("-l")
            .arg(self.directory.join("log"))
            .args(["--wait", "start"]);
        run(&mut start)
    }

    /// Kills it: nothing is flushed, nobody is told.
    pub(crate) fn crash(&self) -> Result<(), Failure> {
        let mut stop = self.program("pg_ctl");
        run(stop
            .arg("-D")
            .arg(self.data())
            .args(["-m", "immediate", "--wait", "stop"]))
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Copies everything into another cluster, as an operator would: by `pg_dump`, from a running server.
    pub(crate) fn copy_to(&self, other: &Self) -> Result<(), Failure> {
        let file = self.directory.join("dump.sql");
        run(self.program("pg_dump").arg("--file").arg(&file).arg(self.url()))?;
        let text = fs::read(&file)?;
        let other_file = other.directory.join("dump.sql");
        fs::write(&other_file, text)?;
        let mut restore = other.program("psql");
        run(restore
            .args(["--quiet", "--set=ON_ERROR_STOP=1", "--file"])
            .arg(&other_file)
            .arg(other.url()))
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The server does not run as root.
    fn program(&self, name: &str) -> Command {
        let program = std::env::var_os(PROGRAMS).map(|place| PathBuf::from(place).join(name));
        let program = program
            .filter(|program| program.is_file())
            .unwrap_or_else(|| name.into());
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", user(), "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(&self.directory);
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.crash();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout.starts_with(b"0\n"))
}

fn user() -> &'static str {
    let known = Command::new("id")
        .arg("postgres")
        .output()
        .is_ok_and(|id| id.status.success());
    if known { "postgres" } else { "nobody" }
}

/// Without pipes: the server would keep them open.
fn run(command: &mut Command) -> Result<(), Failure> {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = quiet.status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{:?} failed: {status}", command.get_args().collect::<Vec<_>>()).into())
}
