//! The message that a handler enqueues: checked when it is made, stored with the state.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::{Codec, HARD_MAX_PAYLOAD_BYTES, HeaderBuf, MessageKind, MessageRef};
use crate::id::{
    Invalid, MAX_CONTENT_TYPE_BYTES, MAX_KEY_BYTES, MAX_NAME_BYTES, check_id, check_length, check_text,
};

/// Names the correlation header: what belongs together.
const CORRELATION_ID: &str = "correlation-id";
/// Names the causation header: which message led to this one.
const CAUSATION_ID: &str = "causation-id";

/// A message to be stored in the commit that changes the state, and published right after it.
///
/// Made by [`create`](Self::create) (an event) or [`command`](Self::command); every part is checked when it is
/// set, so a message that exists can be stored. `Debug` prints the payload's length, never its bytes.
///
/// ```
/// use postbox::message::OutboxMessage;
///
/// let message = OutboxMessage::create("order-1:placed", "order.placed", br#"{"id":"order-1"}"#.to_vec())?
///     .with_header("tenant", "acme")?
///     .with_correlation_id("request-7")?;
/// assert_eq!(message.as_ref().headers.get("tenant"), Some("acme"));
/// assert!(OutboxMessage::create(" ", "order.placed", vec![]).is_err());
/// # Ok::<(), postbox::id::Invalid>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct OutboxMessage {
    id: String,
    name: String,
    kind: MessageKind,
    key: Option<String>,
    payload: Vec<u8>,
    content_type: Cow<'static, str>,
    headers: HeaderBuf,
    delay: Duration,
}

impl OutboxMessage {
    /// An event: every subscriber group will get it.
    ///
    /// # Errors
    /// [`Invalid`] for a blank, over-long (512 bytes) or control-character id, a bad name (255 bytes), or a
    /// payload over 64 MiB. The store refuses payloads over its own limit, 1 MiB by default, at commit.
    pub fn create(
        id: impl Into<String>,
        name: impl Into<String>,
        payload: impl Into<Vec<u8>>,
    ) -> Result<Self, Invalid> {
        Self::new(id.into(), name.into(), MessageKind::Event, payload.into())
    }

