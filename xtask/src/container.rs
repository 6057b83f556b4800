//! A PostgreSQL server in a container: started, waited for, and removed with all it has. Knows docker and podman, whose
//! words are the same.

use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::host::{free_port, succeed};

const ENGINES: [&str; 2] = ["docker", "podman"];
const IMAGE: &str = "docker.io/library/postgres:17-alpine";
/// How long one may take to start; fetching the image comes before.
const PATIENCE: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(200);

/// A container that is there until this is dropped.
#[derive(Debug)]
pub(crate) struct Container {
    engine: PathBuf,
    id: String,
    port: u16,
}

impl Container {
    /// The first engine that answers; a client whose daemon does not run is none.
    pub(crate) fn engine() -> Result<&'static str, String> {
        ENGINES
            .into_iter()
            .find(|engine| succeed(Command::new(engine).arg("info")).is_ok())
            .ok_or_else(|| String::from("neither docker nor podman runs here"))
    }

    /// Starts a server with these settings, and waits until it answers.
    pub(crate) fn start(engine: PathBuf, settings: &[&str]) -> Result<Self, String> {
        let port = free_port()?;
        let publish = format!("127.0.0.1:{port}:5432");
        let mut run = Command::new(&engine);
        run.args(["run", "--detach", "--env", "POSTGRES_HOST_AUTH_METHOD=trust"]);
        run.args(["--publish", &publish, IMAGE]);
        run.args(settings.iter().flat_map(|setting| ["-c", setting]));
        let id = succeed(&mut run)?.trim().to_owned();
        // From here on it is removed, however this ends.
        let container = Self { engine, id, port };
        container.wait()?;
        Ok(container)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn wait(&self) -> Result<(), String> {
        let start = Instant::now();
        // By TCP: while the image sets itself up, a first server listens on a socket only.
        let ready = ["pg_isready", "--host=127.0.0.1", "--username=postgres"];
        while let Err(why) = succeed(Command::new(&self.engine).args(["exec", &self.id]).args(ready)) {
            let running = ["inspect", "--format", "{{.State.Running}}", &self.id];
            let running = succeed(Command::new(&self.engine).args(running));
            if !running.is_ok_and(|answer| answer.trim() == "true") {
                let says = succeed(Command::new(&self.engine).args(["logs", &self.id])).unwrap_or_default();
                return Err(format!("the container {} has ended: {}", self.id, says.trim()));
            }
            if start.elapsed() > PATIENCE {
                return Err(format!(
                    "the container {} is not ready after {PATIENCE:?}: {why}",
                    self.id
                ));
            }
            sleep(PAUSE);
        }
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let remove = ["rm", "--force", "--volumes", &self.id];
        let _ = Command::new(&self.engine).args(remove).output();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// An engine that writes down what it is told, is ready at the third question, and whose containers run or have
    /// ended.
    fn engine(directory: &Path, runs: &str) -> PathBuf {
        let script = format!(
            "#!/bin/sh\ncd '{}' || exit 9\necho \"$*\" >> told\ncase \"$1\" in\n\
             run) echo c0ffee ;;\nexec) test \"$(grep -c ^exec told)\" -ge 3 ;;\ninspect) echo {runs} ;;\n\
             logs) echo 'no room' ;;\nesac\n",
            directory.display()
        );
        let path = directory.join("engine");
        // Not by us: a program that is open for writing, here or in what another test starts, does not run.
        let write = [
            "-c",
            "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"",
            "sh",
            &script,
        ];
        succeed(Command::new("sh").args(write).arg(&path)).unwrap();
        path
    }

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("postbox-container-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    fn told(directory: &Path) -> Vec<String> {
        let told = fs::read_to_string(directory.join("told")).unwrap();
        told.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_container_is_published_on_the_port_of_its_url_waited_for_and_removed() {
        let directory = directory("life");
        let container =
            Container::start(engine(&directory, "true"), &["fsync=off", "max_connections=300"]).unwrap();
        let url = container.url();
        drop(container);
        let told = told(&directory);
        fs::remove_dir_all(&directory).unwrap();
        let port = url.strip_prefix("postgres://postgres@127.0.0.1:").unwrap();
        let port = port.strip_suffix("/postgres").unwrap();
        assert_eq!(
            told[0],
            format!(
                "run --detach --env POSTGRES_HOST_AUTH_METHOD=trust --publish 127.0.0.1:{port}:5432 {IMAGE} \
                 -c fsync=off -c max_connections=300"
            )
        );
        let asked = "exec c0ffee pg_isready --host=127.0.0.1 --username=postgres";
        assert_eq!(told.iter().filter(|line| *line == asked).count(), 3);
        assert_eq!(told.last().unwrap(), "rm --force --volumes c0ffee");
    }

    #[test]
    fn a_container_that_ends_is_not_waited_for_says_why_and_is_removed() {
        let directory = directory("end");
        let why = Container::start(engine(&directory, "false"), &[]).unwrap_err();
        let told = told(&directory);
        fs::remove_dir_all(&directory).unwrap();
        assert!(why.contains("c0ffee") && why.contains("no room"), "{why}");
        assert_eq!(told.last().unwrap(), "rm --force --volumes c0ffee");
    }
}
