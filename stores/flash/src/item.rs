//! A message as it lies in flash: a head of fixed size, its text parts, its payload. Versioned, little endian.

use heapless::Vec;
use postbox::id::{Invalid, MAX_CONTENT_TYPE_BYTES, MAX_KEY_BYTES, MAX_NAME_BYTES, check_length, check_text};
use postbox::message::{Headers, MAX_HEADER_BYTES, MessageKind};

/// What a message takes in flash beside its text and payload, before rounding up to a word: head and item header. What
/// that means for a device stands on the [crate]'s page.
pub const ITEM_OVERHEAD: usize = HEAD + 8;
/// Sequence number; version, kind, and the lengths of name, key, content type and headers in eight bytes.
pub(crate) const HEAD: usize = 8 + 8;
const VERSION: u8 = 1;
const NO_KEY: u16 = u16::MAX;

/// A message to be stored. Its id is made of the device's name and its sequence number, which survive a reset.
/// See the [crate].
#[derive(Clone, Copy, Debug)]
pub struct NewMessage<'a> {
    /// What it is, and where it goes.
    pub name: &'a str,
    /// To one listener or to every group.
    pub kind: MessageKind,
    /// Messages with one key are first delivered in the order of their enqueueing.
    pub key: Option<&'a str>,
    /// The body.
    pub payload: &'a [u8],
    /// Its media type.
    pub content_type: &'a str,
    /// Metadata.
    pub headers: Headers<'a>,
}

impl<'a> NewMessage<'a> {
    /// An event without a key or headers: see the [crate].
    pub const fn event(name: &'a str, payload: &'a [u8], content_type: &'a str) -> Self {
        Self {
            name,
            kind: MessageKind::Event,
            key: None,
            payload,
            content_type,
            headers: Headers::EMPTY,
        }
    }

    /// The same with an ordering key: see the [crate].
    pub const fn with_key(self, key: &'a str) -> Self {
        Self {
            key: Some(key),
            ..self
        }
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        check_text("message name", self.name, MAX_NAME_BYTES)?;
        check_text("content type", self.content_type, MAX_CONTENT_TYPE_BYTES)?;
        if let Some(key) = self.key {
            check_text("ordering key", key, MAX_KEY_BYTES)?;
        }
        check_length("headers", self.headers.as_lines().len(), MAX_HEADER_BYTES)
    }

    /// Its length in flash, without the item header.
    pub(crate) fn len(&self) -> usize {
        let text = [
            self.name,
            self.key.unwrap_or_default(),
            self.content_type,
            self.headers.as_lines(),
        ];
        let text = text.iter().map(|part| part.len()).sum::<usize>();
        HEAD.saturating_add(text).saturating_add(self.payload.len())
    }

    /// The item, if it fits; lengths were checked.
    pub(crate) fn encode<const ITEM: usize>(&self, sequence: u64) -> Option<Vec<u8, ITEM>> {
        let short = |len: usize| u8::try_from(len).ok();
        let long = |len: usize| u16::try_from(len).ok();
        let key = self.key.map_or(Some(NO_KEY), |key| long(key.len()))?;
        let mut item = Vec::new();
        item.extend_from_slice(&sequence.to_le_bytes()).ok()?;
        item.push(VERSION).ok()?;
        item.push(u8::from(self.kind == MessageKind::Command)).ok()?;
        item.push(short(self.name.len())?).ok()?;
        item.extend_from_slice(&key.to_le_bytes()).ok()?;
        item.push(short(self.content_type.len())?).ok()?;
        let headers = long(self.headers.as_lines().len())?;
        item.extend_from_slice(&headers.to_le_bytes()).ok()?;
        let parts = [
            self.name,
            self.key.unwrap_or_default(),
            self.content_type,
            self.headers.as_lines(),
        ];
        for part in parts {
            item.extend_from_slice(part.as_bytes()).ok()?;
        }
        item.extend_from_slice(self.payload).ok()?;
        Some(item)
    }
}

/// The parts of an item, checked to be what [`NewMessage::encode`] wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) sequence: u64,
    pub(crate) message: NewMessage<'a>,
}

impl<'a> Item<'a> {
    /// `None` for bytes that are no item: another program's, or of a later version.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (sequence, rest) = bytes.split_first_chunk::<8>()?;
        let (&[version, command, name, key_low, key_high, content_type, low, high], rest) =
            rest.split_first_chunk::<8>()?;
        if version != VERSION || command > 1 {
            return None;
        }
        let key = u16::from_le_bytes([key_low, key_high]);
        let keyed = key != NO_KEY;
        let (name, rest) = text(rest, usize::from(name))?;
        let (key, rest) = text(rest, if keyed { usize::from(key) } else { 0 })?;
        let (content_type, rest) = text(rest, usize::from(content_type))?;
        let (headers, payload) = text(rest, usize::from(u16::from_le_bytes([low, high])))?;
        let kind = if command == 1 {
            MessageKind::Command
        } else {
            MessageKind::Event
        };
        Some(Self {
            sequence: u64::from_le_bytes(*sequence),
            message: NewMessage {
                name,
                kind,
                key: keyed.then_some(key),
                payload,
                content_type,
                headers: Headers::from_lines(headers),
            },
        })
    }
}

fn text(bytes: &[u8], len: usize) -> Option<(&str, &[u8])> {
    let (text, rest) = bytes.split_at_checked(len)?;
    core::str::from_utf8(text).ok().map(|text| (text, rest))
}

/// 32-bit FNV-1a (Fowler, Noll, Vo: offset basis and prime as published).
pub(crate) fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: NewMessage<'_> = NewMessage {
        name: "read",
        kind: MessageKind::Command,
        key: Some("kéy"),
        payload: &[0, 255, 10],
        content_type: "x/y",
        headers: Headers::from_lines("tenant: acme\n"),
    };

    #[test]
    fn an_item_comes_back_as_it_was() {
        for message in [MESSAGE, NewMessage::event("e", b"", "x/y"), MESSAGE.with_key("")] {
            let bytes = message.encode::<64>(u64::MAX - 1).unwrap();
            assert_eq!(bytes.len(), message.len());
            let item = Item::decode(&bytes).unwrap();
            assert_eq!(item.sequence, u64::MAX - 1);
            let back = item.message;
            assert_eq!(
                (back.name, back.kind, back.key),
                (message.name, message.kind, message.key)
            );
            assert_eq!(
                (back.payload, back.content_type),
                (message.payload, message.content_type)
            );
            assert_eq!(back.headers, message.headers);
        }
    }

    #[test]
    fn an_item_that_was_cut_short_or_changed_never_panics() {
        let bytes = MESSAGE.encode::<64>(7).unwrap();
        for end in 0..bytes.len() {
            let _ = Item::decode(&bytes[..end]);
            for value in [0, 1, 127, 128, 255] {
                let mut changed = bytes.clone();
                changed[end] = value;
                let _ = Item::decode(&changed);
            }
        }
        assert!(Item::decode(&bytes[..HEAD]).is_none());
    }

    #[test]
    fn what_does_not_fit_is_not_cut() {
        assert!(MESSAGE.encode::<20>(1).is_none());
    }
}
