//! All messages of a store: pieces of memory, shared by the rows whose messages lie in them and the claims on those.

use std::borrow::Cow;
use std::sync::Arc;

use postbox::message::{HeaderBuf, MessageRef, OutboxMessage};

use crate::packed::{NOTHING, Packed, Piece};

/// So many bytes go into one piece: some hundred messages, which are freed when the last of them goes.
const PIECE: usize = 32 * 1024;
/// A message with a longer payload is a piece of its own.
const LONG: usize = PIECE / 8;
/// What a piece has room for when it follows one that became full: most messages have more payload than text.
const TEXT: usize = PIECE / 4;
/// How many pieces are open at once: while a claim on messages of one is out, others go into the next.
const OPEN: usize = 2;

/// All pieces, each with how many rows lie in it. To claim a message steps one count between threads, to forget it none.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    all: Vec<(Option<Arc<Piece>>, usize)>,
    /// Numbers of pieces that are gone.
    free: Vec<u32>,
    /// Where new messages go, the first of them first. Nothing is written to a piece while a claim shares it.
    open: [Option<u32>; OPEN],
}

impl Pieces {
    /// Copies a message that is soon gone again. One that is to wait for long must not keep its neighbours' memory.
    pub(crate) fn pack(&mut self, message: &OutboxMessage) -> Packed {
        let view = message.as_ref();
        if view.payload.len() > LONG || !message.delay().is_zero() {
            return self.pack_apart(view);
        }
        let mut busy = false;
        for _ in 0..OPEN {
            if let Some((number, rows, piece)) = self.writable() {
                if *rows == 0 {
                    piece.clear();
                }
                if piece.len() < PIECE {
                    *rows += 1;
                    return piece.write(number, view);
                }
                busy = true;
            }
            self.open.rotate_left(1);
        }
        self.open_new(view, busy)
    }

    /// A copy in memory of its own, in place of this one.
    pub(crate) fn set_apart(&mut self, packed: Packed) -> Packed {
        let Some(shared) = self.share(packed).cloned() else {
            return packed;
        };
        let apart = self.pack_apart(packed.view(&shared));
        self.forget(packed);
        apart
    }

    /// One row less has its message where this one lies.
    #[inline]
    pub(crate) fn forget(&mut self, packed: Packed) {
        let number = packed.piece();
        let Some((_, rows)) = self.all.get_mut(number as usize) else {
            return;
        };
        *rows = rows.saturating_sub(1);
        if *rows == 0 {
            self.close_empty(number);
        }
    }

    /// What keeps the bytes of a message.
    #[inline]
    pub(crate) fn share(&self, packed: Packed) -> Option<&Arc<Piece>> {
        self.all.get(packed.piece() as usize)?.0.as_ref()
    }

    /// A borrowed view.
    pub(crate) fn view(&self, packed: Packed) -> MessageRef<'_> {
        self.share(packed).map_or(NOTHING, |piece| packed.view(piece))
    }

    /// A copy as it came.
    pub(crate) fn to_message(&self, packed: Packed) -> OutboxMessage {
        let message = self.view(packed);
        OutboxMessage::from_stored(
            message.id.into(),
            message.name.into(),
            message.kind,
            message.key.map(Into::into),
            message.payload.into(),
            Cow::Owned(message.content_type.into()),
            HeaderBuf::from(message.headers),
        )
    }

    /// The first open piece, unless a claim shares it.
    fn writable(&mut self) -> Option<(u32, &mut usize, &mut Piece)> {
        let number = self.open.first().copied().flatten()?;
        let (shared, rows) = self.all.get_mut(number as usize)?;
        Some((number, rows, Arc::get_mut(shared.as_mut()?)?))
    }

    fn pack_apart(&mut self, message: MessageRef<'_>) -> Packed {
        let number = self.number();
        self.put(number, Piece::for_one(message), message)
    }

    /// Begins a piece, in place of the one that has not been written to for longest. `busy`: it will become full too.
    fn open_new(&mut self, message: MessageRef<'_>, busy: bool) -> Packed {
        let piece = if busy {
            Piece::with_room(TEXT, PIECE)
        } else {
            Piece::default()
        };
        let number = self.number();
        let packed = self.put(number, piece, message);
        self.open.rotate_right(1);
        let closed = self.open.first_mut().and_then(|first| first.replace(number));
        if let Some(closed) = closed {
            self.close_empty(closed);
        }
        packed
    }

    /// A number that no piece has.
    fn number(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.all.push((None, 0));
            // So that to let go of pieces allocates nothing, which claims and settlements do.
            self.free.reserve(self.all.len());
            u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Takes in a piece, and its first message.
    fn put(&mut self, number: u32, mut piece: Piece, message: MessageRef<'_>) -> Packed {
        let packed = piece.write(number, message);
        if let Some(place) = self.all.get_mut(number as usize) {
            *place = (Some(Arc::new(piece)), 1);
        }
        packed
    }

    /// Lets go of a piece in which no row lies, unless it is open.
    fn close_empty(&mut self, number: u32) {
        let is_open = self.open.contains(&Some(number));
        if let Some(place) = self.all.get_mut(number as usize) {
            if place.1 == 0 && !is_open {
                place.0 = None;
                self.free.push(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: usize) -> OutboxMessage {
        OutboxMessage::create(format!("m-{id}"), "thing", vec![7; 64]).unwrap()
    }

    fn in_memory(pieces: &Pieces) -> usize {
        pieces.all.iter().filter(|(piece, _)| piece.is_some()).count()
    }

    #[test]
    fn neighbours_share_memory_until_one_is_set_apart() {
        let mut pieces = Pieces::default();
        let late = message(2).with_delay(std::time::Duration::from_secs(1));
        let [first, second, late] = [&message(0), &message(1), &late].map(|message| pieces.pack(message));
        assert_eq!(first.piece(), second.piece());
        assert_ne!(first.piece(), late.piece());
        let apart = pieces.set_apart(second);
        assert_ne!(first.piece(), apart.piece());
        assert_eq!(pieces.to_message(apart), message(1));
        assert_eq!(in_memory(&pieces), 3);
        pieces.forget(apart);
        pieces.forget(late);
        assert_eq!(in_memory(&pieces), 1);
    }

    #[test]
    fn what_a_claim_shares_is_not_written_to_and_stays_when_its_row_goes() {
        let mut pieces = Pieces::default();
        let (mut claimed, mut known) = (Vec::new(), std::collections::BTreeSet::new());
        for id in 0..50 {
            let packed = pieces.pack(&message(id));
            known.insert(packed.piece());
            claimed.push((packed, pieces.share(packed).unwrap().clone()));
            pieces.forget(packed);
            // The claim before the last one is over.
            if let Some((packed, piece)) = id.checked_sub(1).map(|_| claimed.remove(0)) {
                assert_eq!(packed.view(&piece).id, format!("m-{}", id - 1));
            }
        }
        assert_eq!((known.len(), in_memory(&pieces)), (OPEN, OPEN));
    }

    #[test]
    fn a_full_piece_is_gone_with_its_last_row() {
        let mut pieces = Pieces::default();
        let packed: Vec<Packed> = (0..5_000).map(|id| pieces.pack(&message(id))).collect();
        let most = in_memory(&pieces);
        assert!(most > 8, "{most}");
        for (id, packed) in packed.into_iter().enumerate() {
            assert_eq!(pieces.view(packed).id, format!("m-{id}"));
            pieces.forget(packed);
        }
        assert_eq!(in_memory(&pieces), OPEN);
        pieces.pack(&message(0));
        assert_eq!(pieces.all.len(), most);
    }
}
