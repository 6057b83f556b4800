//! Lists of messages in the order of a point in time, then of their commits. Nearly all come in order already and are
//! linked at the end; one that does not walks over those that come after it.

use postbox::time::Instant;

use crate::slot::{Index, Links, List, NONE, Place};
use crate::table::Table;

/// The place of a message in its order: when, and which commit.
pub(crate) type Turn = (Instant, u64);

impl<const N: usize, const TEXT: usize, const PAYLOAD: usize> Table<N, TEXT, PAYLOAD> {
    /// Whose turn comes first.
    pub(crate) fn first(&self, list: List) -> Option<(Turn, Index)> {
        let head = *self.heads.get(list as usize)?;
        self.turn(head).map(|turn| (turn, head))
    }

    /// Whose turn comes first after that of `at`.
    pub(crate) fn after(&self, at: Index) -> Option<(Turn, Index)> {
        let next = self.get(at)?.place?.links.next;
        self.turn(next).map(|turn| (turn, next))
    }

    /// Takes in a message that stands in no list.
    pub(crate) fn link(&mut self, slot: Index, list: List, at: Instant) {
        let Some(turn) = self.get(slot).map(|slot| (at, slot.sequence)) else {
            return;
        };
        let mut previous = self.tails.get(list as usize).copied().unwrap_or(NONE);
        let mut next = NONE;
        while self.turn(previous).is_some_and(|earlier| earlier > turn) {
            next = previous;
            previous = self.place(previous).map_or(NONE, |place| place.links.previous);
        }
        let links = Links { previous, next };
        if let Some(slot) = self.get_mut(slot) {
            slot.place = Some(Place { list, at, links });
        }
        self.set_next(list, previous, slot);
        self.set_previous(list, next, slot);
    }

    /// Takes a message out of its list, if it stands in one.
    pub(crate) fn unlink(&mut self, slot: Index) {
        let Some(place) = self.get_mut(slot).and_then(|slot| slot.place.take()) else {
            return;
        };
        self.set_next(place.list, place.links.previous, place.links.next);
        self.set_previous(place.list, place.links.next, place.links.previous);
    }

    fn turn(&self, slot: Index) -> Option<Turn> {
        let slot = self.get(slot)?;
        slot.place.map(|place| (place.at, slot.sequence))
    }

    fn place(&mut self, slot: Index) -> Option<&mut Place> {
        self.get_mut(slot)?.place.as_mut()
    }

    fn set_next(&mut self, list: List, of: Index, next: Index) {
        if let Some(place) = self.place(of) {
            place.links.next = next;
        } else if let Some(head) = self.heads.get_mut(list as usize) {
            *head = next;
        }
    }

    fn set_previous(&mut self, list: List, of: Index, previous: Index) {
        if let Some(place) = self.place(of) {
            place.links.previous = previous;
        } else if let Some(tail) = self.tails.get_mut(list as usize) {
            *tail = previous;
        }
    }
}
