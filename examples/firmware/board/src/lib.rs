//! What the firmware knows of the machines: three of QEMU's, one chosen by a feature. The only unsafe code of the
//! firmware is here, where registers are touched.
#![no_std]

#[cfg(feature = "allocator")]
mod allocator;
mod executor;
#[cfg(not(feature = "lm3s6965evb"))]
pub mod flash;
mod interrupts;
#[cfg(not(feature = "lm3s6965evb"))]
pub mod kept;
mod machine;
#[cfg(feature = "net")]
pub mod nic;
pub mod qemu;
#[cfg_attr(feature = "mps2-an385", path = "time/cmsdk.rs")]
#[cfg_attr(not(feature = "mps2-an385"), path = "time/systick.rs")]
mod time;
pub mod uart;

pub use executor::Executor;
pub use machine::NAME;

/// Starts the clock. Once, before anything else.
pub fn init() {
    if let Some(core) = cortex_m::Peripherals::take() {
        time::init(core.SYST, machine::SYSCLK_HZ);
    }
}

/// Runs a future that waits for nothing but itself, without an executor.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = core::pin::pin!(future);
    let mut context = core::task::Context::from_waker(core::task::Waker::noop());
    loop {
        if let core::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// Starts again, as after a power cut.
pub fn reset() -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}

/// Registers of peripherals, and words of memory that the linker knows nothing of.
mod register {
    /// Reads the word at an address.
    pub(crate) fn read(address: usize) -> u32 {
        // SAFETY: callers name registers of the machine that they are compiled for, or words of regions that its
        // memory map keeps out of the program; all are 32 bits wide and aligned.
        unsafe { (address as *const u32).read_volatile() }
    }

    /// Writes the word at an address.
    pub(crate) fn write(address: usize, value: u32) {
        // SAFETY: as for `read`; none of them hands memory of the program to the machine.
        unsafe { (address as *mut u32).write_volatile(value) }
    }
}
