//! `uart MACHINE ELF MESSAGES SWALLOW`: starts QEMU with its serial line connected to this program and acknowledges
//! messages, but swallows the first acknowledgement of every SWALLOW-th. Ends well if every message came, unchanged, and
//! those came twice of which the acknowledgement was swallowed.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use wire::{Frame, MAX_FRAME, decode, encode};

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("uart: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<(), Box<dyn Error>> {
    let [machine, elf, messages, swallow] = arguments.as_slice() else {
        return Err("usage: uart MACHINE ELF MESSAGES SWALLOW".into());
    };
    let (messages, swallow): (u32, u32) = (messages.parse()?, swallow.parse()?);
    // We listen and QEMU connects: no port to guess, and no race at the start.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut qemu = qemu(machine, elf, listener.local_addr()?.port())?;
    let (line, _) = listener.accept()?;
    line.set_nodelay(true)?;
    line.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut host = Host {
        line,
        swallow,
        seen: BTreeMap::new(),
        damaged: 0,
    };
    let published = host.serve();
    if published.is_err() {
        qemu.kill()?;
    }
    let status = qemu.wait()?;
    let published = published?;
    let missing = (0..messages)
        .filter(|number| !host.seen.contains_key(number))
        .count();
    let repeated = host.seen.values().filter(|times| **times > 1).count();
    println!(
        "{machine}: published={published} received={} missing={missing} repeated={repeated} damaged={}",
        host.seen.len(),
        host.damaged
    );
    let swallowed = messages / swallow;
    let counted = repeated >= swallowed as usize && host.seen.len() == messages as usize;
    if status.success() && missing == 0 && counted && published == messages && host.damaged == 0 {
        return Ok(());
    }
    Err(
        format!("not as it should be; at least {swallowed} were to come twice; QEMU ended with {status}")
            .into(),
    )
}

struct Host {
    line: TcpStream,
    swallow: u32,
    /// How often each number came.
    seen: BTreeMap<u32, u32>,
    damaged: u32,
}

impl Host {
    /// Answers until the device says that it is done; how many messages it counts.
    fn serve(&mut self) -> Result<u32, Box<dyn Error>> {
        let (mut frame, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            let read = self.line.read(&mut chunk)?;
            if read == 0 {
                return Err("the machine hung up".into());
            }
            for byte in &chunk[..read] {
                if *byte != 0 {
                    frame.push(*byte);
                    continue;
                }
                if let Some(published) = self.answer(&mut frame)? {
                    return Ok(published);
                }
                frame.clear();
            }
        }
    }

    fn answer(&mut self, frame: &mut [u8]) -> Result<Option<u32>, Box<dyn Error>> {
        // The zero that a device sends first ends what a reset cut off.
        if frame.is_empty() {
            return Ok(None);
        }
        match decode(frame) {
            Some(Frame::Message { id, payload }) => {
                let number = u32::from_le_bytes(payload.try_into()?);
                if id.strip_prefix("m-").and_then(|digits| digits.parse().ok()) != Some(number) {
                    return Err(format!("{id} carries {number}").into());
                }
                let times = self.seen.entry(number).or_default();
                *times += 1;
                let swallowed = number % self.swallow == self.swallow - 1 && *times == 1;
                let mut buffer = [0; MAX_FRAME];
                if let Some(ack) = encode(&Frame::Ack { id }, &mut buffer).filter(|_| !swallowed) {
                    self.line.write_all(ack)?;
                }
                Ok(None)
            }
            Some(Frame::Bye { published }) => Ok(Some(published)),
            Some(Frame::Ack { .. }) | None => {
                self.damaged += 1;
                Ok(None)
            }
        }
    }
}

fn qemu(machine: &str, elf: &str, port: u16) -> std::io::Result<Child> {
    Command::new("qemu-system-arm")
        .args(["-machine", machine, "-kernel", elf])
        .args(["-display", "none", "-monitor", "none"])
        .args(["-semihosting-config", "enable=on,target=native"])
        .args([
            "-chardev",
            &format!("socket,id=line,host=127.0.0.1,port={port},nodelay=on"),
        ])
        .args(["-serial", "chardev:line"])
        .spawn()
}
