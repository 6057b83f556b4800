//! PgBouncer in transaction mode in front of a server of the tests: private, on a free port, with fewer connections
//! than clients, gone afterwards. Finds the program, or installs the package; else says so.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::debian::{self, is_root};
use crate::host::{free_port, give_to, nobody_special};
use crate::plan::{Mode, Step};
use crate::toolchain::Toolchain;

/// Tests that find this at `no` do not prepare statements: PgBouncer follows those from 1.21 on only.
pub(crate) const PREPARED: &str = "POSTBOX_TEST_POSTGRES_PREPARED";
/// Beside the `PATH`.
const PLACES: &[&str] = &[
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
];
/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pooler that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Bouncer {
    /// The server's, but through the pooler.
    pub(crate) url: String,
    child: Child,
    directory: PathBuf,
}

impl Bouncer {
    /// Starts one in front of the server with this URL.
    pub(crate) fn start(server: &str) -> Result<Self, String> {
        let program = program()?;
        let target = Target::parse(server)?;
        let port = free_port()?;
        let name = format!("postbox-pgbouncer-{}-{port}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let file = directory.join("pgbouncer.ini");
        fs::write(&file, target.settings(port)).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut command = Command::new(&program);
        // It refuses to run as root, and changes its user itself.
        if is_root() {
            give_to(nobody_special(), &directory)?;
            command.args(["-u", nobody_special()]);
        }
        let log = fs::File::create(directory.join("log")).map_err(|error| error.to_string())?;
        let child = command
            .arg(&file)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let mut bouncer = Self {
            url: format!("postgres://{}@127.0.0.1:{port}/{}", target.user, target.database),
            child,
            directory,
        };
        bouncer.wait(port)?;
        Ok(bouncer)
    }

    fn wait(&mut self, port: u16) -> Result<(), String> {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || start.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                return Err(format!("pgbouncer does not listen: {log}"));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Whether a pooler can be put before this server; says why not. On Debian as root the program is installed.
pub(crate) fn fits(server: &str) -> Result<(), String> {
    Target::parse(server)?;
    program().map(|_| ())
}

/// Where the program is; on Debian as root it is installed.
fn program() -> Result<PathBuf, String> {
    if let Some(program) = found() {
        return Ok(program);
    }
    debian::install(&["pgbouncer"])?;
    found().ok_or_else(|| String::from("pgbouncer was installed, and is not there"))
}

fn found() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(PLACES.iter().map(PathBuf::from))
        .map(|place| place.join("pgbouncer"))
        .find(|program: &PathBuf| Path::is_file(program))
}

/// The suites and tests that need no session of their own, through the pooler. One at a time, and without those that
/// hold two transactions open while others go on: it has two connections to the server.
pub(crate) fn step(toolchain: Toolchain, no_pooler: Option<&str>) -> Step {
    const NEXTEST: &str = "run --quiet -p xtask -- bouncer cargo nextest run -p postbox-postgres --test conformance \
        --test pooled --test store --test-threads 1 -- --skip relay --skip unprepared --skip hints --skip plans \
        --skip schema --skip races --skip exhausted --skip handed_on --skip migration --skip that_a_transaction_holds";
    const TEST: &str = "run --quiet -p xtask -- bouncer cargo test -p postbox-postgres --test conformance --test pooled \
        --test store -- --test-threads 1 --skip relay --skip unprepared --skip hints --skip plans --skip schema \
        --skip races --skip exhausted --skip handed_on --skip migration --skip that_a_transaction_holds";
    let mode = no_pooler.map_or(Mode::Run, |why| Mode::Skip(why.to_owned()));
    let command = if toolchain.nextest { NEXTEST } else { TEST };
    Step::cargo("postgres behind pgbouncer", command).mode(mode)
}

/// A server as PgBouncer is told of it.
#[derive(Debug, PartialEq, Eq)]
struct Target<'a> {
    user: &'a str,
    password: Option<&'a str>,
    host: &'a str,
    port: &'a str,
    database: &'a str,
}

impl<'a> Target<'a> {
    /// Of a plain URL: a host and a user, and nothing that would need more than to be cut out.
    fn parse(url: &'a str) -> Result<Self, String> {
        let rest = url
            .strip_prefix("postgres://")
            .or(url.strip_prefix("postgresql://"));
        let plain = rest.filter(|rest| !rest.contains(['%', '?', '\'', ' ']));
        let cut = || {
            let (login, place) = plain?.split_once('@')?;
            let (server, database) = place.split_once('/')?;
            let (host, port) = server.rsplit_once(':').unwrap_or((server, "5432"));
            let (user, password) = match login.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (login, None),
            };
            Some(Self {
                user,
                password,
                host,
                port,
                database,
            })
        };
        cut().ok_or_else(|| {
            String::from("the server's URL is not as plain as postgres://user@host:5432/database")
        })
    }

    fn settings(&self, port: u16) -> String {
        let Self {
            user, host, database, ..
        } = self;
        let password = self
            .password
            .map_or(String::new(), |it| format!(" password='{it}'"));
        format!(
            "[databases]\n{database} = host={host} port={} dbname={database} user={user}{password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 1000\n\
             ignore_startup_parameters = extra_float_digits\n",
            self.port
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_what_is_not_plain_is_refused() {
        let plain = Target::parse("postgres://me:secret@db:7000/shop").unwrap();
        let expected = Target {
            user: "me",
            password: Some("secret"),
            host: "db",
            port: "7000",
            database: "shop",
        };
        assert_eq!(plain, expected);
        assert_eq!(Target::parse("postgresql://me@db/shop").unwrap().port, "5432");
        for url in [
            "postgres://db/shop",
            "postgres://me@db",
            "postgres://m%40e@db/shop",
            "mysql://me@db/shop",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn sessions_are_shared_by_transaction_and_fewer_than_clients() {
        let settings = Target::parse("postgres://me@db/shop").unwrap().settings(6000);
        for line in [
            "shop = host=db port=5432 dbname=shop user=me",
            "pool_mode = transaction",
            "listen_port = 6000",
        ] {
            assert!(
                settings.lines().any(|it| it == line),
                "{line:?} is not in {settings}"
            );
        }
    }
}
