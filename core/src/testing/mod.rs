//! What tests of services, stores and buses need: virtual time, and parts that fail on purpose.

mod clock;

pub use clock::{Stalled, VirtualClock, run};
