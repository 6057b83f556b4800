//! Names of things: who works, and the rules that text must keep before anything is stored.

use core::fmt;

/// Longest message id, in bytes.
pub const MAX_ID_BYTES: usize = 512;
/// Longest message, handler or consumer name, in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// Longest ordering key, in bytes: room for an aggregate type, a slash and an id.
pub const MAX_KEY_BYTES: usize = 768;
/// Longest content type, in bytes.
pub const MAX_CONTENT_TYPE_BYTES: usize = 127;

/// Input that was refused. Nothing was stored or changed.
///
/// Every variant names the field; the ones about size carry the value and its limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// Empty, or white space only.
    #[error("{field} is blank")]
    Blank {
        /// Which field.
        field: &'static str,
    },
    /// Longer than its limit, in bytes.
    #[error("{field} is {len} bytes long, the limit is {limit}")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The most that is allowed, in bytes.
        limit: usize,
    },
    /// Holds a control character, such as a newline or NUL.
    #[error("{field} {value:?} has a control character at byte {at}")]
    Control {
        /// Which field.
        field: &'static str,
        /// The start of the value.
        value: Excerpt,
        /// Where the first control character stands.
        at: usize,
    },
    /// Holds a character that separates parts elsewhere.
    #[error("{field} {value:?} must not contain {character:?}")]
    Character {
        /// Which field.
        field: &'static str,
        /// The start of the value.
        value: Excerpt,
        /// The character.
        character: char,
    },
    /// A header key that only Postbox may write.
    #[error("header key {key:?} is reserved: keys starting with x-postbox- are Postbox's own")]
    Reserved {
        /// The start of the key.
        key: Excerpt,
    },
    /// A number outside its range.
    #[error("{field} is {value}, which must be {rule}")]
    OutOfRange {
        /// Which field.
        field: &'static str,
        /// The value, in the field's unit.
        value: u64,
        /// The rule it breaks, with the limit.
        rule: &'static str,
    },
}

/// Checks that `value` is present, at most `limit` bytes and free of control characters.
///
/// ```
/// use postbox::id::{check_text, Invalid};
///
/// assert!(check_text("message id", "order-1", 512).is_ok());
/// assert_eq!(check_text("message id", " ", 512), Err(Invalid::Blank { field: "message id" }));
/// assert!(check_text("message id", "a\nb", 512).is_err());
/// ```
pub fn check_text(field: &'static str, value: &str, limit: usize) -> Result<(), Invalid> {
    if value.trim().is_empty() {
        return Err(Invalid::Blank { field });
    }
    check_length(field, value.len(), limit)?;
    match value.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, _)) => Err(Invalid::Control {
            field,
            value: Excerpt::new(value),
            at,
        }),
        None => Ok(()),
    }
}

/// Checks that a length in bytes is at most `limit`.
pub const fn check_length(field: &'static str, len: usize, limit: usize) -> Result<(), Invalid> {
    if len > limit {
        Err(Invalid::TooLong { field, len, limit })
    } else {
        Ok(())
    }
}

/// Checks a message id: present, not blank, at most [`MAX_ID_BYTES`], no control characters.
pub fn check_id(id: &str) -> Result<(), Invalid> {
    check_text("message id", id, MAX_ID_BYTES)
}

/// Who claims: one worker of one process. Half of the fence, and what a log line names.
///
/// The other half, the attempt number, is what makes a claim unique; two workers that share an id
/// are still fenced apart. Take [`WorkerId::random`] (feature `std`), a number of your own, or a name.
///
/// ```
/// use postbox::id::WorkerId;
///
/// assert_eq!(WorkerId::named("orders-1"), WorkerId::named("orders-1"));
/// assert_ne!(WorkerId::named("orders-1"), WorkerId::named("orders-2"));
/// assert_eq!(WorkerId::new(255).to_string(), "00000000000000ff");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(u64);

impl WorkerId {
    /// The worker with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The worker with this name; the name itself is not kept, only its 64-bit FNV-1a hash.
    pub const fn named(name: &str) -> Self {
        Self(fnv1a(name.as_bytes()))
    }

