//! A thread-mode executor that sleeps with WFI.
//!
//! QEMU 7.2 does not sleep in WFE on a single-core Cortex-M but goes on with the next instruction; embassy's own
//! executor spins there, and under `-icount` its idle time counts as instructions.

use embassy_executor::{Spawner, raw};
use portable_atomic::{AtomicBool, Ordering};

static WOKEN: AtomicBool = AtomicBool::new(false);

#[unsafe(export_name = "__pender")]
fn pender(_: *mut ()) {
    WOKEN.store(true, Ordering::Release);
}

/// Runs tasks for ever.
pub struct Executor(raw::Executor);

impl Default for Executor {
    fn default() -> Self {
        Self::new()
    }
}

impl Executor {
    /// For a `static`.
    pub fn new() -> Self {
        Self(raw::Executor::new(core::ptr::null_mut()))
    }

    /// Lets `init` spawn the first tasks, and runs them.
    pub fn run(&'static mut self, init: impl FnOnce(Spawner)) -> ! {
        init(self.0.spawner());
        loop {
            // SAFETY: polled from here only, and not reentrantly.
            unsafe { self.0.poll() };
            // With interrupts masked a pending one still ends WFI, so that no wake is lost between look and sleep.
            // Load and store only: fine on a core without compare-and-swap.
            cortex_m::interrupt::free(|_| {
                if !WOKEN.load(Ordering::Acquire) {
                    cortex_m::asm::dsb();
                    cortex_m::asm::wfi();
                }
                WOKEN.store(false, Ordering::Release);
            });
        }
    }
}
