//! Publishing under a lease ends before the lease does, whatever the store and the worker do.
#![allow(
    clippy::expect_used,
    clippy::large_futures,
    reason = "a panic is the report, and a test has room"
)]

mod support;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use postbox::claim::Verdict;
use postbox::dispatcher::OutboxDispatcher;
use postbox::publisher::WINDOW;
use postbox::runtime::Timer;
use postbox::store::{ClaimRef, ClaimRequest, ClaimedMessage, OutboxStore, Settled, Settlement};
use postbox::sync::Watch;
use postbox::time::Clock;
use postbox_hashmap::{HashMapClaimed, HashMapKey, HashMapOutboxStore};

use support::script::{Script, Step};
use support::{World, config, secs};

/// The store in RAM, whose answers take their time.
#[derive(Clone)]
struct Slow {
    store: HashMapOutboxStore,
    clock: postbox::testing::VirtualClock,
    claim: Duration,
    /// `None`: no answer ever comes.
    renewal: Option<Duration>,
    claims: Arc<Mutex<Vec<ClaimRef<HashMapKey>>>>,
}

impl Slow {
    fn new(world: &World) -> Self {
        Self {
            store: world.store.clone(),
            clock: world.clock.clone(),
            claim: Duration::ZERO,
            renewal: Some(Duration::ZERO),
            claims: Arc::default(),
        }
    }
}

impl OutboxStore for Slow {
    type Error = Infallible;
    type Key = HashMapKey;
    type Claimed = HashMapClaimed;
    type Batch = Vec<HashMapClaimed>;
    type Wakeup = Watch;

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Self::Batch, Infallible> {
        let claimed = self.store.claim(request).await?;
        let claims = claimed.iter().map(ClaimedMessage::claim);
        self.claims.lock().expect("not poisoned").extend(claims);
        self.clock.sleep_until(self.clock.now() + self.claim).await;
        Ok(claimed)
    }
    async fn renew(&self, claims: &[ClaimRef<HashMapKey>], lease: Duration) -> Result<usize, Infallible> {
        match self.renewal {
            Some(pause) => self.clock.sleep_until(self.clock.now() + pause).await,
            None => std::future::pending().await,
        }
        self.store.renew(claims, lease).await
    }
    async fn settle(&self, settlements: &[Settlement<'_, HashMapKey>]) -> Result<Settled, Infallible> {
        self.store.settle(settlements).await
    }
    fn wakeup(&self) -> Watch {
        self.store.wakeup()
    }
}

const LEASE: Duration = Duration::from_secs(10);

#[test]
fn a_claim_that_took_the_whole_lease_to_arrive_is_not_published() {
    let world = World::new();
    let script = Script::new(&world.clock);
    let slow = Slow {
        claim: LEASE,
        ..Slow::new(&world)
    };
    let dispatcher =
        OutboxDispatcher::new(slow, script.clone(), config(1, LEASE)).with_timer(world.clock.clone());
    world.run(async {
        world.enqueue(&["m"]).await;
        let outcome = dispatcher.dispatch_batch(1).await.expect("a pass");
        assert!(
            script.attempts().is_empty(),
            "its lease is over: another may publish it"
        );
        assert_eq!((outcome.claimed, outcome.released), (1, 1));
    });
}

#[test]
fn a_publish_ends_with_its_lease_though_the_renewal_hangs() {
    let world = World::new();
    let script = Script::new(&world.clock);
    script.otherwise(Step::Hang);
    let slow = Slow {
        renewal: None,
        ..Slow::new(&world)
    };
    let dispatcher =
        OutboxDispatcher::new(slow, script.clone(), config(1, LEASE)).with_timer(world.clock.clone());
    world.run(async {
        world.enqueue(&["m"]).await;
        let start = world.clock.now();
        dispatcher.dispatch_batch(1).await.expect("a pass");
        assert_eq!(world.clock.now().since(start), LEASE / 2, "the publish timeout");
    });
}

#[test]
fn a_worker_that_stood_still_past_its_lease_starts_nothing_more() {
    let world = World::new();
    let script = Script::new(&world.clock);
    // More than a window: the ninth is started when one of the first is done.
    script.otherwise(Step::Slow(secs(1)));
    let store = world.store.clone();
    let dispatcher =
        OutboxDispatcher::new(store, script.clone(), config(1, LEASE)).with_timer(world.clock.clone());
    world.run(async {
        let ids: Vec<String> = (0..12).map(|n| format!("m-{n:02}")).collect();
        world
            .enqueue(&ids.iter().map(String::as_str).collect::<Vec<_>>())
            .await;
    });
    let mut pass = pin!(dispatcher.dispatch_batch(12));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(pass.as_mut().poll(&mut cx).is_pending());
    let under_way = script.attempts().len();
    assert!(under_way < 12);
    world.clock.advance(LEASE * 2);
    let _ = pass.as_mut().poll(&mut cx);
    assert_eq!(script.attempts().len(), under_way, "its lease is over");
}

#[test]
fn after_a_renewal_that_found_some_claims_overtaken_nothing_more_is_started() {
    let world = World::new();
    let script = Script::new(&world.clock);
    script.otherwise(Step::Slow(secs(4)));
    let slow = Slow::new(&world);
    let (store, claims) = (world.store.clone(), slow.claims.clone());
    let dispatcher =
        OutboxDispatcher::new(slow, script.clone(), config(1, LEASE)).with_timer(world.clock.clone());
    world.run(async {
        let ids: Vec<String> = (0..12).map(|n| format!("m-{n:02}")).collect();
        world
            .enqueue(&ids.iter().map(String::as_str).collect::<Vec<_>>())
            .await;
        let meddler = async {
            world.sleep(secs(1)).await;
            // Somebody settles the last one behind the holder's back.
            let claim = *claims
                .lock()
                .expect("not poisoned")
                .last()
                .expect("they are claimed");
            let (verdict, error) = (Verdict::Complete, "");
            let settled = store
                .settle(&[Settlement {
                    claim,
                    verdict,
                    error,
                }])
                .await;
            assert_eq!(settled.expect("settled").applied(), 1);
        };
        let (outcome, ()) = futures_util::future::join(dispatcher.dispatch_batch(12), meddler).await;
        let outcome = outcome.expect("a pass");
        // Before the first window was done, the renewal told.
        assert_eq!((script.attempts().len(), outcome.published), (WINDOW, WINDOW));
        assert_eq!((outcome.released, outcome.overtaken), (4, 1));
    });
}
