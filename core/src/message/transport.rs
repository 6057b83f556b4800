//! The message as a bus delivers it: owned, and not yet trusted.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{HeaderBuf, Headers, MessageKind, MessageRef};
use crate::id::{Invalid, check_id};

/// A delivered message. Its id may be missing or malformed: [`check_id`](Self::check_id) tells.
///
/// `Debug` prints the payload's length, never its bytes.
///
/// ```
/// use postbox::message::{Message, MessageKind};
///
/// let message = Message::new("todo.create", MessageKind::Command, br#"{"id":"t1"}"#.to_vec()).with_id("m-1");
/// assert_eq!(message.check_id()?, "m-1");
/// # Ok::<(), postbox::id::Invalid>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    id: Option<String>,
    name: String,
    kind: MessageKind,
    key: Option<String>,
    payload: Vec<u8>,
    content_type: Cow<'static, str>,
    headers: HeaderBuf,
}

impl Message {
    /// A message without an id, as JSON.
    pub fn new(name: impl Into<String>, kind: MessageKind, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            id: None,
            name: name.into(),
            kind,
            key: None,
            payload: payload.into(),
            content_type: Cow::Borrowed("application/json"),
            headers: HeaderBuf::new(),
        }
    }

    /// Sets the id.
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the ordering key.
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the media type.
    pub fn with_content_type(mut self, content_type: impl Into<Cow<'static, str>>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// Sets all headers.
    pub fn with_headers(mut self, headers: HeaderBuf) -> Self {
        self.headers = headers;
        self
    }

    /// The id, if there is one, as it came.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The id, if it can serve to tell duplicates: present, not blank, at most 512 bytes, no control characters.
    pub fn check_id(&self) -> Result<&str, Invalid> {
        let id = self.id().ok_or(Invalid::Blank { field: "message id" })?;
        check_id(id).map(|()| id)
    }

    /// What it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Command or event.
    pub const fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The ordering key.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The body.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Its media type.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Metadata; [`Headers::get`] ignores case.
    pub fn headers(&self) -> Headers<'_> {
        self.headers.as_headers()
    }

    /// A borrowed view; the id is empty when there is none.
    pub fn as_ref(&self) -> MessageRef<'_> {
        MessageRef {
            id: self.id().unwrap_or_default(),
            name: &self.name,
            kind: self.kind,
            key: self.key(),
            payload: &self.payload,
            content_type: &self.content_type,
            headers: self.headers(),
        }
    }
}

impl From<MessageRef<'_>> for Message {
    fn from(message: MessageRef<'_>) -> Self {
        Self {
            id: (!message.id.is_empty()).then(|| message.id.into()),
            name: message.name.into(),
            kind: message.kind,
            key: message.key.map(Into::into),
            payload: message.payload.into(),
            content_type: match message.content_type {
                "application/json" => Cow::Borrowed("application/json"),
                "application/octet-stream" => Cow::Borrowed("application/octet-stream"),
                other => Cow::Owned(other.into()),
            },
            headers: message.headers.into(),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}
