//! Messages as bytes, many in one allocation, shared by their rows and the claims on them.

use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};
use postbox::message::{HeaderBuf, Headers, MessageKind, MessageRef, OutboxMessage};

/// What stands before the text: its lengths, what it is, and nothing, so that the text is aligned and looked at in
/// words.
const HEAD: usize = 5 * 4 + 4;
/// The flags; above them the place of the media type in [`TYPES`].
const COMMAND: u8 = 1;
const KEYED: u8 = 2;
const TYPE: u32 = 2;
/// Media types that are not stored. The first stands for all others, which are.
const TYPES: [&str; 4] = ["", "application/octet-stream", "application/json", "text/plain"];

/// The head, then id, name, key, headers and media type one after the other, then the payload.
#[derive(Clone, Debug)]
pub(crate) struct Packed(Bytes);

/// So many bytes are allocated at once: some hundred messages, which are freed when the last of them goes.
const PIECE: usize = 32 * 1024;
/// A message with a longer payload is a piece of its own.
const LONG: usize = PIECE / 8;
/// What a new piece is begun for: most messages that are not long fit.
const LONGEST: usize = ALIGNED + HEAD + LONG + 512;
/// Where messages begin: at a line of the cache, which then mostly holds all that is looked at but for the payload.
const ALIGNED: usize = 64;

/// What messages are packed into.
#[derive(Debug, Default)]
pub(crate) struct Packer(BytesMut);

impl Packer {
    /// Copies a message that is soon gone again. One that is to wait for long must not keep its neighbours' memory.
    pub(crate) fn pack(&mut self, message: &OutboxMessage) -> Packed {
        let long = message.as_ref().payload.len() > LONG || !message.delay().is_zero();
        if long {
            return Packed::write(message, &mut BytesMut::new());
        }
        if self.0.capacity() < LONGEST && !self.0.try_reclaim(PIECE) {
            self.0 = BytesMut::with_capacity(PIECE);
        }
        Packed::write(message, &mut self.0)
    }
}

impl Packed {
    fn write(message: &OutboxMessage, buffer: &mut BytesMut) -> Self {
        let message = message.as_ref();
        let common = TYPES.iter().position(|common| *common == message.content_type);
        let common = u8::try_from(common.unwrap_or(0)).unwrap_or(0);
        let parts = [
            message.id,
            message.name,
            message.key.unwrap_or_default(),
            message.headers.as_lines(),
            if common == 0 { message.content_type } else { "" },
        ];
        let [id, name, key, headers, _] = parts.map(str::len);
        let text: usize = parts.iter().map(|part| part.len()).sum();
        buffer.reserve(ALIGNED + HEAD + text + message.payload.len());
        buffer.resize(buffer.as_ptr().align_offset(ALIGNED).min(ALIGNED), 0);
        buffer.advance(buffer.len());
        for length in [id, name, key, headers, text] {
            buffer.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        }
        let command = if message.kind == MessageKind::Command {
            COMMAND
        } else {
            0
        };
        let keyed = if message.key.is_some() { KEYED } else { 0 };
        buffer.extend_from_slice(&[common << TYPE | command | keyed, 0, 0, 0]);
        for part in parts {
            buffer.extend_from_slice(part.as_bytes());
        }
        buffer.extend_from_slice(message.payload);
        Self(buffer.split().freeze())
    }

