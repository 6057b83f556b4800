//! Messages: a borrowed view for everyone who only looks, an owned one for those who keep it.

#[cfg(feature = "alloc")]
mod codec;
mod headers;
#[cfg(feature = "alloc")]
mod outbox;
#[cfg(feature = "alloc")]
mod transport;

use core::fmt;

#[cfg(feature = "alloc")]
pub use codec::Codec;
#[cfg(feature = "std")]
pub use codec::EncodeError;
#[cfg(feature = "alloc")]
pub use headers::HeaderBuf;
pub use headers::{Headers, MAX_HEADER_BYTES, RESERVED_PREFIX, is_reserved};
#[cfg(feature = "alloc")]
pub use outbox::OutboxMessage;
#[cfg(feature = "alloc")]
pub use transport::Message;

/// The default limit of a payload, in bytes: 1 MiB, what common brokers take without tuning.
pub const DEFAULT_MAX_PAYLOAD_BYTES: usize = 1024 * 1024;
/// The limit of a payload that no setting lifts, in bytes: 64 MiB.
pub const HARD_MAX_PAYLOAD_BYTES: usize = 64 * 1024 * 1024;

/// Who is to get a message: one listener, or every subscriber group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// An order to do something: exactly one of the listeners takes it.
    Command,
    /// A fact: every subscriber group gets it once.
    Event,
}

impl MessageKind {
    /// `command` or `event`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Event => "event",
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A borrowed view of one message. Stores own the bytes; publishers only look.
///
/// `Debug` prints the payload's length, never its bytes.
///
/// ```
/// use postbox::message::{Headers, MessageKind, MessageRef};
///
/// let message = MessageRef {
///     id: "order-1:placed",
///     name: "order.placed",
///     kind: MessageKind::Event,
///     key: Some("order/1"),
///     payload: b"secret",
///     content_type: "application/json",
///     headers: Headers::EMPTY,
/// };
/// assert!(!format!("{message:?}").contains("secret"));
/// ```
#[derive(Clone, Copy)]
pub struct MessageRef<'a> {
    /// Unique; the same on every redelivery. At most 512 bytes.
    pub id: &'a str,
    /// What it is, and where it goes: queues and topics carry this name. At most 255 bytes.
    pub name: &'a str,
    /// To one listener or to every group.
    pub kind: MessageKind,
    /// Messages with one key are first delivered in commit order. At most 768 bytes.
    pub key: Option<&'a str>,
    /// The body, untouched.
    pub payload: &'a [u8],
    /// Its media type.
    pub content_type: &'a str,
    /// Metadata.
    pub headers: Headers<'a>,
}

impl fmt::Debug for MessageRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageRef")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("key", &self.key)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
