//! embassy-time's driver without a periodic tick, over two CMSDK timers of the MPS2 machines.
//!
//! Timer 0 runs free (32 bits, wraps every 171 s, extended to 64 bits in software), timer 1 is the alarm. Between
//! alarms the core sleeps, so that QEMU skips idle time under `-icount ..,sleep=off`. SysTick stays free.

use core::cell::{Cell, RefCell};
use core::task::Waker;

use cortex_m::peripheral::SYST;
use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;

use crate::interrupts;
use crate::register::{read, write};

const COUNTER: usize = 0x4000_0000;
const ALARM: usize = 0x4000_1000;
const COUNTER_INTERRUPT: i16 = 8;
const ALARM_INTERRUPT: i16 = 9;
const CTRL: usize = 0;
const VALUE: usize = 4;
const RELOAD: usize = 8;
const INTERRUPT: usize = 12;
const ENABLE_WITH_INTERRUPT: u32 = 0b1001;
const CYCLES_PER_TICK: u64 = crate::machine::SYSCLK_HZ as u64 / TICK_HZ;

struct Cmsdk {
    wraps: Mutex<Cell<u32>>,
    queue: Mutex<RefCell<Queue>>,
}

embassy_time_driver::time_driver_impl!(static DRIVER: Cmsdk = Cmsdk {
    wraps: Mutex::new(Cell::new(0)),
    queue: Mutex::new(RefCell::new(Queue::new())),
});

impl Cmsdk {
    fn cycles(&self, section: CriticalSection<'_>) -> u64 {
        let wraps = self.wraps.borrow(section).get();
        let mut value = read(COUNTER + VALUE);
        // It has wrapped, and the interrupt was not served yet.
        let pending = read(COUNTER + INTERRUPT) & 1;
        if pending == 1 {
            value = read(COUNTER + VALUE);
        }
        (u64::from(wraps + pending) << 32) | u64::from(u32::MAX - value)
    }

    /// Wakes what is due and sets the alarm for the next; one too far for the timer goes off early, for nothing.
    fn advance(&self, section: CriticalSection<'_>) {
        let now = self.cycles(section);
        let next = self
            .queue
            .borrow_ref_mut(section)
            .next_expiration(now / CYCLES_PER_TICK);
        let wait = next.saturating_mul(CYCLES_PER_TICK).saturating_sub(now);
        write(ALARM + CTRL, 0);
        if next != u64::MAX {
            write(ALARM + VALUE, wait.clamp(1, u64::from(u32::MAX)) as u32);
            write(ALARM + CTRL, ENABLE_WITH_INTERRUPT);
        }
    }
}

impl Driver for Cmsdk {
    fn now(&self) -> u64 {
        critical_section::with(|section| self.cycles(section)) / CYCLES_PER_TICK
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|section| {
            let changed = self.queue.borrow_ref_mut(section).schedule_wake(at, waker);
            if changed {
                self.advance(section);
            }
        });
    }
}

pub(crate) fn on_interrupt(number: i16) -> bool {
    critical_section::with(|section| match number {
        COUNTER_INTERRUPT => {
            write(COUNTER + INTERRUPT, 1);
            let wraps = DRIVER.wraps.borrow(section);
            wraps.set(wraps.get() + 1);
            true
        }
        ALARM_INTERRUPT => {
            write(ALARM + INTERRUPT, 1);
            DRIVER.advance(section);
            true
        }
        _ => false,
    })
}

pub(crate) fn init(_: SYST, _: u32) {
    for timer in [COUNTER, ALARM] {
        write(timer + CTRL, 0);
        write(timer + INTERRUPT, 1);
    }
    write(COUNTER + RELOAD, u32::MAX);
    write(COUNTER + VALUE, u32::MAX);
    write(COUNTER + CTRL, ENABLE_WITH_INTERRUPT);
    // One shot.
    write(ALARM + RELOAD, 0);
    interrupts::enable(COUNTER_INTERRUPT as u16);
    interrupts::enable(ALARM_INTERRUPT as u16);
}
