//! What every repository must do: one commit over everything, versions, and what core builds on top of it.

mod aggregates;
mod commits;
mod locks;
mod refusals;
mod sample;
mod snapshots;
mod values;

pub use aggregates::*;
pub use commits::*;
pub use locks::*;
pub use refusals::*;
pub use snapshots::*;
pub use values::*;
