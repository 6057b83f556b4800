//! Messages as text and payloads, many in one piece of memory. Who shares a piece is not known here.

use postbox::message::{Headers, MessageKind, MessageRef};

/// Media types that are not stored. The first stands for all others, which are.
const TYPES: [&str; 4] = ["", "application/octet-stream", "application/json", "text/plain"];
const COMMAND: u8 = 1;

/// Where a message lies in which piece: id, name, key, headers and media type one after the other, and the payload
/// apart, so that what is text stays known to be text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed {
    piece: u32,
    text: u32,
    payload: u32,
    payload_len: u32,
    /// Of id, name, key, headers and media type: core allows no more than 8 KiB of any.
    lengths: [u16; 5],
    /// The place of its media type in [`TYPES`], doubled; [`COMMAND`] or not.
    is: u8,
    keyed: bool,
}

/// The bytes of some messages.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    text: String,
    payloads: Vec<u8>,
}

impl Piece {
    /// With room for one message.
    pub(crate) fn for_one(message: MessageRef<'_>) -> Self {
        let text = parts(message).iter().map(|part| part.len()).sum();
        Self::with_room(text, message.payload.len())
    }

    pub(crate) fn with_room(text: usize, payloads: usize) -> Self {
        Self {
            text: String::with_capacity(text),
            payloads: Vec::with_capacity(payloads),
        }
    }

    /// How many bytes it holds.
    pub(crate) fn len(&self) -> usize {
        self.text.len() + self.payloads.len()
    }

    /// Forgets its messages and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.payloads.clear();
    }

    /// Copies a message, into what is the piece of this number.
    pub(crate) fn write(&mut self, piece: u32, message: MessageRef<'_>) -> Packed {
        let short = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        let long = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let parts = parts(message);
        let packed = Packed {
            piece,
            text: long(self.text.len()),
            payload: long(self.payloads.len()),
            payload_len: long(message.payload.len()),
            lengths: parts.map(|part| short(part.len())),
            is: common(message.content_type) * 2 + u8::from(message.kind == MessageKind::Command) * COMMAND,
            keyed: message.key.is_some(),
        };
        for part in parts {
            self.text.push_str(part);
        }
        self.payloads.extend_from_slice(message.payload);
        packed
    }
}

impl Packed {
    /// The number of its piece.
    pub(crate) const fn piece(self) -> u32 {
        self.piece
    }

    /// Whether the message has a key.
    pub(crate) const fn is_keyed(self) -> bool {
        self.keyed
    }

    /// A borrowed view, of the piece that it lies in.
    #[inline]
    pub(crate) fn view<'p>(&self, piece: &'p Piece) -> MessageRef<'p> {
        self.find(piece).unwrap_or(NOTHING)
    }

    #[inline]
    fn find<'p>(&self, piece: &'p Piece) -> Option<MessageRef<'p>> {
        let [id, name, key, headers, content_type] = self.lengths.map(usize::from);
        let text = piece.text.get(self.text as usize..)?;
        let (id, text) = text.split_at_checked(id)?;
        let (name, text) = text.split_at_checked(name)?;
        let (key, text) = text.split_at_checked(key)?;
        let (headers, text) = text.split_at_checked(headers)?;
        let payloads = piece.payloads.get(self.payload as usize..)?;
        Some(MessageRef {
            id,
            name,
            kind: if self.is & COMMAND != 0 {
                MessageKind::Command
            } else {
                MessageKind::Event
            },
            key: self.keyed.then_some(key),
            payload: payloads.get(..self.payload_len as usize)?,
            content_type: match TYPES.get(usize::from(self.is / 2)) {
                Some(common) if !common.is_empty() => common,
                _ => text.get(..content_type)?,
            },
            headers: Headers::from_lines(headers),
        })
    }
}

/// What is text of a message and has to be stored.
fn parts(message: MessageRef<'_>) -> [&str; 5] {
    [
        message.id,
        message.name,
        message.key.unwrap_or_default(),
        message.headers.as_lines(),
        match common(message.content_type) {
            0 => message.content_type,
            _ => "",
        },
    ]
}

fn common(content_type: &str) -> u8 {
    let common = TYPES.iter().position(|common| *common == content_type);
    u8::try_from(common.unwrap_or(0)).unwrap_or(0)
}

/// What a piece shows that does not hold the message.
pub(crate) const NOTHING: MessageRef<'static> = MessageRef {
    id: "",
    name: "",
    kind: MessageKind::Event,
    key: None,
    payload: &[],
    content_type: "",
    headers: Headers::EMPTY,
};

#[cfg(test)]
mod tests {
    use postbox::message::OutboxMessage;

    use super::*;

    #[test]
    fn what_was_packed_is_seen_as_it_was() {
        let plain = OutboxMessage::create("m-1", "größer", b"".to_vec()).unwrap();
        let full = OutboxMessage::command("m-2", "a.b", b"\xff\0payload".to_vec())
            .and_then(|message| message.with_key("k"))
            .and_then(|message| message.with_content_type("x/y"))
            .and_then(|message| message.with_header("tenant", "é"))
            .unwrap();
        let mut piece = Piece::default();
        let packed = [&plain, &full, &plain].map(|message| piece.write(7, message.as_ref()));
        for (packed, message) in packed.into_iter().zip([&plain, &full, &plain]) {
            let seen = packed.view(&piece);
            assert_eq!(
                (seen.id, seen.name, seen.kind),
                (message.id(), message.as_ref().name, message.as_ref().kind)
            );
            assert_eq!(
                (seen.key, seen.payload),
                (message.as_ref().key, message.as_ref().payload)
            );
            assert_eq!(seen.content_type, message.as_ref().content_type);
            assert_eq!(seen.headers.as_lines(), message.as_ref().headers.as_lines());
            assert_eq!((packed.piece(), packed.is_keyed()), (7, seen.key.is_some()));
        }
        assert_eq!(packed[1].view(&Piece::default()).id, "");
    }
}
