//! One place of the table: a message, what the store knows of it, and its links. Who links what is decided elsewhere.

use heapless::{String, Vec};
use postbox::claim::{Entry, Fence, State};
use postbox::id::{Excerpt, WorkerId};
use postbox::message::{Headers, MessageKind, MessageRef};
use postbox::time::Instant;

/// Names a place of the table.
pub(crate) type Index = u16;
/// No place.
pub(crate) const NONE: Index = Index::MAX;

/// Names a message: its place, and its number in the order of all enqueues.
///
/// The place is used again, the number is not: the key of a message that is gone names nothing, ever after. See the
/// [crate].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeaplessKey {
    pub(crate) slot: Index,
    pub(crate) sequence: u64,
}

/// A message, its text parts one after the other in one buffer.
#[derive(Clone, Debug)]
pub(crate) struct Stored<const TEXT: usize, const PAYLOAD: usize> {
    text: String<TEXT>,
    /// Where the id, the name, the key and the content type end; the headers are the rest.
    ends: [u16; 4],
    kind: MessageKind,
    keyed: bool,
    payload: Vec<u8, PAYLOAD>,
}

impl<const TEXT: usize, const PAYLOAD: usize> Stored<TEXT, PAYLOAD> {
    pub(crate) const EMPTY: Self = Self {
        text: String::new(),
        ends: [0; 4],
        kind: MessageKind::Event,
        keyed: false,
        payload: Vec::new(),
    };

    /// Takes in a message whose lengths were checked.
    pub(crate) fn fill(&mut self, message: &MessageRef<'_>) {
        let Self {
            text, ends, payload, ..
        } = self;
        text.clear();
        payload.clear();
        let parts = [
            message.id,
            message.name,
            message.key.unwrap_or_default(),
            message.content_type,
        ];
        for (part, end) in parts.into_iter().zip(ends) {
            let _ = text.push_str(part);
            *end = u16::try_from(text.len()).unwrap_or(u16::MAX);
        }
        let _ = text.push_str(message.headers.as_lines());
        let _ = payload.extend_from_slice(message.payload);
        self.kind = message.kind;
        self.keyed = message.key.is_some();
    }

    pub(crate) fn as_ref(&self) -> MessageRef<'_> {
        let [id, name, key, content_type] = self.ends;
        MessageRef {
            id: self.part(0, id),
            name: self.part(id, name),
            kind: self.kind,
            key: self.key(),
            payload: &self.payload,
            content_type: self.part(key, content_type),
            headers: Headers::from_lines(self.part(content_type, u16::MAX)),
        }
    }

    pub(crate) fn id(&self) -> &str {
        self.part(0, self.ends[0])
    }

    pub(crate) fn key(&self) -> Option<&str> {
        self.keyed.then(|| self.part(self.ends[1], self.ends[2]))
    }

    fn part(&self, from: u16, to: u16) -> &str {
        let to = usize::from(to).min(self.text.len());
        self.text.get(usize::from(from)..to).unwrap_or_default()
    }
}

/// Neighbours in a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    pub(crate) previous: Index,
    pub(crate) next: Index,
}

impl Links {
    pub(crate) const NONE: Self = Self {
        previous: NONE,
        next: NONE,
    };
}

/// The lists in which a message may wait for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// Heads that were due when they came, by when.
    Ready,
    /// Heads that were not due yet.
    Later,
    /// Heads that are in flight, by the end of their lease.
    Leased,
    /// Published messages that are kept, by when they were published.
    Published,
}

/// How many lists there are.
pub(crate) const LISTS: usize = 4;

/// Where a message waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) list: List,
    pub(crate) at: Instant,
    pub(crate) links: Links,
}

/// A place of the table.
#[derive(Debug)]
pub(crate) struct Slot<const TEXT: usize, const PAYLOAD: usize> {
    pub(crate) message: Stored<TEXT, PAYLOAD>,
    pub(crate) entry: Entry,
    pub(crate) sequence: u64,
    pub(crate) last_error: Excerpt,
    pub(crate) used: bool,
    pub(crate) place: Option<Place>,
    /// The messages of its key, in commit order; `None`: it stands in no lane.
    pub(crate) lane: Option<Links>,
    /// Of the head of a lane: the last of it, and the next lane of the same hash.
    pub(crate) lane_tail: Index,
    pub(crate) lane_chain: Index,
    pub(crate) key_hash: u32,
    /// The next id of the same hash; of a free place, the next free one.
    pub(crate) id_chain: Index,
    pub(crate) id_hash: u32,
}

impl<const TEXT: usize, const PAYLOAD: usize> Slot<TEXT, PAYLOAD> {
    pub(crate) const EMPTY: Self = Self {
        message: Stored::EMPTY,
        entry: Entry::restored(
            State::Dead { at: Instant::ZERO },
            Fence {
                worker: WorkerId::new(0),
                attempt: 0,
            },
            0,
            0,
            Instant::ZERO,
        ),
        sequence: 0,
        last_error: Excerpt::EMPTY,
        used: false,
        place: None,
        lane: None,
        lane_tail: NONE,
        lane_chain: NONE,
        key_hash: 0,
        id_chain: NONE,
        id_hash: 0,
    };
}

/// 32-bit FNV-1a (Fowler, Noll, Vo: offset basis and prime as published).
pub(crate) fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
