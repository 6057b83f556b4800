//! A child process that is killed between commit and publish: both its sides, and the pipe between them.

use std::collections::HashSet;
use std::error::Error;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::Broker;
use crate::executor;
use crate::input::{self, Command};
use crate::process::{Answer, CLIENTS, Files, send, shares};
use crate::todo;
use futures_channel::mpsc;

/// How long a commit holds its message. The default is 10 s; this one is short so that nobody has to wait long
/// for the backstop to take over from the dead.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// What a child did before it was killed.
#[derive(Debug, Default)]
pub(crate) struct Life {
    /// The places of the commands it handled. Each was committed or rejected.
    pub(crate) begun: HashSet<usize>,
    pub(crate) rejected: usize,
}

/// The parent's side: starts this program again, gives it commands, and kills it (SIGKILL on Unix) when all its
/// clients hang between commit and publish, which they do after so many publishes.
pub(crate) fn live_and_die(
    files: &Files,
    commands: &[Command],
    publishes: usize,
) -> Result<Life, Box<dyn Error>> {
    let mut child = std::process::Command::new(std::env::current_exe()?)
        .args(["-", "--die-after", &publishes.to_string()])
        .args(files.arguments())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("the child has no pipes".into());
    };
    // It stays open: a child whose parent is gone must not hang for ever.
    let mut stdin = BufWriter::new(stdin);
    for command in commands {
        serde_json::to_writer(&mut stdin, command)?;
        stdin.write_all(b"\n")?;
    }
    stdin.write_all(b"\n")?;
    stdin.flush()?;
    let mut life = Life::default();
    let mut killed = false;
    for line in BufReader::new(stdout).lines() {
        match line?.split_once(' ') {
            Some(("begun", place)) => drop(life.begun.insert(place.parse()?)),
            Some(("rejected", _)) => life.rejected += 1,
            _ => {
                child.kill()?;
                killed = true;
            }
        }
    }
    let status = child.wait()?;
    if killed {
        Ok(life)
    } else {
        Err(format!("the child ended by itself: {status}").into())
    }
}

/// The child's side: commands from standard input up to a blank line, progress on standard output.
///
/// It has no backstop: what it leaves behind is for others.
pub(crate) async fn run(files: &Files, publishes: usize) -> Result<(), Box<dyn Error>> {
    let lines = std::io::stdin().lock().lines();
    let lines: Vec<String> = lines
        .take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
        .collect::<Result<_, _>>()?;
    let commands = input::read("the parent", lines.join("\n").as_bytes())?;
    let (tell, mut told) = mpsc::unbounded();
    let broker = Broker::hanging_after(&files.log, publishes, tell.clone())?;
    let app = todo::service(files.database.open().await?)
        .with_bus(broker)
        .with_publish_lease(LEASE);
    let app = Arc::new(app.build()?);
    for share in shares(&commands) {
        let (app, tell) = (app.clone(), tell.clone());
        drop(executor::spawn(async move {
            for (place, command) in share {
                println!("begun {place}");
                match send(&app, &command).await {
                    Ok(Answer::Committed { .. }) => {}
                    Ok(Answer::Rejected) => println!("rejected {place}"),
                    Err(error) => return tell.unbounded_send(Err(error.to_string())),
                }
            }
            tell.unbounded_send(Ok(()))
        }));
    }
    // Each client hangs in a publish, or has nothing left to send.
    for _ in 0..CLIENTS {
        told.recv().await??;
    }
    println!("hanging");
    // Until the kill; or until the parent is gone. Nothing else runs here that blocking could hold up.
    std::io::stdin().lines().for_each(drop);
    Ok(())
}
