//! `Send` is inferred where a concrete future is spawned: with `Send` parts everything is `Send`, with
//! others nothing is refused.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use postbox::backstop::{Backstop, BackstopConfig};
use postbox::bus::{InMemoryBus, RunOptions};
use postbox::dispatcher::{DispatchConfig, OutboxDispatcher};
use postbox::id::WorkerId;
use postbox::message::MessageRef;
use postbox::publisher::{AsyncMessagePublisher, DynPublisher, PublishError};
use postbox::service::{Context, HandlerResult, Service, Session};
use postbox::store::NoOutbox;
use postbox::testing::{VirtualClock, run};
use postbox::time::{Clock, Instant};
use postbox::wakeup::Never;

fn is_send<T: Send>(value: T) -> T {
    value
}

async fn echo(ctx: &Context<'_, ()>) -> HandlerResult {
    ctx.input()
}

#[test]
fn a_service_and_all_its_engines_are_send() {
    let clock = VirtualClock::new();
    let bus = InMemoryBus::new();
    let app = Service::with_repo(()).command("echo").handle(echo).with_bus(bus);
    let stop = std::future::pending::<()>();
    drop(is_send(app.run_with(
        clock.clone(),
        stop,
        RunOptions::idempotent(),
    )));
    run(&clock, is_send(app.run(RunOptions::idempotent())))
        .unwrap()
        .unwrap();
    let answer = is_send(app.service().dispatch("echo", 7.into(), Session::new()));
    assert_eq!(run(&clock, answer).unwrap().unwrap(), 7);
    run(&clock, is_send(app.dispatcher().dispatch_batch(8)))
        .unwrap()
        .unwrap();
    let mut backstop = Backstop::new(app.dispatcher().with_timer(clock.clone()), BackstopConfig::new());
    drop(is_send(backstop.run(std::future::pending())));
    let publisher: Box<dyn DynPublisher> = Box::new(InMemoryBus::new());
    drop(is_send(publisher));
}

/// A publisher that can never leave its thread.
struct Local(Rc<()>);

impl AsyncMessagePublisher for Local {
    type Error = std::convert::Infallible;

    async fn publish(&self, _: MessageRef<'_>) -> Result<(), PublishError<Self::Error>> {
        let kept = self.0.clone();
        std::future::ready(()).await;
        drop(kept);
        Ok(())
    }
}

#[test]
fn parts_that_are_not_send_run_where_they_are() {
    let clock = VirtualClock::at(Instant::ZERO);
    let dispatcher = OutboxDispatcher::new(
        NoOutbox,
        Local(Rc::new(())),
        DispatchConfig::new(WorkerId::new(1)),
    );
    let mut backstop =
        Backstop::new(dispatcher.with_timer(clock.clone()), BackstopConfig::new()).with_wakeup(Never);
    let stop = postbox::runtime::Timer::sleep_until(&clock, clock.now() + Duration::from_secs(60));
    let report = run(&clock, backstop.run(pin!(stop))).unwrap().unwrap();
    assert!(report.passes >= 48, "{report:?}");
}
