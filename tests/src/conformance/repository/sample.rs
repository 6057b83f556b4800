//! The aggregate that the checks use, and raw parts of commits.

use std::borrow::Cow;

use postbox::aggregate::{
    Aggregate, EventRecord, RepositoryError, SnapshotRecord, Snapshottable, StreamIdentity, StreamWrite,
    Upcaster,
};
use postbox::message::{Codec, HeaderBuf};
use postbox::time::Instant;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Counts what it is told, and remembers its labels.
#[derive(Debug, Default)]
pub(super) struct Counter {
    entity: postbox::aggregate::Entity,
    pub(super) sum: i64,
    pub(super) label: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum CounterEvent {
    Opened { id: String },
    Added { amount: i64, unit: String },
    Labelled { label: String },
}

#[derive(Serialize, Deserialize)]
pub(super) struct CounterState {
    sum: i64,
    label: String,
}

impl Aggregate for Counter {
    type Event = CounterEvent;
    const TYPE: &'static str = "counter";

    fn entity(&self) -> &postbox::aggregate::Entity {
        &self.entity
    }
    fn entity_mut(&mut self) -> &mut postbox::aggregate::Entity {
        &mut self.entity
    }
    fn apply(&mut self, event: &CounterEvent) {
        match event {
            CounterEvent::Opened { id } => self.entity.set_id(id),
            CounterEvent::Added { amount, unit } => {
                self.sum += if unit == "dozen" { 12 * amount } else { *amount }
            }
            CounterEvent::Labelled { label } => self.label.clone_from(label),
        }
    }
    fn upcasters() -> &'static [Upcaster] {
        // Version 1 was `{"by": n}`, version 2 `{"amount": n}`, version 3 has a unit.
        const CHAIN: &[Upcaster] = &[
            Upcaster::new("Added", 1, 2, by_to_amount),
            Upcaster::new("Added", 2, 3, add_unit),
        ];
        CHAIN
    }
}

impl Snapshottable for Counter {
    type State = CounterState;
    const STATE_VERSION: u32 = 2;

    fn state(&self) -> CounterState {
        CounterState {
            sum: self.sum,
            label: self.label.clone(),
        }
    }
    fn restore(&mut self, state: CounterState) {
        (self.sum, self.label) = (state.sum, state.label);
    }
}

impl Counter {
    /// A new one.
    pub(super) fn open(id: &str) -> Self {
        let mut counter = Self::default();
        let id = id.to_owned();
        counter.record(CounterEvent::Opened { id }).expect("it encodes");
        counter
    }

    pub(super) fn add(&mut self, amount: i64) {
        let unit = "one".to_owned();
        self.record(CounterEvent::Added { amount, unit })
            .expect("it encodes");
    }

    pub(super) fn label(&mut self, label: &str) -> Result<(), RepositoryError> {
        let label = label.to_owned();
        self.record(CounterEvent::Labelled { label })
    }

    pub(super) fn version(&self) -> u64 {
        self.entity.version()
    }
}

pub(super) fn stream(id: &str) -> StreamIdentity {
    StreamIdentity::new(Counter::TYPE, id).expect("a good identity")
}

/// An event as it was stored by a program of that version.
pub(super) fn event(name: &'static str, version: u32, fields: &Value) -> EventRecord {
    EventRecord {
        name: Cow::Borrowed(name),
        version,
        codec: Codec::JSON,
        payload: serde_json::to_vec(&json!({ name: fields })).expect("it encodes"),
        sequence: 0,
        recorded_at: Instant::ZERO,
        metadata: HeaderBuf::new(),
    }
}

pub(super) fn added(amount: i64) -> EventRecord {
    event("Added", 3, &json!({ "amount": amount, "unit": "one" }))
}

/// A write of events onto a stream at version `expected`, numbered.
pub(super) fn write(id: &str, expected: u64, events: Vec<EventRecord>) -> StreamWrite {
    let numbered = events.into_iter().zip(expected + 1..);
    StreamWrite {
        stream: stream(id),
        expected,
        events: numbered
            .map(|(event, sequence)| EventRecord { sequence, ..event })
            .collect(),
    }
}

pub(super) fn snapshot(id: &str, version: u64, sum: i64) -> SnapshotRecord {
    SnapshotRecord {
        stream: stream(id),
        version,
        state_type: Counter::TYPE.to_owned(),
        state_version: Counter::STATE_VERSION,
        codec: Codec::JSON,
        payload: serde_json::to_vec(&json!({ "sum": sum, "label": "snapshot" })).expect("it encodes"),
    }
}

fn by_to_amount(mut fields: Value) -> Result<Value, String> {
    let by = fields.get_mut("by").ok_or("no `by`")?.take();
    Ok(json!({ "amount": by }))
}

fn add_unit(mut fields: Value) -> Result<Value, String> {
    let map = fields.as_object_mut().ok_or("no fields")?;
    map.insert("unit".to_owned(), json!("dozen"));
    Ok(fields)
}
