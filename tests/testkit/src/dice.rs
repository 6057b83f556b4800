//! Chance that can be repeated: one number in, the same throws out, on every machine.

/// A small generator (`SplitMix64`, Steele, Lea and Flood 2014): fast, seedable by any number, good enough to
/// choose faults with and for nothing that must be secret.
///
/// ```
/// use postbox_testkit::Dice;
///
/// let (mut a, mut b) = (Dice::new(7), Dice::new(7));
/// assert_eq!(a.below(100), b.below(100));
/// ```
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that throw what this seed says.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`; 0 for 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.next() % limit }
    }

    /// A number from `low` to `high`, both included.
    pub const fn between(&mut self, (low, high): (u64, u64)) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Yes in so many of a thousand cases. For 0 nothing is thrown.
    pub const fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && self.below(1000) < permille as u64
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, choices: &[T], otherwise: T) -> T {
        let at = usize::try_from(self.below(choices.len() as u64)).unwrap_or_default();
        choices.get(at).copied().unwrap_or(otherwise)
    }
}
