//! Who calls: given by the host that dispatches, never taken from a message.

use alloc::collections::BTreeMap;
use alloc::string::String;

/// What the host knows of the caller: user, role, and free claims.
///
/// A message from a bus has an empty session. Whoever can send a message can write its headers, so headers
/// never become a session.
///
/// ```
/// use postbox::service::Session;
///
/// let session = Session::new().with("user-id", "u1").with("role", "admin");
/// assert_eq!((session.user_id(), session.role()), (Some("u1"), Some("admin")));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session(BTreeMap<String, String>);

impl Session {
    /// Nobody.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a claim; keys compare without regard to case.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.insert(key.to_ascii_lowercase(), value.into());
        self
    }

    /// A claim.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(&key.to_ascii_lowercase()).map(String::as_str)
    }

    /// The claim `user-id`.
    pub fn user_id(&self) -> Option<&str> {
        self.get("user-id")
    }

    /// The claim `role`.
    pub fn role(&self) -> Option<&str> {
        self.get("role")
    }
}
