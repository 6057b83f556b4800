//! Names of database objects: checked once, so that they can stand in SQL.

use std::fmt;

use postbox::id::{Excerpt, Invalid, check_length};

/// The longest identifier of PostgreSQL, in bytes.
const MAX_IDENTIFIER_BYTES: usize = 63;
/// The longest prefix, in bytes: room for the longest name behind it.
const MAX_PREFIX_BYTES: usize = 40;

/// A name of lower-case letters, digits and underscores that does not start with a digit: what is put into SQL
/// where a value cannot be bound.
///
/// ```
/// use postbox_postgres::Identifier;
///
/// assert_eq!(Identifier::new("orders_2")?.as_str(), "orders_2");
/// assert!(Identifier::new("orders; DROP TABLE orders").is_err());
/// assert!(Identifier::new("Orders").is_err() && Identifier::new("2nd").is_err() && Identifier::new("").is_err());
/// # Ok::<(), postbox::id::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identifier(String);

impl Identifier {
    /// Checks a name: `[a-z_][a-z0-9_]{0,62}`.
    ///
    /// # Errors
    /// [`Invalid`] for anything else.
    pub fn new(name: impl Into<String>) -> Result<Self, Invalid> {
        let name = name.into();
        if name.is_empty() {
            return Err(Invalid::Blank { field: "identifier" });
        }
        check_length("identifier", name.len(), MAX_IDENTIFIER_BYTES)?;
        let fits =
            |(at, c): (usize, char)| c == '_' || c.is_ascii_lowercase() || (at > 0 && c.is_ascii_digit());
        match name.char_indices().find(|place| !fits(*place)) {
            None => Ok(Self(name)),
            Some((_, character)) => Err(Invalid::Character {
                field: "identifier",
                value: Excerpt::new(&name),
                character,
            }),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the tables of one outbox are: a schema, and what each name in it starts with.
///
/// Several outboxes live side by side in one database, each under names of its own.
///
/// ```
/// use postbox_postgres::{Identifier, Names};
///
/// let names = Names::default(); // postbox.outbox, postbox.enqueue(..)
/// assert_eq!(names.qualified("outbox"), "\"postbox\".outbox");
/// let names = Names::new(Identifier::new("shop")?).with_prefix(Identifier::new("orders_")?)?;
/// assert_eq!(names.qualified("outbox"), "\"shop\".orders_outbox");
/// # Ok::<(), postbox::id::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    schema: Identifier,
    prefix: String,
}

impl Names {
    /// In this schema, without a prefix.
    pub const fn new(schema: Identifier) -> Self {
        Self {
            schema,
            prefix: String::new(),
        }
    }

    /// Names that start so.
    ///
    /// # Errors
    /// [`Invalid::TooLong`] for more than 40 bytes: PostgreSQL would cut the names that come of it.
    pub fn with_prefix(mut self, prefix: Identifier) -> Result<Self, Invalid> {
        check_length("prefix", prefix.0.len(), MAX_PREFIX_BYTES)?;
        self.prefix = prefix.0;
        Ok(self)
    }

    /// The schema.
    pub const fn schema(&self) -> &Identifier {
        &self.schema
    }

    /// What each name starts with; may be empty.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A table or function of this outbox, ready for SQL. Quoted, since a schema may be called `order`.
    pub fn qualified(&self, name: &str) -> String {
        format!("\"{}\".{}{name}", self.schema, self.prefix)
    }

    /// Puts the names into a text with `{schema}` and `{prefix}`.
    pub fn fill(&self, template: &str) -> String {
        template
            .replace("{schema}", &format!("\"{}\"", self.schema))
            .replace("{prefix}", &self.prefix)
    }
}

/// The schema `postbox`, without a prefix.
impl Default for Names {
    fn default() -> Self {
        Self::new(Identifier(String::from("postbox")))
    }
}
