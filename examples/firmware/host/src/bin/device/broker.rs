//! The broker that the device publishes to, and a subscriber.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Mosquitto on a port of its own, in a directory of its own.
pub(crate) struct Broker {
    process: Child,
    subscriber: Option<Child>,
    pub(crate) port: u16,
    pub(crate) directory: PathBuf,
}

impl Broker {
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let directory = std::env::temp_dir().join(format!("postbox-device-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let settings = directory.join("mosquitto.conf");
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n");
        std::fs::write(&settings, text)?;
        // Debian keeps it where users do not look.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let process = Command::new("mosquitto")
            .arg("-c")
            .arg(&settings)
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let broker = Self {
            process,
            subscriber: None,
            port,
            directory,
        };
        let give_up = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > give_up {
                return Err("the broker did not start".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(broker)
    }

    /// What is published from now on, a line a message.
    pub(crate) fn subscribe(&mut self) -> Result<Receiver<String>, Box<dyn Error>> {
        let port = self.port.to_string();
        let mut subscriber = Command::new("mosquitto_sub")
            .args(["-p", &port, "-t", "outbox/#", "-q", "1", "-v"])
            .stdout(Stdio::piped())
            .spawn()?;
        let output = subscriber.stdout.take().ok_or("no output")?;
        self.subscriber = Some(subscriber);
        let (tell, heard) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        // It says nothing when it has subscribed.
        thread::sleep(Duration::from_millis(500));
        Ok(heard)
    }

    pub(crate) fn stall(&self, time: Duration) -> std::io::Result<()> {
        let process = self.process.id().to_string();
        Command::new("kill").args(["-STOP", &process]).status()?;
        thread::sleep(time);
        Command::new("kill").args(["-CONT", &process]).status()?;
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        for child in self.subscriber.iter_mut().chain([&mut self.process]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
