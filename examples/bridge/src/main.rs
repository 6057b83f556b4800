//! Takes what devices publish to `outbox/ID` on an MQTT broker into a SQLite database, each message once in effect.
//!
//! A reading and the receipt of its message are stored in one transaction, and the message is acknowledged to the broker
//! after that. Killed in between, the bridge is given the message again, finds the receipt, and only acknowledges.

use std::collections::VecDeque;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use postbox::aggregate::{
    CommitBatch, EventRecord, InboxReceipt, Repository, RepositoryError, StreamIdentity, StreamWrite,
};
use postbox::join::{Either, race};
use postbox::message::{Codec, HeaderBuf};
use postbox::time::Instant;
use postbox_sqlite::SqliteRepository;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, Publish, QoS};

/// The name that receipts are kept under, and the broker's name for this client: its session outlives it.
const CONSUMER: &str = "bridge";
/// After all events: asks for a stream's version alone.
const LATEST: u64 = i64::MAX as u64;
/// How long to wait before connecting again.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes what devices publish into a database. Stops at Ctrl-C; may be killed at any moment.
#[derive(Debug, Parser)]
struct Cli {
    /// Where the readings go
    #[arg(long)]
    database: PathBuf,
    /// The broker's host
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The broker's port
    #[arg(long, default_value_t = 1883)]
    port: u16,
    /// Say how many readings of this device there are, and their sum, and end
    #[arg(long)]
    sum: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let ran = match &cli.sum {
        Some(device) => sum(&cli, device).await,
        None => take_in(&cli).await,
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bridge: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn take_in(cli: &Cli) -> Result<(), Box<dyn Error>> {
    let repository = SqliteRepository::open(&cli.database)?;
    let mut options = MqttOptions::new(CONSUMER, &cli.host, cli.port);
    // What comes while the bridge is away is kept for it, and nothing counts before it is acknowledged.
    options.set_clean_session(false).set_manual_acks(true);
    let (client, mut connection) = AsyncClient::new(options, 16);
    let mut shutdown = std::pin::pin!(postbox_tokio::shutdown_signal());
    // What is stored and not acknowledged yet. The client's queue is emptied by `poll` alone: to wait for room in it here
    // would be to wait for ever.
    let mut stored = VecDeque::new();
    let mut subscribed = false;
    loop {
        let event = race(shutdown.as_mut(), std::pin::pin!(connection.poll())).await;
        match event {
            Either::A(()) => return Ok(()),
            Either::B(Ok(Event::Incoming(Packet::ConnAck(_)))) => subscribed = false,
            Either::B(Ok(Event::Incoming(Packet::Publish(message)))) => {
                keep(&repository, &message).await?;
                stored.push_back(message);
            }
            Either::B(Ok(_)) => {}
            // The broker is away: the devices keep what they have, and it gives us again what was not acknowledged.
            Either::B(Err(_)) => {
                stored.clear();
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        subscribed = subscribed || client.try_subscribe("outbox/#", QoS::AtLeastOnce).is_ok();
        while stored
            .front()
            .is_some_and(|message| client.try_ack(message).is_ok())
        {
            stored.pop_front();
        }
    }
}

/// Stores a reading with the receipt of its message, unless the receipt is there.
async fn keep(repository: &SqliteRepository, message: &Publish) -> Result<(), Box<dyn Error>> {
    let id = message.topic.rsplit('/').next().unwrap_or_default();
    // `DEVICE-SEQUENCE`: a message that is none is nobody's, and is only acknowledged.
    let Some((device, _)) = id.rsplit_once('-') else {
        return Ok(());
    };
    let receipt = InboxReceipt::new(CONSUMER, id)?;
    let stream = StreamIdentity::new("reading", device)?;
    let version = repository
        .load(&stream, LATEST)
        .await?
        .map_or(0, |tail| tail.version);
    let mut batch = CommitBatch::new();
    batch.receipts.push(receipt);
    batch.streams.push(StreamWrite {
        stream,
        expected: version,
        events: vec![EventRecord {
            name: "Read".into(),
            version: 1,
            codec: Codec::new("text", 1)?,
            payload: message.payload.to_vec(),
            sequence: 0,
            recorded_at: Instant::ZERO,
            metadata: HeaderBuf::new(),
        }],
    });
    match repository.commit(batch).await {
        Ok(_) | Err(RepositoryError::DuplicateReceipt { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn sum(cli: &Cli, device: &str) -> Result<(), Box<dyn Error>> {
    let repository = SqliteRepository::open(&cli.database)?;
    let stream = StreamIdentity::new("reading", device)?;
    let readings = repository
        .load(&stream, 0)
        .await?
        .map_or_else(Vec::new, |tail| tail.events);
    let mut total = 0;
    for reading in &readings {
        total += std::str::from_utf8(&reading.payload)?.parse::<u64>()?;
    }
    println!("readings {} sum {total}", readings.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn message(id: &str, payload: &str) -> Publish {
        Publish::new(format!("outbox/{id}"), QoS::AtLeastOnce, payload)
    }

    async fn stored(repository: &SqliteRepository, device: &str) -> usize {
        let stream = StreamIdentity::new("reading", device).unwrap();
        let tail = repository.load(&stream, 0).await.unwrap();
        tail.map_or(0, |tail| tail.events.len())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[tokio::test]
    async fn a_message_that_comes_again_is_stored_once() {
        let repository = SqliteRepository::memory().unwrap();
        for id in ["s-1", "s-2", "s-1", "s-2"] {
            keep(&repository, &message(id, "7")).await.unwrap();
        }
        assert_eq!(stored(&repository, "s").await, 2);
    }

    #[tokio::test]
    async fn a_message_without_a_device_is_nobodys() {
        let repository = SqliteRepository::memory().unwrap();
        keep(&repository, &message("nothing", "7")).await.unwrap();
        assert_eq!(stored(&repository, "nothing").await, 0);
    }
}
