//! `device MACHINE ELF RESETS SEED [BRIDGE]`: a broker and a subscriber for the device, and what may happen to them:
//! resets at random moments, a broker that stalls. Ends well if every acknowledged reading reached the subscriber, and
//! counts repeats.
//!
//! With the program of `examples/bridge`, that one takes the readings into a database too, and is killed before every
//! second reset; then the sums of the database and of what the subscriber heard, each once, must be the same.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

const READINGS: u32 = 200;
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("device: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<(), Box<dyn Error>> {
    let (arguments, bridge) = arguments.split_at(arguments.len().min(4));
    let [machine, elf, resets, seed] = arguments else {
        return Err("usage: device MACHINE ELF RESETS SEED [BRIDGE]".into());
    };
    let (resets, mut dice): (u32, u64) = (resets.parse()?, seed.parse()?);
    let mut broker = Broker::start()?;
    let heard = broker.subscribe()?;
    let mut bridge = bridge
        .first()
        .map(|program| Bridge::start(program, &broker))
        .transpose()?;
    let mut device = Device::start(machine, elf, broker.port)?;
    let mut done = 0;
    while done < resets && device.is_running()? {
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_millis(60 + (dice >> 33) % 350));
        if done == resets / 2 {
            // For longer than the device waits for an acknowledgement.
            broker.stall(Duration::from_millis(1_200))?;
        }
        if let Some(bridge) = bridge.as_mut().filter(|_| done % 2 == 0) {
            // The first time it is away for long: more waits for it than its client's queue holds.
            let away = Duration::from_millis(if done == 0 { 1_500 } else { 0 });
            bridge.kill_and_start_again(&broker, away)?;
        }
        // It may have come to its end meanwhile: then this was no reset.
        done += u32::from(device.reset().is_ok());
    }
    let said = device.end()?;
    thread::sleep(Duration::from_millis(500));
    let unacknowledged: BTreeSet<u32> = numbers(&said, "unacknowledged ");
    let mut received: BTreeMap<u32, BTreeMap<String, u32>> = BTreeMap::new();
    for line in heard.try_iter() {
        let (topic, payload) = line.split_once(' ').ok_or("a message without a payload")?;
        *received
            .entry(payload.parse()?)
            .or_default()
            .entry(topic.to_owned())
            .or_default() += 1;
    }
    let missing = (0..READINGS)
        .filter(|number| !unacknowledged.contains(number) && !received.contains_key(number))
        .count();
    let repeats: u32 = received
        .values()
        .flat_map(BTreeMap::values)
        .map(|times| times - 1)
        .sum();
    let two_ids = received.values().filter(|ids| ids.len() > 1).count();
    println!(
        "{machine}: readings={READINGS} resets={done} received={} missing={missing} repeats={repeats} unacknowledged={}",
        received.len(),
        unacknowledged.len()
    );
    if let Some(bridge) = bridge {
        let sum = received.keys().map(|number| u64::from(*number)).sum::<u64>();
        let expected = format!("readings {} sum {sum}", received.len());
        println!("{machine}: the database has {}", bridge.sums_to(&expected)?);
    }
    if missing == 0 && two_ids == 0 && done == resets && unacknowledged.len() <= resets as usize {
        return Ok(());
    }
    Err(
        format!("not as it should be; {two_ids} readings came under two ids; the device said {said:?}")
            .into(),
    )
}

fn numbers(said: &str, prefix: &str) -> BTreeSet<u32> {
    let number = |line: &str| line.strip_prefix(prefix)?.trim().parse().ok();
    said.lines().filter_map(number).collect()
}

/// Mosquitto on a port of its own, in a directory of its own.
struct Broker {
    process: Child,
    subscriber: Option<Child>,
    port: u16,
    directory: PathBuf,
}

impl Broker {
    fn start() -> Result<Self, Box<dyn Error>> {
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
    fn subscribe(&mut self) -> Result<Receiver<String>, Box<dyn Error>> {
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

    fn stall(&self, time: Duration) -> std::io::Result<()> {
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

/// The program that takes readings into a database.
struct Bridge {
    program: String,
    process: Child,
    database: PathBuf,
}

impl Bridge {
    fn start(program: &str, broker: &Broker) -> std::io::Result<Self> {
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

    fn spawn(program: &str, database: &Path, broker: u16) -> std::io::Result<Child> {
        let mut command = Command::new(program);
        command.arg("--database").arg(database);
        command.args(["--port", &broker.to_string()]).spawn()
    }

    fn kill_and_start_again(&mut self, broker: &Broker, away: Duration) -> std::io::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        thread::sleep(away);
        self.process = Self::spawn(&self.program, &self.database, broker.port)?;
        Ok(())
    }

    /// Waits until the database says what is expected.
    fn sums_to(&self, expected: &str) -> Result<String, Box<dyn Error>> {
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

/// The machine, its reset button, and what it prints.
struct Device {
    process: Child,
    button: TcpStream,
    output: thread::JoinHandle<String>,
}

impl Device {
    fn start(machine: &str, elf: &str, broker: u16) -> Result<Self, Box<dyn Error>> {
        /// The word of the memory that a reset leaves alone from which the device reads the broker's port.
        const PORT_AT: u32 = 0x203F_0000 + 32 * 1024 + 4 * 255;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let control = listener.local_addr()?.port();
        let mut process = Command::new("qemu-system-arm")
            .args([
                "-machine", machine, "-kernel", elf, "-display", "none", "-monitor", "none",
            ])
            .args([
                "-serial",
                "null",
                "-semihosting-config",
                "enable=on,target=native",
                "-nic",
                "user",
            ])
            .args([
                "-device",
                &format!("loader,addr={PORT_AT:#x},data={broker},data-len=4"),
            ])
            .args([
                "-chardev",
                &format!("socket,id=control,host=127.0.0.1,port={control}"),
            ])
            .args(["-mon", "chardev=control,mode=control"])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = process.stdout.take().ok_or("no output")?;
        let output = thread::spawn(move || {
            let mut text = String::new();
            let _ = output.read_to_string(&mut text);
            text
        });
        let (button, _) = listener.accept()?;
        let mut device = Self {
            process,
            button,
            output,
        };
        device.say("qmp_capabilities")?;
        Ok(device)
    }

    fn reset(&mut self) -> std::io::Result<()> {
        self.say("system_reset")
    }

    fn say(&mut self, command: &str) -> std::io::Result<()> {
        writeln!(self.button, "{{\"execute\":\"{command}\"}}")
    }

    fn is_running(&mut self) -> std::io::Result<bool> {
        Ok(self.process.try_wait()?.is_none())
    }

    /// Waits for its end; what it printed.
    fn end(mut self) -> Result<String, Box<dyn Error>> {
        let give_up = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.process.try_wait()? {
                break status;
            }
            if Instant::now() > give_up {
                self.process.kill()?;
                return Err("the device did not come to its end".into());
            }
            thread::sleep(Duration::from_millis(20));
        };
        let said = self.output.join().unwrap_or_default();
        if status.success() {
            Ok(said)
        } else {
            Err(format!("the device ended with {status}: {said}").into())
        }
    }
}
