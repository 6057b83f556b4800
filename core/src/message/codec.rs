//! How payloads are encoded, and what can go wrong when they are.

use alloc::borrow::Cow;

use crate::id::{Invalid, check_text};

/// The longest codec name, in bytes.
const MAX_CODEC_BYTES: usize = 64;

/// How a payload was encoded: a name and a version that starts at 1.
///
/// ```
/// use postbox::message::Codec;
///
/// assert_eq!(Codec::JSON.name(), "json");
/// assert!(Codec::new("bitcode", 0).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    name: Cow<'static, str>,
    version: u32,
}

impl Codec {
    /// JSON, version 1: what events and snapshots use unless told otherwise.
    pub const JSON: Self = Self {
        name: Cow::Borrowed("json"),
        version: 1,
    };

    /// A codec of this name and version.
    ///
    /// # Errors
    /// [`Invalid`] for version 0 and for a blank or over-long name (64 bytes).
    pub fn new(name: impl Into<Cow<'static, str>>, version: u32) -> Result<Self, Invalid> {
        let name = name.into();
        check_text("codec name", &name, MAX_CODEC_BYTES)?;
        if version == 0 {
            return Err(Invalid::OutOfRange {
                field: "codec version",
                value: 0,
                rule: "at least 1",
            });
        }
        Ok(Self { name, version })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version, from 1.
    pub const fn version(&self) -> u32 {
        self.version
    }
}

#[cfg(feature = "std")]
/// A message could not be made from a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A part of the message was refused.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The value does not serialise as JSON.
    #[error("the payload does not serialise: {0}")]
    Json(crate::id::Excerpt),
}
