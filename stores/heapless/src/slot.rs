//! One place of the table: a message, what the store knows of it, and its links. Who links what is decided elsewhere.

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
    text: [u8; TEXT],
    /// Where the id, the name, the key, the content type and the headers end.
    ends: [u16; 5],
    payload_len: u16,
    kind: MessageKind,
    keyed: bool,
    payload: Words<PAYLOAD>,
}

/// Bytes that begin at a word: copying from anywhere else is slow on small cores.
#[derive(Clone, Debug)]
#[repr(align(4))]
struct Words<const N: usize>([u8; N]);

impl<const TEXT: usize, const PAYLOAD: usize> Stored<TEXT, PAYLOAD> {
    pub(crate) const EMPTY: Self = Self {
        text: [0; TEXT],
        ends: [0; 5],
        payload_len: 0,
        kind: MessageKind::Event,
        keyed: false,
        payload: Words([0; PAYLOAD]),
    };

    /// Takes in a message whose lengths were checked.
    pub(crate) fn fill(&mut self, message: &MessageRef<'_>) {
        let parts = [
            message.id,
            message.name,
            message.key.unwrap_or_default(),
            message.content_type,
            message.headers.as_lines(),
        ];
        let mut at = 0_usize;
        for (part, end) in parts.into_iter().zip(&mut self.ends) {
            at = copy(&mut self.text, at, part.as_bytes());
            *end = index(at);
        }
        self.payload_len = index(copy(&mut self.payload.0, 0, message.payload));
        self.kind = message.kind;
        self.keyed = message.key.is_some();
    }

    pub(crate) fn as_ref(&self) -> MessageRef<'_> {
        let [id, name, key, content_type, headers] = self.ends;
        // One look at all of the text, not one at each part.
        let text = self.part(0, headers);
        let part = |from: u16, to: u16| text.get(usize::from(from)..usize::from(to)).unwrap_or_default();
        MessageRef {
            id: part(0, id),
            name: part(id, name),
            kind: self.kind,
            key: self.keyed.then(|| part(name, key)),
            payload: self.payload(),
            content_type: part(key, content_type),
            headers: Headers::from_lines(part(content_type, headers)),
        }
    }

    pub(crate) fn id(&self) -> &str {
        self.part(0, self.ends[0])
    }

    pub(crate) fn key(&self) -> Option<&str> {
        self.keyed.then(|| self.part(self.ends[1], self.ends[2]))
    }

    /// Whether this is its id, or its key: as bytes, since they need not be seen to be text for that.
    pub(crate) fn has_id(&self, id: &str) -> bool {
        self.bytes(0, self.ends[0]) == id.as_bytes()
    }

    pub(crate) fn has_key(&self, key: &str) -> bool {
        self.keyed && self.bytes(self.ends[1], self.ends[2]) == key.as_bytes()
    }

    fn payload(&self) -> &[u8] {
        self.payload
            .0
            .get(..usize::from(self.payload_len))
            .unwrap_or_default()
    }

    fn part(&self, from: u16, to: u16) -> &str {
        core::str::from_utf8(self.bytes(from, to)).unwrap_or_default()
    }

    fn bytes(&self, from: u16, to: u16) -> &[u8] {
        self.text
            .get(usize::from(from)..usize::from(to))
            .unwrap_or_default()
    }
}

/// Copies bytes to a place, if they fit; where they end.
fn copy(to: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    let end = at.saturating_add(bytes.len());
    match to.get_mut(at..end) {
        Some(place) => {
            place.copy_from_slice(bytes);
            end
        }
        None => at,
    }
}

/// Lengths were checked: a place has less than 2^16 bytes.
fn index(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
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