    /// A command: one of the listeners will get it.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn command(
        id: impl Into<String>,
        name: impl Into<String>,
        payload: impl Into<Vec<u8>>,
    ) -> Result<Self, Invalid> {
        Self::new(id.into(), name.into(), MessageKind::Command, payload.into())
    }

    /// An event whose payload is `value` as JSON, with a new `UUIDv7` as its id.
    ///
    /// # Errors
    /// As [`create`](Self::create), and when `value` does not serialise.
    #[cfg(feature = "std")]
    pub fn event_json(
        name: impl Into<String>,
        value: &impl serde::Serialize,
    ) -> Result<Self, super::EncodeError> {
        let payload = serde_json::to_vec(value)
            .map_err(|error| super::EncodeError::Json(crate::id::Excerpt::display(&error)))?;
        Ok(Self::create(new_id(), name, payload)?.with_content_type("application/json")?)
    }

    fn new(id: String, name: String, kind: MessageKind, payload: Vec<u8>) -> Result<Self, Invalid> {
        check_id(&id)?;
        check_text("message name", &name, MAX_NAME_BYTES)?;
        check_length("payload", payload.len(), HARD_MAX_PAYLOAD_BYTES)?;
        let content_type = Cow::Borrowed(match payload.first() {
            Some(b'{' | b'[' | b'"') => "application/json",
            _ => "application/octet-stream",
        });
        let headers = HeaderBuf::new();
        Ok(Self {
            id,
            name,
            kind,
            key: None,
            payload,
            content_type,
            headers,
            delay: Duration::ZERO,
        })
    }

    /// A message as a store kept it: checked when it was first made, not again.
    pub fn from_stored(
        id: String,
        name: String,
        kind: MessageKind,
        key: Option<String>,
        payload: Vec<u8>,
        content_type: Cow<'static, str>,
        headers: HeaderBuf,
    ) -> Self {
        Self {
            id,
            name,
            kind,
            key,
            payload,
            content_type,
            headers,
            delay: Duration::ZERO,
        }
    }

    /// Sets the ordering key. Without this, a message that is committed with an aggregate takes the
    /// aggregate's: its type, a slash and its id.
    ///
    /// # Errors
    /// [`Invalid`] for a blank, over-long (768 bytes) or control-character key.
    pub fn with_key(mut self, key: impl Into<String>) -> Result<Self, Invalid> {
        let key = key.into();
        check_text("ordering key", &key, MAX_KEY_BYTES)?;
        self.key = Some(key);
        Ok(self)
    }

    /// Sets the media type. By default `application/json` for a payload that starts like JSON, else
    /// `application/octet-stream`.
    ///
    /// # Errors
    /// [`Invalid`] for a blank, over-long (127 bytes) or control-character type.
    pub fn with_content_type(mut self, content_type: impl Into<Cow<'static, str>>) -> Result<Self, Invalid> {
        let content_type = content_type.into();
        check_text("content type", &content_type, MAX_CONTENT_TYPE_BYTES)?;
        self.content_type = content_type;
        Ok(self)
    }

    /// Says how the payload was encoded, in the headers `x-postbox-payload-codec` and `-codec-version`.
    ///
    /// # Errors
    /// [`Invalid`] when the headers grow over their limit.
    pub fn with_codec(mut self, codec: &Codec) -> Result<Self, Invalid> {
        self.headers.set_any("x-postbox-payload-codec", codec.name())?;
        let version = alloc::format!("{}", codec.version());
        self.headers
            .set_any("x-postbox-payload-codec-version", &version)?;
        Ok(self)
    }

    /// Publishes it this much later than the commit, at the earliest.
    pub const fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds a header; see [`HeaderBuf::set`] for what is refused.
    pub fn with_header(mut self, key: &str, value: &str) -> Result<Self, Invalid> {
        self.set_meta(key, value)?;
        Ok(self)
    }

    /// Says what the message belongs to.
    pub fn with_correlation_id(self, id: &str) -> Result<Self, Invalid> {
        self.with_header(CORRELATION_ID, id)
    }

    /// Says which message led to this one.
    pub fn with_causation_id(self, id: &str) -> Result<Self, Invalid> {
        self.with_header(CAUSATION_ID, id)
    }

    /// Sets a header in place; see [`HeaderBuf::set`] for what is refused.
    pub fn set_meta(&mut self, key: &str, value: &str) -> Result<(), Invalid> {
        self.headers.set(key, value)
    }

    /// Says in place what the message belongs to.
    pub fn set_correlation_id(&mut self, id: &str) -> Result<(), Invalid> {
        self.set_meta(CORRELATION_ID, id)
    }

    /// Says in place which message led to this one.
    pub fn set_causation_id(&mut self, id: &str) -> Result<(), Invalid> {
        self.set_meta(CAUSATION_ID, id)
    }

    /// Stamps where the message came from; the key too, when it has none.
    pub(crate) fn stamp_source(
        &mut self,
        kind: &str,
        id: &str,
        sequence: u64,
        key: String,
    ) -> Result<(), Invalid> {
        self.headers.set_any("x-postbox-source-aggregate-type", kind)?;
        self.headers.set_any("x-postbox-source-aggregate-id", id)?;
        self.headers
            .set_any("x-postbox-source-sequence", &alloc::format!("{sequence}"))?;
        self.key.get_or_insert(key);
        Ok(())
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How long after the commit it becomes due.
    pub const fn delay(&self) -> Duration {
        self.delay
    }

    /// A borrowed view.
    pub fn as_ref(&self) -> MessageRef<'_> {
        MessageRef {
            id: &self.id,
            name: &self.name,
            kind: self.kind,
            key: self.key.as_deref(),
            payload: &self.payload,
            content_type: &self.content_type,
            headers: self.headers.as_headers(),
        }
    }
}

impl fmt::Debug for OutboxMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// A new message id: `UUIDv7`, which sorts by time.
#[cfg(feature = "std")]
pub(crate) fn new_id() -> String {
    alloc::string::ToString::to_string(&uuid::Uuid::now_v7())
}
