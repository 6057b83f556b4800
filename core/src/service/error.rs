//! What can go wrong while a service is built, and inside a handler.

use alloc::string::String;

use crate::aggregate::RepositoryError;
use crate::id::{Excerpt, Invalid};
use crate::message::MessageKind;

/// A registration or setting that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A command has a handler already.
    #[error("the command {name:?} has two handlers; a command has one")]
    DuplicateCommand {
        /// The command.
        name: String,
    },
    /// A name or a number was refused.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// A handler did not succeed.
///
/// [`is_retryable`](Self::is_retryable) decides whether its message is delivered again or handled by the
/// [`FailurePolicy`](crate::bus::FailurePolicy).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandlerError {
    /// The repository refused or failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A message or name was refused.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The message's payload is not the JSON that the handler wants. Permanent.
    #[error("the input of {name:?} does not decode: {reason}")]
    Input {
        /// The message's name.
        name: String,
        /// Why.
        reason: Excerpt,
    },
    /// A value of the handler's does not encode. Permanent.
    #[error("a value does not encode as JSON: {reason}")]
    Encode {
        /// Why.
        reason: Excerpt,
    },
    /// The handler's guard said no. Permanent.
    #[error("{name:?} was refused by its guard")]
    Refused {
        /// The message's name.
        name: String,
    },
    /// No handler has this name. Permanent.
    #[error("no handler for the {kind} {name:?}")]
    Unknown {
        /// Command or event.
        kind: MessageKind,
        /// Its name.
        name: String,
    },
    /// What the command is about is not there. Retryable: it may come.
    #[error("{what} not found")]
    NotFound {
        /// What.
        what: Excerpt,
    },
    /// The handler says that it will never succeed.
    #[error("{reason}")]
    Permanent {
        /// Why.
        reason: Excerpt,
    },
    /// The handler says that it may succeed later.
    #[error("{reason}")]
    Retryable {
        /// Why.
        reason: Excerpt,
    },
    /// The handler panicked (seen with `std` only). Permanent.
    #[error("the handler of {name:?} panicked")]
    Panicked {
        /// The message's name.
        name: String,
    },
    /// The service was refused when it was built.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl HandlerError {
    /// It will never succeed: a rule of the domain says no.
    pub fn permanent(reason: impl core::fmt::Display) -> Self {
        Self::Permanent {
            reason: Excerpt::display(&reason),
        }
    }

    /// It may succeed later.
    pub fn retryable(reason: impl core::fmt::Display) -> Self {
        Self::Retryable {
            reason: Excerpt::display(&reason),
        }
    }

    /// What the message is about is not there yet.
    pub fn not_found(what: impl core::fmt::Display) -> Self {
        Self::NotFound {
            what: Excerpt::display(&what),
        }
    }

    /// Whether another delivery may succeed.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Repository(error) => error.is_retryable(),
            Self::NotFound { .. } | Self::Retryable { .. } => true,
            _ => false,
        }
    }

    /// Whether the message was handled before.
    pub const fn is_duplicate_receipt(&self) -> bool {
        matches!(self, Self::Repository(RepositoryError::DuplicateReceipt { .. }))
    }
}

impl From<serde_json::Error> for HandlerError {
    fn from(error: serde_json::Error) -> Self {
        Self::Encode {
            reason: Excerpt::display(&error),
        }
    }
}

#[cfg(feature = "std")]
impl From<crate::message::EncodeError> for HandlerError {
    fn from(error: crate::message::EncodeError) -> Self {
        match error {
            crate::message::EncodeError::Invalid(invalid) => Self::Invalid(invalid),
            crate::message::EncodeError::Json(reason) => Self::Encode { reason },
        }
    }
}
