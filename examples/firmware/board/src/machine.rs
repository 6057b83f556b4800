//! The few facts about each machine.

/// Its name, as QEMU calls it.
#[cfg(feature = "mps2-an385")]
pub const NAME: &str = "mps2-an385";
#[cfg(feature = "mps2-an385")]
pub(crate) const SYSCLK_HZ: u32 = 25_000_000;

/// Its name, as QEMU calls it.
#[cfg(feature = "microbit")]
pub const NAME: &str = "microbit";
/// As QEMU has it. A real nRF51 runs at 16 MHz too, but has no SysTick.
#[cfg(feature = "microbit")]
pub(crate) const SYSCLK_HZ: u32 = 16_000_000;

/// Its name, as QEMU calls it.
#[cfg(feature = "lm3s6965evb")]
pub const NAME: &str = "lm3s6965evb";
/// Stellaris after reset: 200 MHz PLL / 16.
#[cfg(feature = "lm3s6965evb")]
pub(crate) const SYSCLK_HZ: u32 = 12_500_000;
