//! Message metadata as one piece of text, `key: value` a line: read without allocating, written by anyone.

use core::fmt;

#[cfg(feature = "alloc")]
use crate::id::{Excerpt, Invalid, check_length, check_text};

/// The most metadata a message carries, in bytes: keys, values and separators together.
pub const MAX_HEADER_BYTES: usize = 8 * 1024;
/// Keys that start so, in any case, are Postbox's own.
pub const RESERVED_PREFIX: &str = "x-postbox-";

/// Whether only Postbox may write this key.
///
/// ```
/// assert!(postbox::message::is_reserved("X-Postbox-Source-Id"));
/// assert!(!postbox::message::is_reserved("x-tenant"));
/// ```
pub fn is_reserved(key: &str) -> bool {
    key.get(..RESERVED_PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_PREFIX))
}

/// A borrowed list of headers: lines of `key: value`, in the order they were added.
///
/// Keys compare without regard to ASCII case. Neither part holds control characters, keys hold no colon;
/// that is checked where headers are written ([`OutboxMessage`](super::OutboxMessage)), and a line that
/// breaks the form (another program wrote it) is passed over.
///
/// ```
/// use postbox::message::Headers;
///
/// let headers = Headers::from_lines("tenant: acme\ncorrelation-id: c-1\n");
/// assert_eq!(headers.get("Tenant"), Some("acme"));
/// assert_eq!(headers.iter().count(), 2);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Headers<'a>(&'a str);

impl<'a> Headers<'a> {
    /// None.
    pub const EMPTY: Headers<'static> = Headers("");

    /// The headers on these lines.
    pub const fn from_lines(lines: &'a str) -> Self {
        Self(lines)
    }

    /// The lines, as stored.
    pub const fn as_lines(self) -> &'a str {
        self.0
    }

    /// The value of the first header with this key, in any case.
    pub fn get(self, key: &str) -> Option<&'a str> {
        self.iter()
            .find(|(k, _)| k.eq_ignore_ascii_case(key))
            .map(|(_, value)| value)
    }

    /// Keys and values, in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone {
        self.0.lines().filter_map(|line| line.split_once(": "))
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Owned headers.
///
/// ```
/// use postbox::message::HeaderBuf;
///
/// let mut headers = HeaderBuf::new();
/// headers.set("tenant", "acme")?;
/// headers.set("Tenant", "umbrella")?;
/// assert_eq!(headers.get("tenant"), Some("umbrella"));
/// assert!(headers.set("x-postbox-anything", "no").is_err());
/// # Ok::<(), postbox::id::Invalid>(())
/// ```
#[cfg(feature = "alloc")]
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeaderBuf(alloc::string::String);

#[cfg(feature = "alloc")]
impl HeaderBuf {
    /// None.
    pub const fn new() -> Self {
        Self(alloc::string::String::new())
    }

    /// Takes lines that were stored before; see [`Headers::from_lines`].
    pub const fn from_lines(lines: alloc::string::String) -> Self {
        Self(lines)
    }

    /// A borrowed view.
    pub fn as_headers(&self) -> Headers<'_> {
        Headers(&self.0)
    }

    /// The value of the first header with this key, in any case.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.as_headers().get(key)
    }

    /// Sets a header, replacing one with the same key in any case.
    ///
    /// # Errors
    /// [`Invalid`], with nothing changed: a blank, reserved or too long key, a control character,
    /// a colon in the key, or more than [`MAX_HEADER_BYTES`] in all.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Invalid> {
        if is_reserved(key) {
            return Err(Invalid::Reserved {
                key: Excerpt::new(key),
            });
        }
        self.set_any(key, value)
    }

    /// Sets a header, ours or the user's.
    pub(crate) fn set_any(&mut self, key: &str, value: &str) -> Result<(), Invalid> {
        check_text("header key", key, MAX_HEADER_BYTES)?;
        if key.contains(':') {
            return Err(Invalid::Character {
                field: "header key",
                value: Excerpt::new(key),
                character: ':',
            });
        }
        if let Some(at) = value.find(char::is_control) {
            return Err(Invalid::Control {
                field: "header value",
                value: Excerpt::new(value),
                at,
            });
        }
        let mut lines = alloc::string::String::with_capacity(self.0.len().saturating_add(key.len()));
        let others = self.as_headers();
        let others = others.iter().filter(|(k, _)| !k.eq_ignore_ascii_case(key));
        for (key, value) in others.chain([(key, value)]) {
            lines.extend([key, ": ", value, "\n"]);
        }
        check_length("headers", lines.len(), MAX_HEADER_BYTES)?;
        self.0 = lines;
        Ok(())
    }

    /// Takes out every header whose key is Postbox's own.
    pub fn drop_reserved(&mut self) {
        if !self.as_headers().iter().any(|(key, _)| is_reserved(key)) {
            return;
        }
        let mut lines = alloc::string::String::with_capacity(self.0.len());
        for (key, value) in self.as_headers().iter().filter(|(key, _)| !is_reserved(key)) {
            lines.extend([key, ": ", value, "\n"]);
        }
        self.0 = lines;
    }

    /// The lines, as stored.
    pub fn into_lines(self) -> alloc::string::String {
        self.0
    }
}

#[cfg(feature = "alloc")]
impl From<Headers<'_>> for HeaderBuf {
    fn from(headers: Headers<'_>) -> Self {
        Self(headers.0.into())
    }
}

#[cfg(feature = "alloc")]
impl fmt::Debug for HeaderBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_headers().fmt(f)
    }
}
