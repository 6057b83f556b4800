//! The outbox as a node sees it.

use std::fmt;
use std::time::Duration;

use postbox::claim::Verdict;
use postbox::id::WorkerId;
use postbox::store::{ClaimRef, ClaimRequest, ClaimedMessage, OutboxStore, Settled, Settlement, Which};
use postbox::sync::Watch;

use super::{RowKey, SimClaimed, SimError};
use crate::check::Promise;
use crate::history::{Event, NodeId};
use crate::sabotage::Sabotage;
use crate::world::{Operation, Sim};

/// The outbox of a [`SimRepository`](super::SimRepository). Clones are the same node's.
#[derive(Clone)]
pub struct SimOutbox {
    pub(super) sim: Sim,
    pub(super) node: NodeId,
}

impl SimOutbox {
    /// Tells whoever listens of what the store hinted at, unless the hint gets lost.
    pub(super) fn pass_hints_on(&self) {
        if self.sim.backing.was_hinted() {
            let lost = {
                let mut state = self.sim.lock();
                let lost_hint = state.faults.lost_hint;
                state.happens(lost_hint)
            };
            if !lost {
                self.sim.hints.ring();
            }
        }
    }

    /// Goes to the store, does the work there, and comes back: three moments in which a crash is different.
    async fn call<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce() -> Result<T, SimError>,
    ) -> Result<T, SimError> {
        self.sim.hop().await;
        let operation = self.sim.lock().operation(self.node, doing);
        let result = match operation {
            Operation::Fails => Err(SimError::OnPurpose),
            Operation::Succeeds => work(),
            Operation::LosesItsAnswer => work().and(Err(SimError::AnswerLost)),
        };
        self.pass_hints_on();
        self.sim.hop().await;
        result
    }

    fn claim_now(&self, request: &ClaimRequest<'_>) -> Result<Vec<SimClaimed>, SimError> {
        let mut asked = *request;
        {
            let state = self.sim.lock();
            if state.sabotaged(Sabotage::CutsLeases) {
                asked.lease = request.lease / 10;
            }
            if state.sabotaged(Sabotage::ClaimsTooMany) {
                asked.limit = (request.limit * 2).min(postbox::store::MAX_BATCH);
            }
        }
        let before = self.sim.backing.counts()?.dead;
        let batch = self.sim.backing.claim(&asked)?;
        let buried = self.sim.backing.counts()?.dead > before;
        let mut state = self.sim.lock();
        if batch.len() > request.limit {
            let detail = format!("asked for {} messages, was given {}", request.limit, batch.len());
            state.violated(Promise::Limit, None, detail);
        }
        for claimed in &batch {
            let message = state.ledger.number(claimed.message().id);
            state.ledger.stands_in(claimed.claim.key, message);
            state.claimed(self.node, message, claimed.claim.fence, request.lease);
        }
        if buried {
            state.note_buried(self.node, &*self.sim.backing);
        }
        Ok(batch)
    }

    fn settle_now(&self, settlements: &[Settlement<'_, RowKey>]) -> Result<Settled, SimError> {
        if self.sim.lock().sabotaged(Sabotage::ForgetsSettlements) {
            return Ok(Settled::none());
        }
        let told: Vec<_> = settlements
            .iter()
            .map(|settlement| self.sabotaged(settlement))
            .collect();
        let answer = self.sim.backing.settle(&told)?;
        let mut settled = Settled::none();
        for (index, (settlement, told)) in settlements.iter().zip(&told).enumerate() {
            let mut applied = !answer.is_overtaken(index);
            let claim = self.sim.lock().ledger.of_claim(settlement.claim);
            let Some(claim) = claim else {
                continue;
            };
            if !applied && self.sim.lock().sabotaged(Sabotage::SettlesWhatNobodyHolds) {
                applied = self.settle_for_nobody(told)?;
            }
            let mut state = self.sim.lock();
            if applied && state.sabotaged(Sabotage::RefusesTheHolder) && state.dice.chance(300) {
                applied = false;
            }
            state.settled(self.node, claim, told.verdict, applied);
            if applied {
                settled.apply();
            } else {
                settled.refuse(index);
            }
        }
        Ok(settled)
    }

    /// The settlement as a planted bug sends it.
    fn sabotaged<'e>(&self, settlement: &Settlement<'e, RowKey>) -> Settlement<'e, RowKey> {
        let mut told = *settlement;
        let mut state = self.sim.lock();
        let long = Duration::from_secs(400 * 24 * 3600);
        match (state.sabotage, settlement.verdict) {
            (Some(Sabotage::SettlesWithoutFence), _) => {
                let message = state.ledger.of_claim(settlement.claim);
                let holder = message.and_then(|(message, _)| state.ledger.of(message)?.holder);
                told.claim.fence = holder.map_or(settlement.claim.fence, |holder| holder.fence);
            }
            (Some(Sabotage::NeverTriesAgain), Verdict::Retry { .. }) => {
                told.verdict = Verdict::Retry { after: long };
            }
            (Some(Sabotage::NeverTriesAgain), Verdict::Release { .. }) => {
                told.verdict = Verdict::Release { after: long };
            }
            (Some(Sabotage::NeverGivesUp), Verdict::Bury) => {
                let after = Duration::from_millis(1);
                told.verdict = Verdict::Retry { after };
            }
            _ => {}
        }
        told
    }

    /// Takes the message although nobody holds it, and settles it.
    fn settle_for_nobody(&self, told: &Settlement<'_, RowKey>) -> Result<bool, SimError> {
        let id = {
            let mut state = self.sim.lock();
            let message = state.ledger.of_claim(told.claim).map(|(message, _)| message);
            let record = message.and_then(|message| state.ledger.of(message));
            record
                .filter(|record| record.holder.is_none())
                .map(|record| record.id.clone())
        };
        let Some(id) = id else {
            return Ok(false);
        };
        let claimed = self.sim.backing.claim(&ClaimRequest {
            worker: WorkerId::new(u64::MAX),
            lease: Duration::from_secs(1),
            limit: 1,
            max_abandoned: u32::MAX,
            which: Which::Ids(&[&id]),
        })?;
        let Some(claimed) = claimed.first() else {
            return Ok(false);
        };
        let told = Settlement {
            claim: claimed.claim,
            ..*told
        };
        Ok(self.sim.backing.settle(&[told])?.applied() == 1)
    }
}

