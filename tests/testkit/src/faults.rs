//! What may go wrong, and how often. All of it ends after a while, so that what must happen at last can be seen.

use std::time::Duration;

use crate::dice::Dice;

/// A range of milliseconds, both ends included.
pub type Millis = (u64, u64);

/// How often each thing goes wrong, in thousandths, as long as the storm lasts.
///
/// ```
/// use postbox_testkit::{Dice, Faults};
///
/// assert_eq!(Faults::none().crash, 0);
/// assert!(Faults::storm(&mut Dice::new(1)).lasts.as_secs() > 0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// For how long things go wrong, in virtual time.
    pub lasts: Duration,
    /// Of a node's polls: it dies after the poll, and starts again later.
    pub crash: u32,
    /// Of a node's polls: it stands still, and knows nothing of it.
    pub stall: u32,
    /// For how long it stands still.
    pub stall_for: Millis,
    /// Of a node's polls: it is told to stop, and starts again.
    pub stop: u32,
    /// Of the ways to the store and back: they take time.
    pub slow_hop: u32,
    /// How much time.
    pub hop: Millis,
    /// Of the packets to and from the broker: they take time.
    pub slow_packet: u32,
    /// How much time.
    pub packet: Millis,
    /// Of the packets to the broker: they never arrive.
    pub lost_packet: u32,
    /// Of the broker's answers: they never arrive.
    pub lost_answer: u32,
    /// Of the packets to the broker: they arrive twice.
    pub copied_packet: u32,
    /// Of the packets that arrive: the broker goes down with them.
    pub outage: u32,
    /// For how long it is down.
    pub outage_for: Millis,
    /// Of a consumer's acknowledgements: they never arrive.
    pub lost_ack: u32,
    /// Of the store's operations: they fail and change nothing.
    pub store_error: u32,
    /// Of the store's operations: they take effect, and the answer is lost.
    pub store_answer_lost: u32,
    /// Of the settlements that nobody waits for: they are gone.
    pub lost_settlement: u32,
    /// Of the hints: nobody hears them.
    pub lost_hint: u32,
    /// Of the messages: the broker refuses them a few times.
    pub refused: u32,
    /// Of the messages: the broker never takes them.
    pub poison: u32,
    /// How much faster or slower a node's clock may go, in millionths.
    pub drift: u64,
}

impl Faults {
    /// Nothing goes wrong, and nothing takes time.
    pub const fn none() -> Self {
        Self {
            lasts: Duration::ZERO,
            crash: 0,
            stall: 0,
            stall_for: (0, 0),
            stop: 0,
            slow_hop: 0,
            hop: (0, 0),
            slow_packet: 0,
            packet: (0, 0),
            lost_packet: 0,
            lost_answer: 0,
            copied_packet: 0,
            outage: 0,
            outage_for: (0, 0),
            lost_ack: 0,
            store_error: 0,
            store_answer_lost: 0,
            lost_settlement: 0,
            lost_hint: 0,
            refused: 0,
            poison: 0,
            drift: 0,
        }
    }

    /// A mixture: each fault is absent, seldom or frequent, as the dice fall.
    pub fn storm(dice: &mut Dice) -> Self {
        let mut some = |seldom: u32, frequent: u32| match dice.below(4) {
            0 | 1 => 0,
            2 => seldom,
            _ => frequent,
        };
        let mut faults = Self {
            crash: some(2, 12),
            stall: some(1, 8),
            stop: some(1, 4),
            slow_hop: some(50, 400),
            slow_packet: some(100, 500),
            lost_packet: some(20, 150),
            lost_answer: some(20, 200),
            copied_packet: some(20, 200),
            outage: some(10, 80),
            lost_ack: some(20, 200),
            store_error: some(5, 50),
            store_answer_lost: some(5, 50),
            lost_settlement: some(50, 300),
            lost_hint: some(100, 1000),
            refused: some(50, 300),
            poison: some(20, 100),
            ..Self::none()
        };
        faults.lasts = Duration::from_millis(dice.between((200, 3_000)));
        faults.stall_for = (1, dice.one_of(&[100, 1_000, 5_000], 100));
        faults.hop = (1, dice.one_of(&[5, 50, 800], 5));
        faults.packet = (1, dice.one_of(&[5, 50, 1_500], 5));
        faults.outage_for = (10, dice.one_of(&[500, 5_000], 500));
        faults.drift = dice.one_of(&[0, 100, 10_000], 0);
        faults
    }
}
