//! Claims, renewals and settlements: core's rule on what is in flash, with what is known of it in RAM.

use core::time::Duration;

use embassy_sync::blocking_mutex::raw::RawMutex;
use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use heapless::Vec;
use postbox::claim::{Claiming, Entry, State};
use postbox::store::{ClaimRef, ClaimRequest, OutboxStore, Settled, Settlement, Which};
use postbox::time::{Clock, Instant};

use crate::FlashError;
use crate::bell::FlashWatch;
use crate::claimed::{FlashClaimed, id};
use crate::item::{Item, hash};
use crate::outbox::{DeadLetters, FlashKey, FlashOutbox, Inner};

impl<'o, M, F, C, const ITEM: usize, const WINDOW: usize, const BATCH: usize> OutboxStore
    for &'o FlashOutbox<M, F, C, ITEM, WINDOW, BATCH>
where
    M: RawMutex,
    F: MultiwriteNorFlash,
    F::Error: core::fmt::Display + core::error::Error,
    C: Clock,
{
    type Error = FlashError<F::Error>;
    type Key = FlashKey;
    type Claimed = FlashClaimed<ITEM>;
    type Batch = Vec<FlashClaimed<ITEM>, BATCH>;
    type Wakeup = FlashWatch<'o, M>;

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Self::Batch, Self::Error> {
        let mut inner = self.inner.lock().await;
        let claimed = inner.claim(request, self.device, self.clock.now()).await?;
        if claimed.buried {
            // The next of its key is free, or a place of the window.
            self.hint.ring();
        }
        Ok(claimed.batch)
    }

    async fn renew(&self, claims: &[ClaimRef<FlashKey>], lease: Duration) -> Result<usize, Self::Error> {
        let mut inner = self.inner.lock().await;
        let now = self.clock.now();
        let mut renewed = 0_usize;
        for claim in claims {
            let Some(mut entry) = inner.window.entry(claim.key.0) else {
                continue;
            };
            if entry.renew(claim.fence, lease, now).is_ok() {
                inner.window.set(claim.key.0, entry);
                renewed = renewed.saturating_add(1);
            }
        }
        Ok(renewed)
    }

    async fn settle(&self, settlements: &[Settlement<'_, FlashKey>]) -> Result<Settled, Self::Error> {
        let mut inner = self.inner.lock().await;
        let settled = inner.settle(settlements, self.clock.now()).await;
        // Whatever it was, a place of the window may be free, or the next of a key.
        self.hint.ring();
        settled
    }

    /// Of what is tracked in RAM; whatever else lies in flash is due.
    async fn next_due(&self) -> Result<Option<Duration>, Self::Error> {
        let inner = self.inner.lock().await;
        Ok(inner.window.next_due(self.clock.now()))
    }

    fn max_batch(&self) -> usize {
        BATCH
    }

    fn wakeup(&self) -> Self::Wakeup {
        self.hint.watch()
    }
}

/// What came of a claim.
struct Claimed<const ITEM: usize, const BATCH: usize> {
    batch: Vec<FlashClaimed<ITEM>, BATCH>,
    /// Whether it gave a message up.
    buried: bool,
}

impl<F: MultiwriteNorFlash, const ITEM: usize, const WINDOW: usize> Inner<F, ITEM, WINDOW> {
    /// Goes through the log, oldest first, and claims what is free, until the batch is full or nothing more can be.
    async fn claim<const BATCH: usize>(
        &mut self,
        request: &ClaimRequest<'_>,
        device: &str,
        now: Instant,
    ) -> Result<Claimed<ITEM, BATCH>, FlashError<F::Error>> {
        let of = |error| FlashError::of(error, ITEM);
        if self.dead == DeadLetters::Drop {
            self.drop_dead().await?;
        }
        let limit = request.limit.min(BATCH);
        let (mut batch, mut buried) = (Vec::new(), false);
        // The hashes of the keys of live messages so far: each stands in the way of the later ones.
        let mut blocked: Vec<u32, WINDOW> = Vec::new();
        let (mut met, tracked, mut used) = (0, self.window.len(), 0);
        let mut buffer = [0; ITEM];
        let Self {
            log, window, dead, ..
        } = self;
        let mut queue = log.queue();
        let mut items = queue.iter().await.map_err(of)?;
        while used < limit && (window.has_room() || met < tracked) {
            let Some(bytes) = items.next(&mut buffer).await.map_err(of)? else {
                break;
            };
            let item = Item::decode(&bytes).ok_or(FlashError::Corrupted)?;
            let known = window.entry(item.sequence);
            met += usize::from(known.is_some());
            let key = item.message.key.map(hash);
            if key.is_some_and(|key| blocked.contains(&key)) {
                continue;
            }
            let id = id(device, item.sequence);
            let wanted = match request.which {
                Which::Due => true,
                Which::Ids(ids) => ids.contains(&id.as_str()),
            };
            let mut entry = known.unwrap_or_else(|| Entry::pending(now, Duration::ZERO));
            let may = wanted && (known.is_some() || window.has_room());
            let claiming = if may {
                entry.claim(request.worker, request.lease, request.max_abandoned, now)
            } else {
                Claiming::NotFree
            };
            if claiming != Claiming::NotFree {
                window.set(item.sequence, entry);
                used += 1;
            }
            if let Claiming::Granted(fence) = claiming {
                let key = FlashKey(item.sequence);
                let _ = batch.push(FlashClaimed {
                    id,
                    item: Vec::from_slice(&bytes).unwrap_or_default(),
                    claim: ClaimRef { key, fence },
                    failures: entry.failures(),
                    age: now.since(entry.committed()),
                });
            }
            if claiming == Claiming::Abandoned {
                buried = true;
                window.explain(item.sequence, "abandoned: its leases lapsed without a word");
            }
            // A message that this claim buried frees its key for the next claim, not for this one.
            let blocks = entry.is_live() || claiming == Claiming::Abandoned || *dead == DeadLetters::Block;
            if let Some(key) = key.filter(|_| blocks) {
                // Too many keys to remember: whoever comes now may be behind one of them.
                if blocked.push(key).is_err() {
                    break;
                }
            }
        }
        Ok(Claimed { batch, buried })
    }

    /// Takes out of flash what an earlier claim gave up.
    async fn drop_dead(&mut self) -> Result<(), FlashError<F::Error>> {
        while let Some(sequence) = self.window.find_dead() {
            self.take_out(|it| it == sequence).await?;
            self.window.forget(sequence);
            self.dropped = self.dropped.saturating_add(1);
        }
        Ok(())
    }

    /// Takes published messages out of flash first, then changes what is known: a settlement that fails in between is
    /// made again, and finds them gone.
    async fn settle(
        &mut self,
        settlements: &[Settlement<'_, FlashKey>],
        now: Instant,
    ) -> Result<Settled, FlashError<F::Error>> {
        let drops = self.dead == DeadLetters::Drop;
        let leaves = |entry: Entry| match entry.state() {
            State::Published { .. } => true,
            State::Dead { .. } => drops,
            State::Pending { .. } | State::InFlight { .. } => false,
        };
        let mut settled = Settled::none();
        let mut applied: Vec<(u64, Entry), WINDOW> = Vec::new();
        for (index, settlement) in settlements.iter().enumerate() {
            let sequence = settlement.claim.key.0;
            let once = |_: &Entry| applied.iter().all(|(other, _)| *other != sequence);
            match self.after(settlement, now).filter(once) {
                None => settled.refuse(index),
                Some(entry) => {
                    settled.apply();
                    let _ = applied.push((sequence, entry));
                }
            }
        }
        let out = |sequence| {
            applied
                .iter()
                .any(|(it, entry)| *it == sequence && leaves(*entry))
        };
        if applied.iter().any(|(_, entry)| leaves(*entry)) {
            self.take_out(out).await?;
        }
        for (index, settlement) in settlements.iter().enumerate() {
            if !settled.is_overtaken(index) {
                self.window.explain(settlement.claim.key.0, settlement.error);
            }
        }
        for (sequence, entry) in applied {
            if leaves(entry) {
                self.window.forget(sequence);
                let dead = matches!(entry.state(), State::Dead { .. });
                self.dropped = self.dropped.saturating_add(u64::from(dead));
            } else {
                self.window.set(sequence, entry);
            }
        }
        Ok(settled)
    }

    /// What a settlement makes of its message, if its fence holds.
    fn after(&self, settlement: &Settlement<'_, FlashKey>, now: Instant) -> Option<Entry> {
        let mut entry = self.window.entry(settlement.claim.key.0)?;
        let held = entry.settle(settlement.claim.fence, settlement.verdict, now);
        held.is_ok().then_some(entry)
    }

    /// Takes messages out of flash.
    pub(crate) async fn take_out(&mut self, which: impl Fn(u64) -> bool) -> Result<(), FlashError<F::Error>> {
        let of = |error| FlashError::of(error, ITEM);
        let mut buffer = [0; ITEM];
        let mut queue = self.log.queue();
        let mut items = queue.iter().await.map_err(of)?;
        while let Some(entry) = items.next(&mut buffer).await.map_err(of)? {
            let sequence = Item::decode(&entry).map(|item| item.sequence);
            if sequence.is_some_and(&which) {
                entry.pop().await.map_err(of)?;
            }
        }
        Ok(())
    }
}
