//! What becomes of messages when PostgreSQL, its sessions, or the application are killed. Starts servers of its own,
//! breaks them, and prints one table; the last line counts.
#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "a command line tool")]

mod cluster;
mod count;
mod kills;
mod load;
mod scenes;
mod work;

use std::process::ExitCode;

use cluster::Failure;
use count::{Count, Table};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["child", url, path, seed] => kills::child(url, path, seed.parse().unwrap_or_default())
            .await
            .map(|()| true),
        only => all(only).await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("postgres-faults: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays all scenes, or those that are named.
async fn all(only: &[&str]) -> Result<bool, Failure> {
    let wanted = |name: &str| only.is_empty() || only.contains(&name);
    let mut counts: Vec<Count> = Vec::new();
    for name in ["writers", "stalls", "crashes", "terminations", "kills", "restore"] {
        if !wanted(name) {
            continue;
        }
        let start = std::time::Instant::now();
        let count = match name {
            "writers" => scenes::writers().await,
            "stalls" => scenes::stalls().await,
            "crashes" => scenes::crashes().await,
            "terminations" => scenes::terminations().await,
            "kills" => kills::kills().await,
            _ => scenes::restore().await,
        };
        let count = count.map_err(|error| format!("{name}: {error}"))?;
        println!("{name}: {:.0?}, {count:?}", start.elapsed());
        counts.push(count);
    }
    println!("\n{}", Table(&counts));
    Ok(!counts.is_empty() && counts.iter().all(Count::is_good))
}
