//! An outbox store that fails at the operations it was told to, and is the store in RAM otherwise.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use postbox::store::{ClaimRef, ClaimRequest, OutboxStore, Settled, Settlement};
use postbox::sync::Watch;
use postbox_hashmap::{HashMapClaimed, HashMapKey, HashMapOutboxStore};

/// How many of the next calls of each operation fail. Clones share it.
#[derive(Clone, Debug)]
pub struct Faulty {
    store: HashMapOutboxStore,
    faults: Arc<Mutex<Faults>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub claims: u32,
    pub renewals: u32,
    pub settlements: u32,
    /// Applies the settlement although it says that it failed: the answer was lost.
    pub loses_answers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken on purpose")
    }
}

impl std::error::Error for Broken {}

impl Faulty {
    pub fn new(store: &HashMapOutboxStore, faults: Faults) -> Self {
        Self {
            store: store.clone(),
            faults: Arc::new(Mutex::new(faults)),
        }
    }

    pub fn left(&self) -> Faults {
        *self.faults.lock().expect("not poisoned")
    }

    pub fn break_claims(&self, claims: u32) {
        self.faults.lock().expect("not poisoned").claims = claims;
    }

    fn fails(&self, which: fn(&mut Faults) -> &mut u32) -> Result<(), Broken> {
        let mut faults = self.faults.lock().expect("not poisoned");
        let left = which(&mut faults);
        if *left == 0 {
            return Ok(());
        }
        *left -= 1;
        Err(Broken)
    }
}

impl OutboxStore for Faulty {
    type Error = Broken;
    type Key = HashMapKey;
    type Claimed = HashMapClaimed;
    type Batch = Vec<HashMapClaimed>;
    type Wakeup = Watch;

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Self::Batch, Broken> {
        self.fails(|faults| &mut faults.claims)?;
        Ok(self
            .store
            .claim(request)
            .await
            .unwrap_or_else(|never| match never {}))
    }
    async fn renew(&self, claims: &[ClaimRef<HashMapKey>], lease: Duration) -> Result<usize, Broken> {
        self.fails(|faults| &mut faults.renewals)?;
        let renewed = self.store.renew(claims, lease).await;
        Ok(renewed.unwrap_or_else(|never| match never {}))
    }
    async fn settle(&self, settlements: &[Settlement<'_, HashMapKey>]) -> Result<Settled, Broken> {
        let fails = self.fails(|faults| &mut faults.settlements);
        if fails.is_err() && !self.left().loses_answers {
            return Err(Broken);
        }
        let settled = self.store.settle(settlements).await;
        fails.map(|()| settled.unwrap_or_else(|never| match never {}))
    }
    fn wakeup(&self) -> Watch {
        self.store.wakeup()
    }
}
