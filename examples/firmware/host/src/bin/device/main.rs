//! `device MACHINE ELF RESETS SEED [BRIDGE]`: a broker and a subscriber for the device, and what may happen to them:
//! resets at random moments, a broker that stalls. Ends well if every acknowledged reading reached the subscriber, and
//! counts repeats.
//!
//! With the program of `examples/bridge`, that one takes the readings into a database too, and is killed before every
//! second reset; then the sums of the database and of what the subscriber heard, each once, must be the same.

mod bridge;
mod broker;
mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use bridge::Bridge;
use broker::Broker;
use machine::Device;

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
