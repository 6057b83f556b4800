//! embassy-time's driver over SysTick with a tick of 1 ms: every Cortex-M core that QEMU has can run it.

use core::cell::{Cell, RefCell};
use core::task::Waker;

use cortex_m::peripheral::{SYST, syst::SystClkSource};
use critical_section::Mutex;
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;

struct SysTickDriver {
    ticks: Mutex<Cell<u64>>,
    next: Mutex<Cell<u64>>,
    queue: Mutex<RefCell<Queue>>,
}

embassy_time_driver::time_driver_impl!(static DRIVER: SysTickDriver = SysTickDriver {
    ticks: Mutex::new(Cell::new(0)),
    next: Mutex::new(Cell::new(u64::MAX)),
    queue: Mutex::new(RefCell::new(Queue::new())),
});

impl Driver for SysTickDriver {
    fn now(&self) -> u64 {
        critical_section::with(|section| self.ticks.borrow(section).get())
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|section| {
            let mut queue = self.queue.borrow(section).borrow_mut();
            if queue.schedule_wake(at, waker) {
                let now = self.ticks.borrow(section).get();
                self.next.borrow(section).set(queue.next_expiration(now));
            }
        });
    }
}

#[cortex_m_rt::exception]
fn SysTick() {
    critical_section::with(|section| {
        let now = DRIVER.ticks.borrow(section).get() + 1;
        DRIVER.ticks.borrow(section).set(now);
        if now >= DRIVER.next.borrow(section).get() {
            let next = DRIVER.queue.borrow(section).borrow_mut().next_expiration(now);
            DRIVER.next.borrow(section).set(next);
        }
    });
}

pub(crate) fn init(mut systick: SYST, clock_hz: u32) {
    systick.set_clock_source(SystClkSource::Core);
    systick.set_reload(clock_hz / TICK_HZ as u32 - 1);
    systick.clear_current();
    systick.enable_counter();
    systick.enable_interrupt();
}
