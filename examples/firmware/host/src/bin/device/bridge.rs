//! The program beside the broker, and how it is killed.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::Broker;

/// The program that takes readings into a database.
pub(crate) struct Bridge {
    program: String,
    process: Child,
    database: PathBuf,
}

impl Bridge {
    pub(crate) fn start(program: &str, broker: &Broker) -> std::io::Result<Self> {
        let database = broker.directory.join("readings.db");
        let bridge = Self {
            program: program.to_owned(),
            process: Self::spawn(program, &database, broker.port)?,
            database,
        };
        // Its session must be there before the first reading; it says nothing when it is.
        thread::sleep(Duration::from_secs(1));
        Ok(bridge)
    }

    pub(crate) fn spawn(program: &str, database: &Path, broker: u16) -> std::io::Result<Child> {
        let mut command = Command::new(program);
        command.arg("--database").arg(database);
        command.args(["--port", &broker.to_string()]).spawn()
    }

    pub(crate) fn kill_and_start_again(&mut self, broker: &Broker, away: Duration) -> std::io::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        thread::sleep(away);
        self.process = Self::spawn(&self.program, &self.database, broker.port)?;
        Ok(())
    }

    /// Waits until the database says what is expected.
    pub(crate) fn sums_to(&self, expected: &str) -> Result<String, Box<dyn Error>> {
        let give_up = Instant::now() + Duration::from_secs(20);
        loop {
            let mut sum = Command::new(&self.program);
            let sum = sum
                .arg("--database")
                .arg(&self.database)
                .args(["--sum", "sensor-7"])
                .output()?;
            let said = String::from_utf8(sum.stdout)?.trim().to_owned();
            if said == expected {
                return Ok(said);
            }
            if Instant::now() > give_up {
                return Err(format!("the database has {said:?}, the subscriber heard {expected:?}").into());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
