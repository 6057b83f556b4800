//! What every outbox must do: who gets a message, for how long, in which order, and what becomes of it.
//!
//! The rules of one message are those of [`postbox::claim`]; the checks here add what only a store can get
//! wrong: several messages, several workers, and the order within a key.

mod births;
mod claiming;
mod failures;
mod hints;
mod keeping;
mod leases;
mod order;
mod scale;

pub use births::*;
pub use claiming::*;
pub use failures::*;
pub use hints::*;
pub use keeping::*;
pub use leases::*;
pub use order::*;
pub use scale::*;
