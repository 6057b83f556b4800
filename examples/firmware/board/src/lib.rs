//! What the firmware knows of the machines: three of QEMU's, one chosen by a feature. The only unsafe code of the
//! firmware is here, where registers are touched.
#![no_std]

mod executor;
mod interrupts;
mod machine;
pub mod qemu;
#[cfg_attr(feature = "mps2-an385", path = "time/cmsdk.rs")]
#[cfg_attr(not(feature = "mps2-an385"), path = "time/systick.rs")]
mod time;

pub use executor::Executor;
pub use machine::NAME;

/// Starts the clock. Once, before anything else.
pub fn init() {
    if let Some(core) = cortex_m::Peripherals::take() {
        time::init(core.SYST, machine::SYSCLK_HZ);
    }
}

/// Registers of peripherals.
#[cfg(feature = "mps2-an385")]
mod register {
    /// Reads the register at an address.
    pub(crate) fn read(address: usize) -> u32 {
        // SAFETY: callers name registers of the machine that they are compiled for; all are 32 bits wide and aligned.
        unsafe { (address as *const u32).read_volatile() }
    }

    /// Writes the register at an address.
    pub(crate) fn write(address: usize, value: u32) {
        // SAFETY: as for `read`; none of them hands memory to the machine.
        unsafe { (address as *mut u32).write_volatile(value) }
    }
}
