//! A message that was claimed: a copy of what lies in flash, under its id.

use core::time::Duration;

use heapless::{String, Vec};
use postbox::message::MessageRef;
use postbox::store::{ClaimRef, ClaimedMessage};

use crate::item::Item;
use crate::outbox::{FlashKey, MAX_DEVICE_BYTES};

/// The longest id: the device's name, a hyphen, twenty digits.
const ID: usize = MAX_DEVICE_BYTES + 21;

/// A claimed message: see the [crate].
#[derive(Clone, Debug)]
pub struct FlashClaimed<const ITEM: usize> {
    pub(crate) id: String<ID>,
    pub(crate) item: Vec<u8, ITEM>,
    pub(crate) claim: ClaimRef<FlashKey>,
    pub(crate) failures: u32,
    pub(crate) age: Duration,
}

impl<const ITEM: usize> ClaimedMessage for FlashClaimed<ITEM> {
    type Key = FlashKey;

    fn message(&self) -> MessageRef<'_> {
        // Decoded when it was claimed: it is an item.
        let message = Item::decode(&self.item).map(|item| item.message);
        let message = message.unwrap_or(crate::NewMessage::event("", &[], ""));
        MessageRef {
            id: &self.id,
            name: message.name,
            kind: message.kind,
            key: message.key,
            payload: message.payload,
            content_type: message.content_type,
            headers: message.headers,
        }
    }
    fn claim(&self) -> ClaimRef<FlashKey> {
        self.claim
    }
    fn failures(&self) -> u32 {
        self.failures
    }
    fn age(&self) -> Duration {
        self.age
    }
}

/// `device-sequence`, without the machinery of formatting.
pub(crate) fn id(device: &str, sequence: u64) -> String<ID> {
    let mut digits = [0; 20];
    let mut rest = sequence;
    let mut from = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        from -= 1;
        if rest == 0 {
            break;
        }
    }
    let mut id = String::new();
    let digits = digits.get(from..).unwrap_or_default();
    let _ = id.push_str(device);
    let _ = id.push('-');
    let _ = id.push_str(core::str::from_utf8(digits).unwrap_or_default());
    id
}

/// The number in an id that [`id`] made.
#[cfg(feature = "alloc")]
pub(crate) fn sequence(device: &str, id: &str) -> Option<u64> {
    id.strip_prefix(device)?.strip_prefix('-')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_device_and_the_number() {
        assert_eq!(id("d", 0), "d-0");
        assert_eq!(id("sensor-7", 1_234_567_890), "sensor-7-1234567890");
        assert_eq!(id("", u64::MAX), "-18446744073709551615");
    }
}