    /// A copy in memory of its own.
    pub(crate) fn apart(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// A borrowed view. The text is seen to be text again, which costs less than a second allocation.
    pub(crate) fn as_ref(&self) -> MessageRef<'_> {
        const NOTHING: MessageRef<'static> = MessageRef {
            id: "",
            name: "",
            kind: MessageKind::Event,
            key: None,
            payload: &[],
            content_type: "",
            headers: Headers::EMPTY,
        };
        self.view().unwrap_or(NOTHING)
    }

    fn view(&self) -> Option<MessageRef<'_>> {
        let Head { lengths, flags, body } = self.head();
        let [id, name, key, headers, text] = lengths;
        let (text, payload) = body.split_at_checked(text)?;
        let text = std::str::from_utf8(text).ok()?;
        let (id, text) = text.split_at_checked(id)?;
        let (name, text) = text.split_at_checked(name)?;
        let (key, text) = text.split_at_checked(key)?;
        let (headers, content_type) = text.split_at_checked(headers)?;
        Some(MessageRef {
            id,
            name,
            kind: match flags & COMMAND {
                0 => MessageKind::Event,
                _ => MessageKind::Command,
            },
            key: (flags & KEYED != 0).then_some(key),
            payload,
            content_type: match TYPES.get(usize::from(flags >> TYPE)) {
                Some(common) if !common.is_empty() => common,
                _ => content_type,
            },
            headers: Headers::from_lines(headers),
        })
    }

    /// Reads a little of it.
    pub(crate) fn touch(&self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }

    pub(crate) fn has_id(&self, id: &str) -> bool {
        let head = self.head();
        head.body.get(..head.lengths[0]) == Some(id.as_bytes())
    }

    pub(crate) fn has_key(&self, key: &str) -> bool {
        let head = self.head();
        let [id, name, len, ..] = head.lengths;
        let from = id.saturating_add(name);
        head.flags & KEYED != 0 && head.body.get(from..from.saturating_add(len)) == Some(key.as_bytes())
    }

    pub(crate) fn to_message(&self) -> OutboxMessage {
        let message = self.as_ref();
        OutboxMessage::from_stored(
            message.id.into(),
            message.name.into(),
            message.kind,
            message.key.map(Into::into),
            message.payload.into(),
            Cow::Owned(message.content_type.into()),
            HeaderBuf::from(message.headers),
        )
    }

    fn head(&self) -> Head<'_> {
        let (head, body) = self.0.split_first_chunk().unwrap_or((&[0; HEAD], &[]));
        let length = |at: usize| {
            let length = head.get(at * 4..).and_then(|head| head.first_chunk());
            length.map_or(0, |length| u32::from_le_bytes(*length) as usize)
        };
        Head {
            lengths: [length(0), length(1), length(2), length(3), length(4)],
            flags: head[20],
            body,
        }
    }
}

/// A head as it is read.
struct Head<'a> {
    /// Of id, name, key, headers, and of the whole text.
    lengths: [usize; 5],
    flags: u8,
    body: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_memory_until_one_is_set_apart() {
        let message = OutboxMessage::create("m", "thing", vec![7; 64]).unwrap();
        let late = message.clone().with_delay(std::time::Duration::from_secs(1));
        let mut packer = Packer::default();
        let [first, second, late] = [&message, &message, &late].map(|message| packer.pack(message));
        assert!(late.0.is_unique());
        drop((second, packer));
        let apart = first.apart();
        assert_eq!(apart.as_ref().payload, first.as_ref().payload);
        assert!(apart.0.is_unique());
    }

    #[test]
    fn what_was_packed_comes_out_as_it_was() {
        let plain = OutboxMessage::create("m-1", "größer", b"".to_vec()).unwrap();
        let full = OutboxMessage::command("m-2", "a.b", b"\xff\0payload".to_vec())
            .and_then(|message| message.with_key("k"))
            .and_then(|message| message.with_content_type("x/y"))
            .and_then(|message| message.with_header("tenant", "é"))
            .unwrap();
        let mut packer = Packer::default();
        for message in [plain, full] {
            let stored = packer.pack(&message);
            assert_eq!(stored.to_message(), message);
            assert_eq!(stored.as_ref().content_type, message.as_ref().content_type);
            assert!(stored.has_id(message.id()) && !stored.has_id("m"));
            assert_eq!(stored.has_key("k"), message.as_ref().key.is_some());
        }
    }
}
