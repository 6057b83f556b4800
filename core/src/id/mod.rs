//! Names of things: who works, and the rules that text must keep before anything is stored.

mod excerpt;

use core::fmt;

pub use excerpt::Excerpt;

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
