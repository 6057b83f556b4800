//! Plans as the server explains them while it runs them: heard as notices, taken apart into nodes, judged. Knows
//! nothing of what was run.

use std::fmt::Debug;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// What a session is told, so that each statement that it runs, those inside functions too, comes back as a notice.
pub(crate) const EXPLAIN: &str = "LOAD 'auto_explain';
    SET auto_explain.log_min_duration = 0;
    SET auto_explain.log_analyze = on;
    SET auto_explain.log_buffers = on;
    SET auto_explain.log_timing = off;
    SET auto_explain.log_nested_statements = on;
    SET auto_explain.log_format = json;
    SET auto_explain.log_level = notice;
    SET client_min_messages = notice";

/// The tables that grow.
const LARGE: [&str; 4] = ["outbox", "events", "inbox", "snapshots"];
/// How a few rows of a large table are found. A bitmap is read whole before anything is made of it, so its rows count.
const NARROW: [&str; 5] = [
    "Index Scan",
    "Index Only Scan",
    "Tid Scan",
    "Bitmap Heap Scan",
    "Bitmap Index Scan",
];
/// Pages that a scan may touch for each of its turns and each row that it reads, and besides: a look into an index is
/// three of them, and a row has dead versions. A walk over the smallest index of 100,000 rows touches more than 270.
const PAGES: (f64, f64) = (5.0, 40.0);

/// One step of a plan, with what it did.
#[derive(Debug)]
pub(crate) struct Node {
    kind: String,
    table: String,
    pub(crate) index: String,
    turns: f64,
    /// Rows that came from it or that it threw away, in all its turns.
    pub(crate) read: f64,
    /// Rows that its children gave it.
    given: f64,
    pub(crate) pages: f64,
}

impl Node {
    /// Of large tables: a few rows at a time, found by an index or where they are; of anything: sorted a batch at most.
    pub(crate) fn is_bad(&self, batch: f64) -> bool {
        if self.kind.contains("Sort") {
            return self.given > batch;
        }
        // A bitmap's look into an index names no table.
        let large = LARGE.contains(&self.table.as_str()) || self.kind == "Bitmap Index Scan";
        let scans = self.kind.ends_with("Scan") && large;
        // Twice: what was claimed before is passed over.
        let far = self.read > 2.0 * batch || self.pages > PAGES.0 * (self.turns + self.read) + PAGES.1;
        scans && (far || !NARROW.contains(&self.kind.as_str()))
    }
}

/// The plans that were heard since the last call and that name this schema: their texts and all their nodes.
pub(crate) fn heard(schema: &str) -> Vec<(String, Vec<Node>)> {
    let mut all = notices().lock().unwrap_or_else(PoisonError::into_inner);
    let (ours, others) = all.drain(..).partition(|text| text.contains(schema));
    *all = others;
    let ours: Vec<String> = ours;
    ours.iter().filter_map(|text| parse(text)).collect()
}

fn parse(notice: &str) -> Option<(String, Vec<Node>)> {
    let (_, json) = notice.split_once("plan:\n")?;
    let explained: Value = serde_json::from_str(json).expect("a plan in JSON");
    let mut nodes = Vec::new();
    collect(&explained["Plan"], &mut nodes);
    Some((explained["Query Text"].as_str()?.to_owned(), nodes))
}

/// A node and all below it. Returns the rows that it gave.
fn collect(plan: &Value, nodes: &mut Vec<Node>) -> f64 {
    let children = plan["Plans"].as_array().map_or(&[][..], Vec::as_slice);
    let given = children.iter().map(|child| collect(child, nodes)).sum();
    let text = |what: &str| plan[what].as_str().unwrap_or_default().to_owned();
    let number = |what: &str| plan[what].as_f64().unwrap_or_default();
    let turns = number("Actual Loops");
    let rows = number("Actual Rows") * turns;
    let refused = number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
    nodes.push(Node {
        kind: text("Node Type"),
        table: text("Relation Name"),
        index: text("Index Name"),
        turns,
        read: rows + refused * turns,
        given,
        pages: number("Shared Hit Blocks") + number("Shared Read Blocks"),
    });
    rows
}

/// Hears notices for the whole process; safe to call again.
pub(crate) fn listen() {
    let _ = tracing::subscriber::set_global_default(Ear);
}

fn notices() -> &'static Mutex<Vec<String>> {
    static NOTICES: OnceLock<Mutex<Vec<String>>> = OnceLock::new();
    NOTICES.get_or_init(Mutex::default)
}

/// Where sqlx says what the server said.
struct Ear;

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::postgres::notice"
    }
    fn event(&self, event: &Event<'_>) {
        event.record(&mut Words);
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Words;

impl Visit for Words {
    fn record_str(&mut self, _: &Field, value: &str) {
        let mut all = notices().lock().unwrap_or_else(PoisonError::into_inner);
        all.push(value.to_owned());
    }
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