    /// A worker that no other process or role shares, save by a chance of one in 2^64.
    #[cfg(feature = "std")]
    pub fn random() -> Self {
        use std::hash::{BuildHasher, Hasher};
        Self(std::hash::RandomState::new().build_hasher().finish())
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for WorkerId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<&str> for WorkerId {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// 64-bit FNV-1a (Fowler, Noll, Vo: offset basis and prime as published).
pub(crate) const fn fnv1a(mut bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    while let [first, rest @ ..] = bytes {
        hash = (hash ^ *first as u64).wrapping_mul(0x0000_0100_0000_01b3);
        bytes = rest;
    }
    hash
}

/// The start of some text, scrubbed of control characters: what errors carry and stores keep.
///
/// At most [`Excerpt::LIMIT`] bytes (256 with `alloc`, 56 without), cut at a character.
///
/// ```
/// use postbox::id::Excerpt;
///
/// assert_eq!(Excerpt::new("broken\0pipe").as_str(), "broken pipe");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Excerpt {
    #[cfg(feature = "alloc")]
    text: Option<alloc::boxed::Box<str>>,
    #[cfg(not(feature = "alloc"))]
    text: inline::Text,
}

impl Excerpt {
    /// The longest text kept, in bytes.
    pub const LIMIT: usize = if cfg!(feature = "alloc") { 256 } else { 56 };
    /// No text.
    pub const EMPTY: Self = Self {
        #[cfg(feature = "alloc")]
        text: None,
        #[cfg(not(feature = "alloc"))]
        text: inline::Text::EMPTY,
    };

    /// The start of `text`.
    pub fn new(text: &str) -> Self {
        Self::display(&text)
    }

    /// The start of what `value` displays.
    pub fn display(value: &impl fmt::Display) -> Self {
        use fmt::Write;
        #[cfg(feature = "alloc")]
        let mut sink = Scrub {
            room: Self::LIMIT,
            sink: alloc::string::String::new(),
        };
        #[cfg(not(feature = "alloc"))]
        let mut sink = Scrub {
            room: Self::LIMIT,
            sink: inline::Text::EMPTY,
        };
        // An error here only says that the limit was reached.
        let _ = write!(sink, "{value}");
        #[cfg(feature = "alloc")]
        let text = (!sink.sink.is_empty()).then(|| sink.sink.into_boxed_str());
        #[cfg(not(feature = "alloc"))]
        let text = sink.sink;
        Self { text }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        #[cfg(feature = "alloc")]
        return self.text.as_deref().unwrap_or_default();
        #[cfg(not(feature = "alloc"))]
        return self.text.as_str();
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.as_str().is_empty()
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Passes on text up to `room` bytes, control characters as spaces.
struct Scrub<W> {
    room: usize,
    sink: W,
}

impl<W: fmt::Write> fmt::Write for Scrub<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let c = if c.is_control() { ' ' } else { c };
            self.room = self.room.checked_sub(c.len_utf8()).ok_or(fmt::Error)?;
            self.sink.write_char(c)?;
        }
        Ok(())
    }
}

#[cfg(not(feature = "alloc"))]
mod inline {
    use core::fmt;

    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(super) struct Text {
        len: u8,
        bytes: [u8; 56],
    }

    impl Text {
        pub(super) const EMPTY: Self = Self {
            len: 0,
            bytes: [0; 56],
        };

        pub(super) fn as_str(&self) -> &str {
            let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
            core::str::from_utf8(bytes).unwrap_or_default()
        }
    }

    impl Default for Text {
        fn default() -> Self {
            Self::EMPTY
        }
    }

    impl fmt::Write for Text {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let start = usize::from(self.len);
            let end = start.checked_add(text.len()).ok_or(fmt::Error)?;
            let room = self.bytes.get_mut(start..end).ok_or(fmt::Error)?;
            room.copy_from_slice(text.as_bytes());
            self.len = u8::try_from(end).map_err(|_| fmt::Error)?;
            Ok(())
        }
    }
}
