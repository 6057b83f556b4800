//! A simulator for services over Postbox: virtual time, seeded faults, a crash at every await, and a checker
//! for every promise.
//!
//! The engines, the service and the store are the real ones; only the network, the broker's other end and the
//! clock are played. Since core is executor-free, a process is one future: it is polled by hand, and dies by
//! being dropped.
#![allow(async_fn_in_trait)]

mod backing;
mod broker;
mod check;
mod dice;
mod explore;
mod faults;
mod history;
mod sabotage;
mod simulate;
mod store;
mod workload;
mod world;

pub use backing::at_once;
pub use broker::{SimBus, SimReceived, SimSource};
pub use check::{Promise, Violation};
pub use dice::Dice;
pub use explore::{Case, Explored, Explorer, Failure, UnknownCase, explore};
pub use faults::{Faults, Millis};
pub use history::{Event, History, MessageNo, NodeId};
pub use sabotage::Sabotage;
pub use simulate::{Report, simulate, world_of};
pub use store::{RowKey, SimClaimed, SimError, SimOutbox, SimRepository};
pub use workload::{SCENARIOS, Scenario};
pub use world::{Node, NodeTimer, Outcome, World};
