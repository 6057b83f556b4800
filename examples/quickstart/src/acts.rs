//! The acts: commit and publish; a broker that is down; a process that is killed. Each prints its figures.

use std::error::Error;

use crate::check::{self, delivered, latencies};
use crate::child::{self, LEASE};
use crate::input::{Command, Random};
use crate::process::{CLIENTS, Files, Process};
use crate::timeline::{Timeline, millis, took};

/// How many children are killed.
const KILLS: usize = 5;

/// Commands are handled, and each message is published right after its commit.
pub(crate) async fn commit_and_publish(
    timeline: &Timeline,
    files: &Files,
    process: &Process,
    commands: &[Command],
) -> Result<(), Box<dyn Error>> {
    timeline.act("1  commit and publish");
    let before = delivered(&files.log)?.len();
    let tally = process.handle(commands).await?;
    let rate = |n: usize| (n as u128 * 1_000_000).checked_div(tally.took.as_micros());
    timeline.figure(
        "commands committed",
        tally.committed,
        format_args!(
            "{} a second from {CLIENTS} clients, {} rejected",
            rate(tally.committed).unwrap_or_default(),
            tally.rejected
        ),
    );
    process.drained().await?;
    let deliveries = delivered(&files.log)?;
    let fresh = deliveries.get(before..).unwrap_or_default();
    let waits = latencies(&files.database.committed().await?, fresh);
    let completed = fresh
        .iter()
        .filter(|delivery| delivery.name == "todo.completed")
        .count();
    timeline.figure(
        "published before the answer",
        tally.published,
        "right after the commit, by whoever committed",
    );
    timeline.figure(
        "published by the backstop",
        tally.committed - tally.published,
        "behind another message of their todo",
    );
    timeline.figure(
        "from event written to published",
        millis(part(&waits, 50)),
        format_args!("median; 99 of 100 within {}", millis(part(&waits, 99))),
    );
    timeline.figure(
        "handled by the subscriber",
        process.heard(completed).await?,
        "events about completed todos",
    );
    Ok(())
}

/// The broker is down while commands go on, and comes back.
pub(crate) async fn broker_down(
    timeline: &Timeline,
    files: &Files,
    process: &Process,
    commands: &[Command],
) -> Result<(), Box<dyn Error>> {
    timeline.act("2  the broker goes down, and comes back");
    let before = delivered(&files.log)?.len();
    process.broker.set_down(true);
    // An error would have ended the program here.
    let tally = process.handle(commands).await?;
    timeline.figure(
        "commands committed, broker down",
        tally.committed,
        format_args!("0 failed, {} rejected", tally.rejected),
    );
    timeline.figure(
        "messages waiting",
        process.waiting().await?,
        format_args!("attempts burnt {}", process.burnt().await?),
    );
    process.broker.set_down(false);
    timeline.figure("the broker is back", "", "");
    let caught_up = process.drained().await?;
    let deliveries = delivered(&files.log)?;
    let late = deliveries.get(before..).unwrap_or_default();
    let waits = latencies(&files.database.committed().await?, late);
    timeline.figure(
        "published by the backstop",
        late.len(),
        format_args!(
            "caught up {} after that; the longest wait was {}",
            took(caught_up),
            millis(part(&waits, 100))
        ),
    );
    Ok(())
}

/// Children of this process handle commands and are killed between commit and publish; then this process handles
/// the rest, and its backstop publishes what the dead left behind.
pub(crate) async fn killed(
    timeline: &Timeline,
    files: &Files,
    commands: &[Command],
    random: &mut Random,
) -> Result<(), Box<dyn Error>> {
    timeline.act("3  processes are killed between commit and publish");
    let mut left = commands.to_vec();
    let (mut kills, mut rejected) = (0, 0);
    // Some two thirds of the commands are for the children.
    let most = (commands.len() * 4 / 3 / KILLS).max(1);
    while kills < KILLS && !left.is_empty() {
        // Nothing else runs in this process meanwhile, so that it may block.
        let life = child::live_and_die(files, &left, random.below(most))?;
        kills += 1;
        rejected += life.rejected;
        let mut place = 0..;
        left.retain(|_| !place.next().is_some_and(|place| life.begun.contains(&place)));
    }
    let handled = commands.len() - left.len() - rejected;
    timeline.figure(
        "child processes killed",
        kills,
        "SIGKILL, with every client between commit and publish",
    );
    timeline.figure(
        "commands they committed",
        handled,
        format_args!("{rejected} rejected"),
    );
    let verdict = check::judge(&files.database.committed().await?, &delivered(&files.log)?);
    timeline.figure(
        "committed and not published",
        verdict.lost,
        "left behind in the outbox",
    );

    let process = Process::start(files, Some(LEASE)).await?;
    let tally = process.handle(&left).await?;
    timeline.figure(
        "commands committed after a restart",
        tally.committed,
        format_args!("{} rejected", tally.rejected),
    );
    process.drained().await?;
    let published = check::judge(&files.database.committed().await?, &delivered(&files.log)?).published;
    timeline.figure(
        "published after the restart",
        published - verdict.published,
        format_args!(
            "with the {} left behind, when their leases of {LEASE:?} had ended",
            verdict.lost
        ),
    );
    process.stop().await
}

/// The value that `percent` of the sorted values do not exceed.
fn part(sorted: &[u64], percent: usize) -> u64 {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}
