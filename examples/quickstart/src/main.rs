//! Postbox's main job in one command: todo commands on a database, in acts, with a check at the end.

mod acts;
mod broker;
mod check;
mod child;
mod database;
mod executor;
mod input;
mod process;
mod store;
mod timeline;
mod todo;

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use postbox_postgres::Identifier;

use check::Verdict;
use database::Database;
use input::{Command, Random};
use process::{Files, Process};
use timeline::Timeline;

/// The commands that ship with this program.
const SHIPPED: &str = include_str!("../todos.jsonl");
/// How many commands those are made into.
const COUNT: usize = 2_000;

/// Handles todo commands on a database: commit and publish, a broker that is down, processes that are killed.
/// Ends with a check: everything committed was published, in order.
#[derive(Debug, Parser)]
struct Cli {
    /// A file of commands, one JSON object a line, or - for standard input; by default the shipped todos.jsonl
    input: Option<PathBuf>,
    /// Repeat the input, each time about other todos, up to this many commands; the shipped one makes 2000
    #[arg(long)]
    count: Option<usize>,
    /// Keep the database here, with the broker's log beside it, instead of in a temporary directory
    #[arg(long)]
    database: Option<PathBuf>,
    /// Use this PostgreSQL server instead of a file, in a schema that is removed at the end; env:NAME takes the URL
    /// from a variable
    #[arg(long, conflicts_with = "database", value_name = "URL")]
    database_url: Option<String>,
    /// Decides in which order todos take turns, and when processes are killed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Be a child process that hangs after so many publishes, until it is killed
    #[arg(long, hide = true)]
    die_after: Option<usize>,
    /// The schema that a child process shares with its parent
    #[arg(long, hide = true, requires = "database_url")]
    schema: Option<String>,
    /// The broker's log that a child process shares with its parent
    #[arg(long, hide = true, requires = "database_url")]
    log: Option<PathBuf>,
}

fn main() -> ExitCode {
    let ran = executor::block_on(run(Cli::parse()));
    match ran.unwrap_or_else(|error| Err(error.into())) {
        Ok(verdict) if verdict.is_none_or(|verdict| verdict.is_good()) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<Option<Verdict>, Box<dyn Error>> {
    if let Some(publishes) = cli.die_after {
        child::run(&inherited(&cli)?, publishes).await?;
        return Ok(None);
    }
    let mut random = Random(cli.seed);
    let commands = commands(&cli, &mut random)?;
    let place = Place::new(cli.database, cli.database_url)?;
    let verdict = play(&commands, &place.files, cli.seed, &mut random).await;
    if matches!(&verdict, Ok(verdict) if verdict.is_good()) {
        place.files.database.remove().await?;
    } else {
        place.keep();
    }
    verdict.map(Some)
}

/// What a child process was told by its parent.
fn inherited(cli: &Cli) -> Result<Files, Box<dyn Error>> {
    match (&cli.database, &cli.database_url, &cli.schema, &cli.log) {
        (Some(database), ..) => Ok(Files::beside(database)),
        (_, Some(url), Some(schema), Some(log)) => Ok(Files {
            database: Database::Server {
                url: url.clone(),
                schema: Identifier::new(schema)?,
            },
            log: log.clone(),
        }),
        _ => Err("--die-after: which database?".into()),
    }
}

/// Half of the commands for the first act, a quarter for each of the others; then the check.
async fn play(
    commands: &[Command],
    files: &Files,
    seed: u64,
    random: &mut Random,
) -> Result<Verdict, Box<dyn Error>> {
    let timeline = Timeline::start();
    println!(
        "Postbox: {} todo commands on {}, on {} (seed {seed})",
        commands.len(),
        files.database,
        executor::NAME
    );
    let (first, rest) = commands.split_at(commands.len().div_ceil(2));
    let (second, third) = rest.split_at(rest.len() / 2);
    let process = Process::start(files, None).await?;
    acts::commit_and_publish(&timeline, files, &process, first).await?;
    acts::broker_down(&timeline, files, &process, second).await?;
    process.stop().await?;
    acts::killed(&timeline, files, third, random).await?;
    timeline.act("4  check: the events in the database against the broker's log");
    let verdict = check::judge(&files.database.committed().await?, &check::delivered(&files.log)?);
    println!("\n{verdict}");
    Ok(verdict)
}

fn commands(cli: &Cli, random: &mut Random) -> Result<Vec<Command>, Box<dyn Error>> {
    let (base, count) = match &cli.input {
        None => (input::read("todos.jsonl", SHIPPED.as_bytes())?, Some(COUNT)),
        Some(path) if path.as_os_str() == "-" => {
            (input::read("standard input", std::io::stdin().lock())?, None)
        }
        Some(path) => {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
            (input::read(&name, BufReader::new(file))?, None)
        }
    };
    Ok(match cli.count.or(count) {
        Some(0) => return Err("--count: there must be at least one command".into()),
        Some(count) => input::extend(&base, count, random),
        None => base,
    })
}

/// Where the files are: a directory that is removed at the end, unless the user named a place.
struct Place {
    files: Files,
    temporary: Option<PathBuf>,
}

impl Place {
    fn new(database: Option<PathBuf>, url: Option<String>) -> Result<Self, Box<dyn Error>> {
        if let Some(database) = database {
            return Ok(Self {
                files: Files::beside(&database),
                temporary: None,
            });
        }
        let now = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
        let name = format!("postbox-quickstart-{}-{now}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory)?;
        let mut files = Files::beside(&directory.join("todos.db"));
        if let Some(url) = url {
            let schema = Identifier::new(format!("quickstart_{now}"))?;
            files.database = Database::Server { url, schema };
        }
        Ok(Self {
            files,
            temporary: Some(directory),
        })
    }

    /// Something is wrong: the files may tell what.
    fn keep(mut self) {
        if let Some(directory) = self.temporary.take() {
            let _ = writeln!(std::io::stderr(), "the files are kept in {}", directory.display());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(directory) = &self.temporary {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_shipped_commands_make_as_many_as_are_asked_for() {
        let cli = Cli::parse_from(["quickstart", "--count", "77"]);
        assert_eq!(commands(&cli, &mut Random(1)).unwrap().len(), 77);
    }
}
