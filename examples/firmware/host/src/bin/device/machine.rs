//! The device in its emulator.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// The machine, its reset button, and what it prints.
pub(crate) struct Device {
    process: Child,
    button: TcpStream,
    output: thread::JoinHandle<String>,
}

impl Device {
    pub(crate) fn start(machine: &str, elf: &str, broker: u16) -> Result<Self, Box<dyn Error>> {
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

    pub(crate) fn reset(&mut self) -> std::io::Result<()> {
        self.say("system_reset")
    }

    pub(crate) fn say(&mut self, command: &str) -> std::io::Result<()> {
        writeln!(self.button, "{{\"execute\":\"{command}\"}}")
    }

    pub(crate) fn is_running(&mut self) -> std::io::Result<bool> {
        Ok(self.process.try_wait()?.is_none())
    }

    /// Waits for its end; what it printed.
    pub(crate) fn end(mut self) -> Result<String, Box<dyn Error>> {
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
