//! Two accounts and a transfer between them: what leaves one arrives at the other by a message.

use postbox::aggregate::{Aggregate, AggregateRepository, Entity, QueuedRepository, Repository};
use postbox::bus::Bus;
use postbox::message::OutboxMessage;
use postbox::service::{Context, HandlerError, HandlerResult, HasRepo, Service};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Takes an amount out of one account and sends it to another.
pub(crate) const SEND: &str = "money.send";
/// It was taken out, and is on its way.
const SENT: &str = "money.sent";

/// What an account started with.
pub(crate) const OPENING: u64 = 100;

/// An account, and what happened to it.
#[derive(Debug, Default)]
pub(crate) struct Account {
    entity: Entity,
    pub(crate) balance: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    Opened { id: String },
    Sent { amount: u64 },
    Received { amount: u64 },
}

impl Aggregate for Account {
    type Event = AccountEvent;
    const TYPE: &'static str = "account";

    fn entity(&self) -> &Entity {
        &self.entity
    }
    fn entity_mut(&mut self) -> &mut Entity {
        &mut self.entity
    }
    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Opened { id } => {
                self.entity.set_id(id);
                self.balance = OPENING;
            }
            AccountEvent::Sent { amount } => self.balance -= amount,
            AccountEvent::Received { amount } => self.balance += amount,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Transfer {
    id: String,
    from: String,
    to: String,
    amount: u64,
}

/// What the handlers work with. `early` is the bug: the message goes out before the commit.
pub(crate) struct Bank<R, B> {
    accounts: AggregateRepository<QueuedRepository<R>, Account>,
    bus: B,
    early: bool,
}

impl<R, B> HasRepo for Bank<R, B> {
    type Repo = AggregateRepository<QueuedRepository<R>, Account>;

    fn repo(&self) -> &Self::Repo {
        &self.accounts
    }
}

/// The bank over any repository and bus whose futures can be sent: named once, here, for the simulated ones.
pub(crate) type SimBank = Bank<postbox_testkit::SimRepository, postbox_testkit::SimBus>;

pub(crate) fn service(node: &postbox_testkit::Node, early: bool) -> Service<SimBank> {
    let accounts = node.repository().queued().aggregate();
    let bus = node.bus();
    Service::with_repo(Bank { accounts, bus, early })
        .command(SEND)
        .handle(send)
        .event(SENT)
        .handle(receive)
}

/// Takes the amount out and lets it go.
async fn send(ctx: &Context<'_, SimBank>) -> HandlerResult {
    let transfer: Transfer = ctx.input()?;
    let mut account = open(ctx, &transfer.from).await?;
    if account.balance < transfer.amount {
        return Err(HandlerError::permanent("not enough money"));
    }
    let Transfer { id, amount, .. } = &transfer;
    account.record(AccountEvent::Sent { amount: *amount })?;
    let message = OutboxMessage::create(id.clone(), SENT, serde_json::to_vec(&transfer)?)?;
    let Bank { accounts, bus, early } = ctx.dependencies();
    if *early {
        // The bug: if what follows fails, the money arrives and never left.
        let published = bus.publish_message(message.as_ref()).await;
        published.map_err(|error| HandlerError::retryable(error.to_string()))?;
        accounts.commit(&mut account).await?;
    } else {
        ctx.commit_outbox(&mut account, message).await?;
    }
    Ok(Value::Null)
}

/// Puts it into the other account.
async fn receive(ctx: &Context<'_, SimBank>) -> HandlerResult {
    let transfer: Transfer = ctx.input()?;
    let mut account = open(ctx, &transfer.to).await?;
    account.record(AccountEvent::Received {
        amount: transfer.amount,
    })?;
    ctx.commit(&mut account).await?;
    Ok(Value::Null)
}

async fn open(ctx: &Context<'_, SimBank>, id: &str) -> Result<Account, HandlerError> {
    if let Some(account) = ctx.repo().get(id).await? {
        return Ok(account);
    }
    let mut account = Account::default();
    account.record(AccountEvent::Opened { id: id.to_owned() })?;
    Ok(account)
}
