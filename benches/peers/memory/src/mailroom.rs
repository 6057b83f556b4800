//! mailroom: its outbox in memory and its producer.

use std::convert::Infallible;

use async_trait::async_trait;
use mailroom::outbox::InsertMessages;
use mailroom::outbox::inmemory::InMemoryOutbox;
use mailroom::transport::Sender;
use mailroom::{Envelope, Producer, Transport};
use postbox_benches::Failure;

use crate::PAYLOAD;

pub(crate) fn prepare(rows: u64) -> Result<Box<dyn FnOnce() -> Result<(), Failure>>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let outbox = InMemoryOutbox::<String, Vec<u8>>::default();
    let message = |row| (format!("message-{row:012}"), vec![7; PAYLOAD]).into();
    let messages = (0..rows).map(message).collect();
    let insert = async { outbox.insert_messages(messages, &mut ()).await };
    runtime
        .block_on(insert)
        .map_err(|error| format!("mailroom: {error:?}"))?;
    let producer = Producer::new(outbox, Transport::new(Nowhere));
    Ok(Box::new(move || {
        let done = runtime.block_on(producer.run(Default::default()));
        done.map(drop)
            .map_err(|error| format!("mailroom: {error:?}").into())
    }))
}

#[derive(Clone)]
struct Nowhere;

#[async_trait]
impl Sender<String, Vec<u8>> for Nowhere {
    type Error = Infallible;

    async fn send(&mut self, envelope: Envelope<String, Vec<u8>>) -> Result<(), Infallible> {
        std::hint::black_box(&envelope);
        Ok(())
    }
}
