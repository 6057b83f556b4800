//! One history, step by step, over the store and the model at once.

use std::time::Duration;

use postbox::aggregate::{Birth, CommitBatch, Repository, RepositoryError};
use postbox::claim::{Status, Verdict};
use postbox::id::WorkerId;
use postbox::lease::Lease;
use postbox::store::{
    ClaimRef, ClaimRequest, HasOutboxStore, OutboxOperator, OutboxOptions, OutboxStore, Which,
};
use postbox::time::{Clock, Instant};

use super::compare::{compare, list, new_message, same};
use super::history::{History, Step};
use super::reference::{Granted, Model};
use crate::conformance::fixture::{Held, held, settlement};
use crate::conformance::{KeyOf, StoreHarness};

/// Walks through a history; the first difference is the error.
pub(super) async fn walk<H: StoreHarness>(harness: &H, history: &History) -> Result<(), String> {
    let mut options = OutboxOptions::new().with_dead_policy(history.dead);
    if let Some(retention) = history.retention.filter(|_| harness.retention()) {
        options = options.with_retention(Duration::from_millis(retention));
    }
    let mut walk = Walk {
        harness,
        options,
        repository: harness.open(options),
        model: Model::new(history, harness),
        held: Vec::new(),
        max_abandoned: history.max_abandoned,
    };
    for (number, step) in history.steps.iter().enumerate() {
        let at = |difference| format!("step {number}, {step:?}: {difference}");
        if matches!(step, Step::Crash) {
            walk = walk.crash();
        }
        walk.step(step).await.map_err(at)?;
        compare(&walk.repository, &walk.model, harness.knows_ages())
            .await
            .map_err(at)?;
    }
    Ok(())
}

struct Walk<'h, H: StoreHarness> {
    harness: &'h H,
    options: OutboxOptions,
    repository: H::Repository,
    model: Model,
    /// Every claim ever granted and not forgotten, as both sides know it.
    held: Vec<(Held<KeyOf<H>>, Granted)>,
    max_abandoned: u32,
}

