//! A whole device: readings go into flash and from there over MQTT 5, QoS 1, to a broker on the host; each leaves the
//! flash when the broker's PUBACK came. The host resets it at random moments and stalls its broker: see `host/`.
//!
//! What it does is the page of `examples/sensor`; here are its connection and its publisher.
#![no_std]
#![no_main]

use core::num::NonZero;

use board::flash::{self, Flash};
use board::qemu::{end, print};
use board::{kept, nic};
use embassy_executor::Spawner;
use embassy_net::tcp::TcpSocket;
use embassy_net::{Ipv4Address, Ipv4Cidr, Stack, StackResources, StaticConfigV4};
use embassy_net_driver_channel::Device;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::mutex::Mutex;
use embassy_sync::signal::Signal;
use embassy_time::{Duration, Timer, with_timeout};
use postbox::message::MessageRef;
use postbox::publisher::{AsyncMessagePublisher, PublishBatch, PublishError};
use rust_mqtt::Bytes;
use rust_mqtt::buffer::BumpBuffer;
use rust_mqtt::client::Client;
use rust_mqtt::client::event::Event;
use rust_mqtt::client::options::{ConnectOptions, PublicationOptions, TopicReference};
use rust_mqtt::config::KeepAlive;
use rust_mqtt::types::{MqttString, TopicName};
use sensor::Outbox;
use static_cell::StaticCell;

const READINGS: u32 = 200;
const REGION: core::ops::Range<u32> = 0..16 * 1024;
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// Words that a reset leaves alone: how many readings were taken, how often it was reset, and for each reading whether
/// it was acknowledged by the outbox. The host writes the last: where its broker listens.
const NEXT: usize = 0;
const BOOTS: usize = 1;
const ACKNOWLEDGED: usize = 2;
const PORT: usize = 255;

type Mqtt<'a> = Client<'a, 'a, TcpSocket<'a>, BumpBuffer<'a>, 1, 1, 1, 1, 4, 0, 0>;

/// One connection to the broker, until it fails.
struct Connection<'a> {
    client: Mutex<NoopRawMutex, Mqtt<'a>>,
    failed: Signal<NoopRawMutex, ()>,
}

impl Connection<'_> {
    async fn exchange(&self, message: MessageRef<'_>) -> Option<()> {
        let mut topic = [0; 64];
        let topic = topic_of(message.id, &mut topic)?;
        let name = TopicName::new(MqttString::from_str(topic).ok()?)?;
        let options = PublicationOptions::new(TopicReference::Name(name)).at_least_once();
        let client = &mut *self.client.lock().await;
        let packet = client
            .publish(&options, Bytes::from(message.payload))
            .await
            .ok()??;
        loop {
            let acknowledged = match client.poll().await.ok()? {
                Event::PublishAcknowledged(ack) => ack.packet_identifier == packet,
                _ => false,
            };
            forget_what_was_read(client);
            if acknowledged {
                return Some(());
            }
        }
    }
}

impl AsyncMessagePublisher for &Connection<'_> {
    type Error = &'static str;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<&'static str>> {
        match with_timeout(ANSWER_WITHIN, self.exchange(message)).await {
            Ok(Some(())) => Ok(()),
            _ => {
                self.failed.signal(());
                Err(PublishError::Unavailable("the connection failed"))
            }
        }
    }

    async fn publish_batch(&self, batch: &mut PublishBatch<'_>) {
        while let Some((ticket, message)) = batch.start() {
            batch.report(ticket, self.publish(message).await);
        }
    }
}

/// `outbox/ID`: the id travels with the message, so that its receiver can tell a duplicate.
fn topic_of<'b>(id: &str, buffer: &'b mut [u8; 64]) -> Option<&'b str> {
    const PREFIX: &[u8] = b"outbox/";
    let topic = buffer.get_mut(..PREFIX.len() + id.len())?;
    let (prefix, rest) = topic.split_at_mut(PREFIX.len());
    prefix.copy_from_slice(PREFIX);
    rest.copy_from_slice(id.as_bytes());
    core::str::from_utf8(topic).ok()
}

#[expect(
    unsafe_code,
    reason = "the client's own way to say that nothing of its buffer is held any more"
)]
fn forget_what_was_read(client: &mut Mqtt<'_>) {
    // SAFETY: called when the last event has been dropped.
    unsafe { client.buffer_mut().reset() };
}

#[embassy_executor::task]
async fn chip(runner: nic::Runner) {
    runner.run().await
}

#[embassy_executor::task]
async fn network(mut runner: embassy_net::Runner<'static, Device<'static, { nic::MTU }>>) {
    runner.run().await
}