impl OutboxStore for SimOutbox {
    type Error = SimError;
    type Key = RowKey;
    type Claimed = SimClaimed;
    type Batch = Vec<SimClaimed>;
    type Wakeup = Watch;

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Vec<SimClaimed>, SimError> {
        self.call("claiming", || self.claim_now(request)).await
    }

    async fn renew(&self, claims: &[ClaimRef<RowKey>], lease: Duration) -> Result<usize, SimError> {
        let work = || {
            let cut = self.sim.lock().sabotaged(Sabotage::CutsLeases);
            let renewed = self
                .sim
                .backing
                .renew(claims, if cut { lease / 10 } else { lease })?;
            let mut state = self.sim.lock();
            let of: Vec<_> = claims
                .iter()
                .filter_map(|claim| state.ledger.of_claim(*claim))
                .collect();
            state.renewed(self.node, &of, lease, renewed);
            Ok(renewed)
        };
        self.call("renewing", work).await
    }

    async fn settle(&self, settlements: &[Settlement<'_, RowKey>]) -> Result<Settled, SimError> {
        let mut reached = false;
        let settled = self
            .call("settling", || {
                reached = true;
                self.settle_now(settlements)
            })
            .await;
        if !reached {
            let mut state = self.sim.lock();
            for settlement in settlements {
                if let Some((message, _)) = state.ledger.of_claim(settlement.claim) {
                    state.excuse(message);
                }
            }
        }
        settled
    }

    async fn settle_soon(&self, settlements: &[Settlement<'_, RowKey>]) -> Result<(), SimError> {
        self.sim.hop().await;
        let lost = {
            let mut state = self.sim.lock();
            let lost_settlement = state.faults.lost_settlement;
            state.happens(lost_settlement)
        };
        if !lost {
            return self.settle(settlements).await.map(|_| ());
        }
        let mut state = self.sim.lock();
        for settlement in settlements {
            if let Some((message, _)) = state.ledger.of_claim(settlement.claim) {
                state.excuse(message);
                let node = self.node;
                state.log(Event::SettlementLost { message, node });
            }
        }
        Ok(())
    }

    async fn purge(&self, limit: usize) -> Result<usize, SimError> {
        self.call("purging", || self.sim.backing.purge(limit)).await
    }

    async fn next_due(&self) -> Result<Option<Duration>, SimError> {
        self.call("asking when", || self.sim.backing.next_due()).await
    }

    fn wakeup(&self) -> Watch {
        self.sim.hints.watch()
    }
}

impl fmt::Debug for SimOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimOutbox")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}