impl<H: StoreHarness> Walk<'_, H> {
    async fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Commit { messages, birth } => self.commit(messages, *birth).await,
            Step::Duplicate { pick } => self.duplicate(*pick).await,
            Step::Claim { worker, limit, lease } => self.claim(None, *worker, *limit, *lease).await,
            Step::ClaimIds {
                worker,
                picks,
                limit,
                lease,
            } => {
                let rows = self.rows(picks);
                self.claim(Some(rows), *worker, *limit, *lease).await
            }
            Step::Renew { picks, lease } => self.renew(picks, Duration::from_millis(*lease)).await,
            Step::Settle { picks } => self.settle(picks).await,
            Step::Advance { millis } => {
                self.harness.clock().advance(Duration::from_millis(*millis));
                Ok(())
            }
            Step::Requeue { picks } => self.requeue(picks).await,
            Step::Purge { limit } => self.purge(*limit).await,
            Step::Crash => Ok(()),
        }
    }

    async fn commit(
        &mut self,
        messages: &[(Option<u8>, u64)],
        birth: Option<(u64, u64)>,
    ) -> Result<(), String> {
        let now = self.now();
        let birth = birth.filter(|_| self.harness.births());
        let birth = birth.map(|(worker, lease)| {
            let lease = Lease::new(Duration::from_millis(lease)).expect("a good lease");
            let worker = WorkerId::new(worker);
            Birth { worker, lease }
        });
        let mut batch = CommitBatch {
            claim: birth,
            ..CommitBatch::new()
        };
        let mut expected = Vec::new();
        for (key, delay) in messages {
            let id = format!("m-{}", self.model.len());
            let delay = if self.harness.delays() { *delay } else { 0 };
            batch.messages.push(new_message(&id, *key, delay));
            let birth = birth.map(|birth| (birth.worker, birth.lease.length()));
            let delay = Duration::from_millis(delay);
            expected.push(self.model.commit(id, *key, delay, birth, now));
        }
        let committed = self
            .repository
            .commit(batch)
            .await
            .map_err(|error| error.to_string())?;
        let granted: Vec<_> = committed
            .messages
            .iter()
            .map(|message| message.claim.map(|claim| claim.fence))
            .collect();
        let wanted: Vec<_> = expected
            .iter()
            .map(|claim| claim.map(|claim| claim.fence))
            .collect();
        same("claims at birth", &granted, &wanted)?;
        for (message, granted) in committed.messages.into_iter().zip(expected) {
            if let (Some(claim), Some(granted)) = (message.claim, granted) {
                let held = Held {
                    id: message.id,
                    claim,
                    failures: 0,
                };
                self.held.push((held, granted));
            }
        }
        Ok(())
    }

    async fn duplicate(&mut self, pick: usize) -> Result<(), String> {
        let Some(row) = self.rows(&[pick]).first().copied() else {
            return Ok(());
        };
        let id = self.model.id(row).to_owned();
        if self.model.position(&id).is_none() || !self.harness.takes_ids() {
            return Ok(());
        }
        let fresh = new_message("fresh", Some(0), 0);
        let batch = CommitBatch {
            messages: vec![fresh, new_message(&id, None, 0)],
            ..CommitBatch::new()
        };
        match self.repository.commit(batch).await {
            Err(RepositoryError::DuplicateMessage { id: refused }) => same("the refused id", &refused, &id),
            other => Err(format!(
                "{id} exists, and its commit gave {:?}",
                other.map(|_| ())
            )),
        }
    }

    async fn claim(
        &mut self,
        rows: Option<Vec<usize>>,
        worker: u64,
        limit: usize,
        lease: u64,
    ) -> Result<(), String> {
        let (worker, lease, now) = (WorkerId::new(worker), Duration::from_millis(lease), self.now());
        let ids: Option<Vec<&str>> = rows
            .as_ref()
            .map(|rows| rows.iter().map(|row| self.model.id(*row)).collect());
        let request = ClaimRequest {
            worker,
            lease,
            limit,
            max_abandoned: self.max_abandoned,
            which: ids.as_deref().map_or(Which::Due, Which::Ids),
        };
        let batch = self
            .repository
            .outbox_store()
            .claim(&request)
            .await
            .map_err(|error| error.to_string())?;
        let claimed: Vec<_> = batch.iter().map(held).collect();
        let granted = self.model.claim(rows.as_deref(), worker, limit, lease, now);
        let seen: Vec<_> = claimed
            .iter()
            .map(|held| (held.id.as_str(), held.claim.fence, held.failures))
            .collect();
        let wanted: Vec<_> = granted
            .iter()
            .map(|claim| (self.model.id(claim.row), claim.fence, claim.failures))
            .collect();
        same("claimed", &seen, &wanted)?;
        self.held.extend(claimed.into_iter().zip(granted));
        Ok(())
    }

    async fn renew(&mut self, picks: &[usize], lease: Duration) -> Result<(), String> {
        let claims = self.claims(picks.iter().map(|pick| (*pick, ())));
        let keys: Vec<ClaimRef<_>> = claims.iter().map(|(held, ..)| held.claim).collect();
        let fences: Vec<_> = claims
            .iter()
            .map(|(_, granted, ())| (granted.row, granted.fence))
            .collect();
        let renewed = self.repository.outbox_store().renew(&keys, lease).await;
        let expected = self.model.renew(&fences, lease, self.now());
        same("renewed", &renewed.map_err(|error| error.to_string())?, &expected)
    }

    async fn settle(&mut self, picks: &[(usize, Verdict)]) -> Result<(), String> {
        let claims = self.claims(picks.iter().copied());
        let settlements: Vec<_> = claims
            .iter()
            .map(|(held, _, verdict)| settlement(held, *verdict, "why"))
            .collect();
        let fences: Vec<_> = claims
            .iter()
            .map(|(_, granted, verdict)| (granted.row, granted.fence, *verdict))
            .collect();
        let settled = self.repository.outbox_store().settle(&settlements).await;
        let settled = settled.map_err(|error| error.to_string())?;
        let refused = self.model.settle(&fences, self.now());
        same("refused", &settled.overtaken().collect(), &refused)?;
        same("settled", &settled.applied(), &(fences.len() - refused.len()))
    }

    async fn requeue(&mut self, picks: &[usize]) -> Result<(), String> {
        let rows = self.rows(picks);
        let ids: Vec<&str> = rows.iter().map(|row| self.model.id(*row)).collect();
        let requeued = self.repository.outbox_store().requeue(&ids).await;
        let expected = self.model.requeue(&rows, self.now());
        same(
            "requeued",
            &requeued.map_err(|error| error.to_string())?,
            &expected,
        )
    }

    async fn purge(&mut self, limit: usize) -> Result<(), String> {
        let now = self.now();
        let expected = self.model.past(now).min(limit);
        let before = self.model.past(now);
        let purged = self.repository.outbox_store().purge(limit).await;
        same("purged", &purged.map_err(|error| error.to_string())?, &expected)?;
        let kept: Vec<String> = list(&self.repository, Status::Published)
            .await?
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        self.model.purged(&kept, now);
        same("left", &self.model.past(now), &(before - expected))
    }

    /// All claims are forgotten; what is durable is opened again.
    fn crash(mut self) -> Self {
        if self.harness.is_durable() && !self.harness.keeps_claims() {
            self.model.forget_claims(self.harness.clock().now());
        }
        let repository = if self.harness.is_durable() {
            self.harness.reopen(self.repository, self.options)
        } else {
            self.repository
        };
        Self {
            repository,
            held: Vec::new(),
            ..self
        }
    }

    /// The rows that are picked, each once.
    fn rows(&self, picks: &[usize]) -> Vec<usize> {
        let mut rows = Vec::new();
        for pick in picks {
            let row = pick
                .checked_rem(self.model.len())
                .map(|back| self.model.len() - 1 - back);
            rows.extend(row.filter(|row| !rows.contains(row)));
        }
        rows
    }

    /// The claims that are picked, each once, with what is to be done with them.
    fn claims<T>(&self, picks: impl Iterator<Item = (usize, T)>) -> Vec<(Held<KeyOf<H>>, Granted, T)> {
        let mut claims: Vec<(Held<KeyOf<H>>, Granted, T)> = Vec::new();
        for (pick, what) in picks {
            let Some(back) = pick.checked_rem(self.held.len()) else {
                continue;
            };
            let (held, granted) = &self.held[self.held.len() - 1 - back];
            if !claims.iter().any(|(_, known, _)| known == granted) {
                claims.push((held.clone(), *granted, what));
            }
        }
        claims
    }

    fn now(&self) -> Instant {
        self.harness.clock().now()
    }
}
