//! An application process that is killed at any moment: both its sides.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::cluster::{Cluster, Failure};
use crate::count::Count;
use crate::load::{self, Broker, Random, dispatch, facts, open};
use crate::work::Work;

const KILLS: usize = 100;
/// What one process may have published and not settled when it dies: eight writers with a message each and as many
/// settlements on their way, and two batches of sixteen.
const IN_HAND: usize = 8 + 8 + 32;

/// An application process is killed, again and again, at any moment; the last one is not.
pub(crate) async fn kills() -> Result<Count, Failure> {
    let cluster = Cluster::start()?;
    let repository = open(&cluster.url()).await?;
    let path = std::env::temp_dir().join(format!("postbox-faults-{}.log", std::process::id()));
    let mut random = Random(7);
    for _ in 0..KILLS {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("child")
            .arg(cluster.url())
            .arg(&path)
            .arg(random.below(u64::MAX).to_string())
            .stdin(Stdio::null())
            .spawn()?;
        // From before its first connection to well into its work.
        tokio::time::sleep(Duration::from_millis(20 + random.below(230))).await;
        child.kill()?;
        child.wait()?;
    }
    let work = Work::start(&repository, &Broker::file(&path)?, 0, 2);
    work.finish().await?;
    let delivered: Vec<String> = std::fs::read_to_string(&path)?
        .lines()
        .map(str::to_owned)
        .collect();
    std::fs::remove_file(&path)?;
    let mut count = Count::of(
        "the application is killed",
        &facts(repository.pool()).await?,
        &delivered,
    );
    (count.faults, count.allowed) = (KILLS, KILLS * IN_HAND);
    Ok(count)
}

/// What is killed: eight writers and two dispatchers, until then.
pub(crate) async fn child(url: &str, path: &str, seed: u64) -> Result<(), Failure> {
    let (repository, broker) = (open(url).await?, Broker::file(path.as_ref())?);
    let mut tasks = JoinSet::new();
    for n in 0..8 {
        tasks.spawn(load::write(
            repository.clone(),
            broker.clone(),
            seed.wrapping_add(n),
            Arc::default(),
        ));
    }
    for _ in 0..2 {
        let (repository, broker) = (repository.clone(), broker.clone());
        tasks.spawn(async move {
            let _ = dispatch(repository, broker, Arc::default()).await;
        });
    }
    tasks.join_all().await;
    Ok(())
}