/// Connects, publishes until the connection fails, and again.
#[embassy_executor::task]
async fn publishing(outbox: &'static Outbox<Flash>, stack: Stack<'static>) {
    loop {
        let (mut received, mut to_send, mut memory) = ([0; 1024], [0; 1024], [0; 1024]);
        let mut socket = TcpSocket::new(stack, &mut received, &mut to_send);
        socket.set_timeout(Some(Duration::from_secs(2)));
        let broker = (Ipv4Address::new(10, 0, 2, 2), kept::read(PORT) as u16);
        if socket.connect(broker).await.is_err() {
            Timer::after_millis(50).await;
            continue;
        }
        let mut buffer = BumpBuffer::new(&mut memory);
        let mut client = Mqtt::new(&mut buffer);
        let (Some(alive), Ok(name)) = (NonZero::new(30), MqttString::from_str(sensor::DEVICE)) else {
            end(false)
        };
        let options = ConnectOptions::new()
            .clean_start()
            .keep_alive(KeepAlive::Seconds(alive));
        let connecting = client.connect(socket, &options, Some(name));
        let connected = matches!(with_timeout(Duration::from_secs(1), connecting).await, Ok(Ok(_)));
        if connected {
            forget_what_was_read(&mut client);
            let connection = Connection {
                client: Mutex::new(client),
                failed: Signal::new(),
            };
            // Returns when the connection failed; nothing else ends it.
            if sensor::publish(outbox, &connection, connection.failed.wait())
                .await
                .is_err()
            {
                end(false);
            }
        }
        Timer::after_millis(50).await;
    }
}

#[embassy_executor::task]
async fn measuring(outbox: &'static Outbox<Flash>) {
    while kept::read(NEXT) < READINGS {
        let number = kept::read(NEXT);
        // A reset right here leaves a reading of which nobody was told that it is stored: the next is another one.
        kept::write(NEXT, number + 1);
        let digits = [100, 10, 1].map(|place| b'0' + (number / place % 10) as u8);
        if let Err(error) = sensor::measured(outbox, &digits).await {
            print!("reading {}: {}", number, error);
            end(false);
        }
        kept::write(ACKNOWLEDGED + number as usize, 1);
        Timer::after_millis(40).await;
    }
    while outbox.stored().await != Ok(0) {
        Timer::after_millis(10).await;
    }
    for number in (0..READINGS).filter(|number| kept::read(ACKNOWLEDGED + *number as usize) == 0) {
        print!("unacknowledged {}", number);
    }
    print!("boots {}", kept::read(BOOTS));
    end(true)
}

#[embassy_executor::task]
async fn start(spawner: Spawner, stack: Stack<'static>) {
    static OUTBOX: StaticCell<Outbox<Flash>> = StaticCell::new();
    if flash::take().is_blank() && Outbox::format(flash::take(), REGION).await.is_err() {
        end(false);
    }
    match sensor::open(flash::take(), REGION).await {
        Ok(outbox) => {
            let outbox: &'static _ = OUTBOX.init(outbox);
            let (Ok(publishing), Ok(measuring)) = (publishing(outbox, stack), measuring(outbox)) else {
                end(false)
            };
            spawner.spawn(publishing);
            spawner.spawn(measuring);
        }
        Err(error) => {
            print!("the outbox does not open: {}", error);
            end(false)
        }
    }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    static EXECUTOR: StaticCell<board::Executor> = StaticCell::new();
    static BUFFERS: StaticCell<nic::Buffers> = StaticCell::new();
    static RESOURCES: StaticCell<StackResources<2>> = StaticCell::new();
    board::init();
    kept::add(BOOTS, 1);
    let (device, runner) = nic::start(BUFFERS.init(nic::Buffers::new()), [2, 0, 0, 0, 0, 1]);
    let config = embassy_net::Config::ipv4_static(StaticConfigV4 {
        address: Ipv4Cidr::new(Ipv4Address::new(10, 0, 2, 15), 24),
        gateway: Some(Ipv4Address::new(10, 0, 2, 2)),
        dns_servers: Default::default(),
    });
    // Another seed at each boot: else the new connection has the port and numbers of the one that the reset cut off.
    let seed = 0x5EED + u64::from(kept::read(BOOTS));
    let (stack, network_runner) =
        embassy_net::new(device, config, RESOURCES.init(StackResources::new()), seed);
    EXECUTOR.init(board::Executor::new()).run(|spawner| {
        let tasks = (chip(runner), network(network_runner), start(spawner, stack));
        let (Ok(chip), Ok(network), Ok(start)) = tasks else {
            end(false)
        };
        spawner.spawn(chip);
        spawner.spawn(network);
        spawner.spawn(start);
    })
}
