//! One event and one message, or one message alone: what most transactions have, as calls without lists.

use postbox::aggregate::{Birth, CommitBatch};
use postbox::message::OutboxMessage;

use crate::call::Arg;
use crate::database::micros;
use crate::rows::worker;

/// The arguments of `commit_one` but for the time, if that can store this batch.
pub(crate) fn commit(batch: &CommitBatch) -> Option<Vec<Arg<'_>>> {
    let ([write], [message]) = (&*batch.streams, &*batch.messages) else {
        return None;
    };
    let [event] = &*write.events else {
        return None;
    };
    if !batch.receipts.is_empty() || !batch.snapshots.is_empty() {
        return None;
    }
    let mut args = Vec::with_capacity(20);
    args.extend([
        Arg::Text(write.stream.kind()),
        Arg::Text(write.stream.id()),
        Arg::Int(i64::try_from(write.expected).ok()?),
        Arg::Text(&event.name),
        Arg::Int(i64::from(event.version)),
        Arg::Text(event.codec.name()),
        Arg::Int(i64::from(event.codec.version())),
        Arg::Text(event.metadata.as_headers().as_lines()),
        Arg::Blob(&event.payload),
    ]);
    push(&mut args, message, batch.claim);
    Some(args)
}

/// A message as ten arguments.
pub(crate) fn push<'a>(args: &mut Vec<Arg<'a>>, message: &'a OutboxMessage, claim: Option<Birth>) {
    let view = message.as_ref();
    args.extend([
        Arg::Text(view.id),
        Arg::Text(view.name),
        Arg::Text(view.kind.as_str()),
        Arg::MaybeText(view.key),
        Arg::Text(view.content_type),
        Arg::Text(view.headers.as_lines()),
        Arg::Int(micros(message.delay())),
        Arg::Blob(view.payload),
        Arg::Int(claim.map_or(0, |claim| worker(claim.worker))),
        Arg::MaybeInt(claim.map(|claim| micros(claim.lease.length()))),
    ]);
}
