//! The start of some text, kept and shown without harm.

use core::fmt;

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
        if text.is_empty() {
            return Self::EMPTY;
        }
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
    pub const fn is_empty(&self) -> bool {
        #[cfg(feature = "alloc")]
        return self.text.is_none();
        #[cfg(not(feature = "alloc"))]
        return self.text.is_empty();
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

        pub(super) const fn is_empty(&self) -> bool {
            self.len == 0
        }

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
