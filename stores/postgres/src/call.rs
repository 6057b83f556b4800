//! A call of one of the database's functions, or a plain statement: how this crate talks to its tables. Knows
//! nothing of what they do.
//!
//! A call is one statement, and one round trip once it is prepared. Where statements must not be prepared (a
//! pooler that gives each transaction another session) the values are written into the text, which is sent whole.

use std::fmt::Write;
use std::sync::Arc;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Postgres};

/// A value of a call.
#[derive(Clone, Debug)]
pub(crate) enum Arg<'a> {
    Int(i64),
    MaybeInt(Option<i64>),
    Bool(bool),
    Text(&'a str),
    MaybeText(Option<&'a str>),
    Blob(&'a [u8]),
    Ints(Vec<i64>),
    Bools(Vec<bool>),
    Texts(Vec<&'a str>),
    MaybeTexts(Option<Vec<&'a str>>),
    Keys(Vec<Option<&'a str>>),
    Blobs(Vec<&'a [u8]>),
}

/// A statement with places for values, `$1` and so on, in their order and each once.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    sql: Arc<str>,
}

impl Function {
    /// A function by its qualified name.
    pub(crate) fn new(name: &str, arguments: usize) -> Self {
        let places: Vec<String> = (1..=arguments).map(|at| format!("${at}")).collect();
        Self::statement(format!("SELECT * FROM {name}({})", places.join(", ")))
    }

    /// A function that returns one value: without a table around it, which costs a call as much as a row.
    pub(crate) fn value(name: &str, arguments: usize) -> Self {
        let places: Vec<String> = (1..=arguments).map(|at| format!("${at}")).collect();
        Self::statement(format!("SELECT {name}({})", places.join(", ")))
    }

    /// Any statement.
    pub(crate) fn statement(sql: String) -> Self {
        Self { sql: sql.into() }
    }

    /// Calls it. All rows are read, up to the server's word that the statement is over: an autocommit
    /// statement is not committed before that.
    pub(crate) async fn call(
        &self,
        connection: &mut PgConnection,
        args: &[Arg<'_>],
        prepared: bool,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        if !prepared {
            let text = AssertSqlSafe(self.literally(args));
            return sqlx::raw_sql(text).fetch_all(connection).await;
        }
        let mut query = sqlx::query::<Postgres>(AssertSqlSafe(self.sql.clone()));
        for arg in args {
            query = match arg {
                Arg::Int(value) => query.bind(*value),
                Arg::MaybeInt(value) => query.bind(*value),
                Arg::Bool(value) => query.bind(*value),
                Arg::Text(value) => query.bind(*value),
                Arg::MaybeText(value) => query.bind(*value),
                Arg::Blob(value) => query.bind(*value),
                Arg::Ints(values) => query.bind(values),
                Arg::Bools(values) => query.bind(values),
                Arg::Texts(values) => query.bind(values),
                Arg::MaybeTexts(values) => query.bind(values),
                Arg::Keys(values) => query.bind(values),
                Arg::Blobs(values) => query.bind(values),
            };
        }
        query.fetch_all(connection).await
    }

    fn literally(&self, args: &[Arg<'_>]) -> String {
        let mut sql = String::new();
        let mut rest = &*self.sql;
        for (at, arg) in (1..).zip(args) {
            let place = format!("${at}");
            let Some((before, after)) = rest.split_once(&place) else {
                break;
            };
            sql.push_str(before);
            literal(&mut sql, arg);
            rest = after;
        }
        sql + rest
    }
}

/// Writes a value as SQL. Writing to a string does not fail.
fn literal(sql: &mut String, arg: &Arg<'_>) {
    match arg {
        Arg::Int(value) | Arg::MaybeInt(Some(value)) => int(sql, *value),
        Arg::MaybeInt(None) => sql.push_str("NULL::bigint"),
        Arg::Bool(value) => bool(sql, *value),
        Arg::Text(value) | Arg::MaybeText(Some(value)) => text(sql, value),
        Arg::MaybeText(None) => sql.push_str("NULL::text"),
        Arg::Blob(value) => blob(sql, value),
        Arg::Ints(values) => list(sql, values, "bigint", |sql, value| int(sql, *value)),
        Arg::Bools(values) => list(sql, values, "boolean", |sql, value| bool(sql, *value)),
        Arg::Texts(values) | Arg::MaybeTexts(Some(values)) => {
            list(sql, values, "text", |sql, value| text(sql, value));
        }
        Arg::MaybeTexts(None) => sql.push_str("NULL::text[]"),
        Arg::Keys(values) => list(sql, values, "text", |sql, value| match value {
            Some(value) => text(sql, value),
            None => sql.push_str("NULL"),
        }),
        Arg::Blobs(values) => list(sql, values, "bytea", |sql, value| blob(sql, value)),
    }
}

fn blob(sql: &mut String, value: &[u8]) {
    sql.push_str("'\\x");
    for byte in value {
        let _ = write!(sql, "{byte:02x}");
    }
    sql.push_str("'::bytea");
}

fn bool(sql: &mut String, value: bool) {
    sql.push_str(if value { "true" } else { "false" });
}

fn int(sql: &mut String, value: i64) {
    // The cast binds tighter than the sign, which matters for the least number of all.
    let _ = write!(sql, "'{value}'::bigint");
}

/// An escape string: the same whatever `standard_conforming_strings` says. NUL, which PostgreSQL cannot store,
/// never gets here: every text was checked, and the server would refuse it.
fn text(sql: &mut String, value: &str) {
    sql.push_str("E'");
    for c in value.chars() {
        if matches!(c, '\'' | '\\') {
            sql.push(c);
        }
        sql.push(c);
    }
    sql.push('\'');
}

fn list<T>(sql: &mut String, values: &[T], kind: &str, mut each: impl FnMut(&mut String, &T)) {
    sql.push_str("ARRAY[");
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            sql.push(',');
        }
        each(sql, value);
    }
    let _ = write!(sql, "]::{kind}[]");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_into_the_text_cannot_leave_its_quotes() {
        let function = Function::new("f", 4);
        let args = [
            Arg::Text(r"it's \' OR 1=1; --"),
            Arg::Keys(vec![None, Some("a\\")]),
            Arg::Blobs(vec![b"\x00'", b""]),
            Arg::Ints(vec![i64::MIN]),
        ];
        let expected = r"SELECT * FROM f(E'it''s \\'' OR 1=1; --', ARRAY[NULL,E'a\\']::text[], ARRAY['\x0027'::bytea,'\x'::bytea]::bytea[], ARRAY['-9223372036854775808'::bigint]::bigint[])";
        assert_eq!(function.literally(&args), expected);
        assert_eq!(&*function.sql, "SELECT * FROM f($1, $2, $3, $4)");
    }
}
