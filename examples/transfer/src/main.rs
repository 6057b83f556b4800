//! Tries a transfer between two accounts in every way it may go: once as it should be, once with a bug that no
//! ordinary test shows. Run it as `cargo run --release -p transfer`.

mod bank;

use std::process::ExitCode;
use std::time::Duration;

use postbox::aggregate::Repository;
use postbox::bus::RunOptions;
use postbox_testkit::{Explored, Failure, SimRepository, World, explore};
use serde_json::json;

use bank::{Account, OPENING, SEND, service};

/// One process, one transfer, and what must be true in the end: no money was made or lost.
fn transfer(world: &mut World, early: bool) {
    world.node(move |node| async move {
        let app = node.attach(service(&node, early));
        if let Ok(options) = RunOptions::inbox("bank") {
            let _ = node.run(&app, options).await;
        }
    });
    let input = json!({ "id": "t-1", "from": "alice", "to": "bob", "amount": 30 });
    world.command(Duration::ZERO, SEND, "t-1", input);
    world.demand(money_is_kept);
}

fn money_is_kept(repository: &SimRepository) -> Result<(), String> {
    let accounts = repository.clone().aggregate::<Account>();
    let balance = |id: &str| -> Result<u64, String> {
        let account = postbox_testkit::at_once(accounts.peek(id)).map_err(|error| error.to_string())?;
        Ok(account.map_or(OPENING, |account| account.balance))
    };
    let (alice, bob) = (balance("alice")?, balance("bob")?);
    if alice + bob == 2 * OPENING {
        return Ok(());
    }
    Err(format!(
        "alice has {alice}, bob has {bob}: together they had {}",
        2 * OPENING
    ))
}

fn try_it(early: bool) -> Result<Explored, Box<Failure>> {
    explore(|world| transfer(world, early))
}

fn main() -> ExitCode {
    match try_it(false) {
        Ok(explored) => println!("message and state in one commit:\n  {explored}\n"),
        Err(failure) => {
            println!("message and state in one commit: {failure}");
            return ExitCode::FAILURE;
        }
    }
    match try_it(true) {
        Ok(explored) => {
            println!("published before the commit:\n  {explored}: the bug was not found");
            ExitCode::FAILURE
        }
        Err(failure) => {
            println!("published before the commit, which is the bug: {failure}");
            ExitCode::SUCCESS
        }
    }
}

#[cfg(test)]
mod tests {
    use postbox_testkit::Promise;

    use super::*;

    #[test]
    fn a_transfer_in_one_commit_makes_and_loses_no_money_whatever_happens() {
        let explored = try_it(false).unwrap_or_else(|failure| unreachable!("{failure}"));
        assert!(explored.crashes > 10 && explored.storms > 0, "{explored}");
    }

    #[test]
    fn publishing_before_the_commit_is_found_and_told() {
        let failure = try_it(true).expect_err("the bug is there");
        let broken: Vec<_> = failure.outcome.violations.iter().map(|one| one.promise).collect();
        assert!(broken.contains(&Promise::NotCommitted), "{failure}");
        assert!(failure.to_string().contains("THE BROKER HAS IT"), "{failure}");
    }
}
