//! What a publisher chosen at run time costs beside the same publisher as a type: one box a batch, none a message.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use postbox::claim::Fence;
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::WorkerId;
use postbox::message::{MessageRef, OutboxMessage};
use postbox::publisher::{AsyncMessagePublisher, BoxFuture, DynPublisher, PublishError};
use postbox::store::{ClaimRef, ClaimRequest, ClaimedMessage, OutboxStore, Settled, Settlement};
use postbox::wakeup::Never;

use crate::{Case, Contender, Effort, Failure, Figures, Nowhere, Suite, nanoseconds, side_by_side, spin};

pub(crate) const SUITE: Suite = Suite {
    name: "publisher",
    measure,
    cases: &[
        Case {
            name: "publisher as a type batch 256",
            steps: 16,
            units: 256,
            run: |steps| Same::of(BATCH).map_or((), |same| same.publish_to(Nowhere, steps)),
        },
        Case {
            name: "publisher dyn batch 256",
            steps: 16,
            units: 256,
            run: |steps| Same::of(BATCH).map_or((), |same| same.publish_to(dynamic(), steps)),
        },
    ],
};

/// Messages of a batch.
const BATCH: usize = 256;

postbox::dyn_publisher!(Nowhere);

/// The same, behind a pointer.
pub fn dynamic() -> Arc<dyn DynPublisher> {
    Arc::new(Nowhere)
}

fn measure(effort: Effort, figures: &mut Figures) -> Result<(), Failure> {
    let passes = effort.pick(2, 2_000);
    let same = Same::of(BATCH)?;
    let each = |work: &dyn Fn()| Ok(nanoseconds(passes * BATCH as u64, work).1);
    let contenders = vec![
        Contender::new("as a type", || each(&|| same.publish_to(Nowhere, passes))),
        Contender::new("dyn", || each(&|| same.publish_to(dynamic(), passes))),
        Contender::new("a box a message", || {
            each(&|| same.publish_to(Boxed(Arc::new(Nowhere)), passes))
        }),
    ];
    side_by_side(
        figures,
        "publisher",
        "dispatch_batch",
        effort.rounds(),
        contenders,
    )?;
    let contenders = vec![
        Contender::new("polled, by hand", || each(&|| same.poll(&mut Nowhere, passes))),
        Contender::new("a box a message", || {
            each(&|| same.each_to(&Boxed(Arc::new(Nowhere)), passes))
        }),
    ];
    side_by_side(
        figures,
        "publisher",
        "without a dispatcher",
        effort.rounds(),
        contenders,
    )?;
    Ok(())
}

/// A publisher whose every message is a box, as object-safe traits are mostly written.
#[derive(Clone, Debug)]
pub struct Boxed(Arc<dyn DynPublisher>);

impl AsyncMessagePublisher for Boxed {
    type Error = postbox::id::Excerpt;

    async fn publish(&self, message: MessageRef<'_>) -> Result<(), PublishError<Self::Error>> {
        let publish: BoxFuture<'_, _> = self.0.publish_dyn(message);
        publish.await
    }
}

/// The limit: no future at all.
trait Polled {
    fn poll_publish(&mut self, message: MessageRef<'_>, cx: &mut Context<'_>) -> Poll<Result<(), ()>>;
}

impl Polled for Nowhere {
    fn poll_publish(&mut self, message: MessageRef<'_>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        std::hint::black_box(message.payload.first());
        Poll::Ready(Ok(()))
    }
}

/// A store that always has the same messages, so that the store is not what is measured.
#[derive(Debug)]
pub struct Same(Vec<OutboxMessage>);

impl Same {
    /// With so many messages.
    pub fn of(messages: usize) -> Result<Self, Failure> {
        let one = |number| OutboxMessage::create(format!("message-{number}"), "order.placed", vec![7; 256]);
        Ok(Self((0..messages).map(one).collect::<Result<_, _>>()?))
    }

    /// Publishes all of them, so many times.
    ///
    /// # Panics
    /// When it published fewer.
    pub fn publish_to<P: AsyncMessagePublisher>(&self, publisher: P, passes: u64) {
        let config = DispatchConfig::new(WorkerId::new(1));
        let dispatcher = OutboxDispatcher::new(self, publisher, config);
        for _ in 0..passes {
            let outcome = spin(dispatcher.dispatch_batch(self.0.len()));
            assert!(outcome.is_ok_and(|outcome| outcome.published == self.0.len()));
        }
    }

    fn each_to(&self, publisher: &impl AsyncMessagePublisher, passes: u64) {
        for message in (0..passes).flat_map(|_| &self.0) {
            assert!(spin(publisher.publish(message.as_ref())).is_ok());
        }
    }

    fn poll(&self, publisher: &mut dyn Polled, passes: u64) {
        let publisher = std::hint::black_box(publisher);
        let mut cx = Context::from_waker(Waker::noop());
        for message in (0..passes).flat_map(|_| &self.0) {
            assert!(publisher.poll_publish(message.as_ref(), &mut cx).is_ready());
        }
    }
}

/// One of the messages.
#[derive(Debug)]
pub struct Lent<'a>(&'a OutboxMessage);

impl ClaimedMessage for Lent<'_> {
    type Key = ();

    fn message(&self) -> MessageRef<'_> {
        self.0.as_ref()
    }
    fn claim(&self) -> ClaimRef<()> {
        let fence = Fence::default();
        ClaimRef { key: (), fence }
    }
    fn failures(&self) -> u32 {
        0
    }
    fn age(&self) -> Duration {
        Duration::ZERO
    }
}

impl<'a> OutboxStore for &'a Same {
    type Error = Infallible;
    type Key = ();
    type Claimed = Lent<'a>;
    type Batch = Vec<Lent<'a>>;
    type Wakeup = Never;

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Self::Batch, Infallible> {
        Ok(self.0.iter().take(request.limit).map(Lent).collect())
    }
    async fn renew(&self, claims: &[ClaimRef<()>], _: Duration) -> Result<usize, Infallible> {
        Ok(claims.len())
    }
    async fn settle(&self, settlements: &[Settlement<'_, ()>]) -> Result<Settled, Infallible> {
        let mut settled = Settled::none();
        for _ in settlements {
            settled.apply();
        }
        Ok(settled)
    }
    fn wakeup(&self) -> Never {
        Never
    }
}
