//! Recorded events: what happened, encoded, numbered, and attributed.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use crate::message::{Codec, HeaderBuf};
use crate::time::Instant;

/// One event of a stream as it is stored.
///
/// The payload is the serde event enum as JSON, externally tagged: `{"Renamed":{"title":"milk"}}`, or
/// `"Completed"` for a variant without fields; the tag is the event's name. `Debug` prints the payload's
/// length, never its bytes.
#[derive(Clone, PartialEq)]
pub struct EventRecord {
    /// The variant's name.
    pub name: Cow<'static, str>,
    /// The version of its shape, from 1; see [`Upcaster`](super::Upcaster).
    pub version: u32,
    /// How the payload is encoded.
    pub codec: Codec,
    /// The encoded event.
    pub payload: Vec<u8>,
    /// Its place in the stream: from 1, without gaps.
    pub sequence: u64,
    /// When it was committed, by the store's clock; [`Instant::ZERO`] before.
    pub recorded_at: Instant,
    /// Correlation, causation, and whatever else was attached.
    pub metadata: HeaderBuf,
}

impl EventRecord {
    /// What the event belongs to.
    pub fn correlation_id(&self) -> Option<&str> {
        self.metadata.get("correlation-id")
    }

    /// Which message led to it.
    pub fn causation_id(&self) -> Option<&str> {
        self.metadata.get("causation-id")
    }
}

impl fmt::Debug for EventRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRecord")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("sequence", &self.sequence)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// The name of an externally tagged enum value in JSON: the first string of `"Name"` or `{"Name":..}`.
pub(super) fn variant_name(json: &[u8]) -> Option<&str> {
    let tagged = json.strip_prefix(b"{").unwrap_or(json);
    let rest = tagged.strip_prefix(b"\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let name = core::str::from_utf8(rest.get(..end)?).ok()?;
    let closed = match json.first() {
        Some(b'{') => rest.get(end.checked_add(1)?) == Some(&b':'),
        _ => true,
    };
    (closed && !name.is_empty() && !name.contains('\\')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::variant_name;

    #[test]
    fn the_variant_name_is_read_from_both_shapes() {
        assert_eq!(variant_name(br#""Completed""#), Some("Completed"));
        assert_eq!(variant_name(br#"{"Renamed":{"title":"x"}}"#), Some("Renamed"));
        assert_eq!(variant_name(b"17"), None);
        assert_eq!(variant_name(b"{}"), None);
    }
}
