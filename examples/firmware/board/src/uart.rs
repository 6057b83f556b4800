//! The first serial line as an interrupt-driven reader and writer. What differs between the machines is in `hardware`.

use core::cell::RefCell;
use core::convert::Infallible;
use core::future::poll_fn;
use core::task::{Poll, Waker};

use critical_section::Mutex;

use crate::interrupts;
use crate::register::{read, write};

/// A byte waits here between interrupt and reader. Full, it leaves the next in the hardware: QEMU then stops sending.
const RING: usize = 256;

struct Line {
    ring: [u8; RING],
    first: usize,
    len: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

static LINE: Mutex<RefCell<Line>> = Mutex::new(RefCell::new(Line {
    ring: [0; RING],
    first: 0,
    len: 0,
    reader: None,
    writer: None,
}));

/// The receiving half.
pub struct Receiver(());

/// The sending half.
pub struct Sender(());

/// Starts the line. Call once.
pub fn start() -> (Receiver, Sender) {
    hardware::start();
    for number in hardware::INTERRUPTS {
        interrupts::enable(*number as u16);
    }
    (Receiver(()), Sender(()))
}

impl Receiver {
    /// Reads what is there; at least a byte.
    pub async fn read(&mut self, bytes: &mut [u8]) -> usize {
        let Ok(read) = poll_fn(|cx| {
            critical_section::with(|section| {
                let line = &mut *LINE.borrow_ref_mut(section);
                let read = line.len.min(bytes.len());
                if read == 0 {
                    line.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                for byte in bytes.iter_mut().take(read) {
                    *byte = line.ring[line.first];
                    line.first = (line.first + 1) % RING;
                    line.len -= 1;
                }
                // There is room again.
                hardware::listen(true);
                Poll::Ready(Ok::<_, Infallible>(read))
            })
        })
        .await;
        read
    }
}

impl Sender {
    /// Sends all of it.
    pub async fn write_all(&mut self, bytes: &[u8]) {
        for byte in bytes {
            poll_fn(|cx| {
                critical_section::with(|section| {
                    if hardware::put(*byte) {
                        return Poll::Ready(());
                    }
                    LINE.borrow_ref_mut(section).writer = Some(cx.waker().clone());
                    hardware::tell_when_sent(true);
                    Poll::Pending
                })
            })
            .await;
        }
    }
}

pub(crate) fn on_interrupt(number: i16) -> bool {
    if !hardware::INTERRUPTS.contains(&number) {
        return false;
    }
    let woken = critical_section::with(|section| {
        let line = &mut *LINE.borrow_ref_mut(section);
        hardware::acknowledge();
        while line.len < RING {
            let Some(byte) = hardware::get() else { break };
            line.ring[(line.first + line.len) % RING] = byte;
            line.len += 1;
        }
        if line.len == RING {
            hardware::listen(false);
        }
        hardware::tell_when_sent(false);
        [line.reader.take(), line.writer.take()]
    });
    woken.into_iter().flatten().for_each(Waker::wake);
    true
}

/// The CMSDK UART of the MPS2 machines: a byte each way.
#[cfg(feature = "mps2-an385")]
mod hardware {
    use super::{read, write};

    const DATA: usize = 0x4000_4000;
    const STATE: usize = 0x4000_4004;
    const CTRL: usize = 0x4000_4008;
    const INTERRUPT: usize = 0x4000_400C;
    const DIVISOR: usize = 0x4000_4010;
    pub(super) const INTERRUPTS: &[i16] = &[0, 1];

    pub(super) fn start() {
        // The smallest that is legal; QEMU ignores the rate, but wants one.
        write(DIVISOR, 16);
        write(CTRL, 0b1011);
    }
    pub(super) fn get() -> Option<u8> {
        (read(STATE) & 2 != 0).then(|| read(DATA) as u8)
    }
    pub(super) fn put(byte: u8) -> bool {
        let room = read(STATE) & 1 == 0;
        if room {
            write(DATA, u32::from(byte));
        }
        room
    }
    pub(super) fn listen(on: bool) {
        set(8, on);
    }
    pub(super) fn tell_when_sent(on: bool) {
        set(4, on);
    }
    pub(super) fn acknowledge() {
        write(INTERRUPT, 3);
    }
    fn set(bit: u32, on: bool) {
        let control = read(CTRL);
        write(CTRL, if on { control | bit } else { control & !bit });
    }
}

/// The PL011 of the Stellaris.
#[cfg(feature = "lm3s6965evb")]
mod hardware {
    use super::{read, write};

    const DATA: usize = 0x4000_C000;
    const FLAGS: usize = 0x4000_C018;
    const LINE_CONTROL: usize = 0x4000_C02C;
    const CONTROL: usize = 0x4000_C030;
    const MASK: usize = 0x4000_C038;
    const CLEAR: usize = 0x4000_C044;
    const CLOCKS: usize = 0x400F_E104;
    /// Received, and received for a while.
    const RECEIVED: u32 = 0x50;
    const SENT: u32 = 0x20;
    pub(super) const INTERRUPTS: &[i16] = &[5];

    pub(super) fn start() {
        write(CLOCKS, read(CLOCKS) | 1);
        write(CONTROL, 0);
        // Eight bits, with its queue.
        write(LINE_CONTROL, 0b111_0000);
        write(CONTROL, 0x301);
        write(MASK, RECEIVED);
    }
    pub(super) fn get() -> Option<u8> {
        (read(FLAGS) & 0x10 == 0).then(|| read(DATA) as u8)
    }
    pub(super) fn put(byte: u8) -> bool {
        let room = read(FLAGS) & 0x20 == 0;
        if room {
            write(DATA, u32::from(byte));
        }
        room
    }
    pub(super) fn listen(on: bool) {
        set(RECEIVED, on);
    }
    pub(super) fn tell_when_sent(on: bool) {
        set(SENT, on);
    }
    pub(super) fn acknowledge() {
        write(CLEAR, 0x7FF);
    }
    fn set(bits: u32, on: bool) {
        let mask = read(MASK);
        write(MASK, if on { mask | bits } else { mask & !bits });
    }
}

/// The UART of the nRF51: events, six bytes received, one sent.
#[cfg(feature = "microbit")]
mod hardware {
    use portable_atomic::{AtomicBool, Ordering};

    use super::{read, write};

    const RECEIVED: usize = 0x4000_2108;
    const SENT: usize = 0x4000_211C;
    const ENABLE_INTERRUPT: usize = 0x4000_2304;
    const DISABLE_INTERRUPT: usize = 0x4000_2308;
    /// Registers and values: pins, 115200 baud, on, both directions started.
    const START: [(usize, u32); 6] = [
        (0x4000_250C, 24),
        (0x4000_2514, 25),
        (0x4000_2524, 0x01D7_E000),
        (0x4000_2500, 4),
        (0x4000_2000, 1),
        (0x4000_2008, 1),
    ];
    static SENDING: AtomicBool = AtomicBool::new(false);
    pub(super) const INTERRUPTS: &[i16] = &[2];

    pub(super) fn start() {
        for (register, value) in START {
            write(register, value);
        }
        listen(true);
    }
    pub(super) fn get() -> Option<u8> {
        if read(RECEIVED) == 0 {
            return None;
        }
        write(RECEIVED, 0);
        Some(read(0x4000_2518) as u8)
    }
    pub(super) fn put(byte: u8) -> bool {
        if SENDING.load(Ordering::Relaxed) && read(SENT) == 0 {
            return false;
        }
        write(SENT, 0);
        SENDING.store(true, Ordering::Relaxed);
        write(0x4000_251C, u32::from(byte));
        true
    }
    pub(super) fn listen(on: bool) {
        set(1 << 2, on);
    }
    pub(super) fn tell_when_sent(on: bool) {
        set(1 << 7, on);
    }
    pub(super) fn acknowledge() {}
    fn set(bit: u32, on: bool) {
        write(if on { ENABLE_INTERRUPT } else { DISABLE_INTERRUPT }, bit);
    }
}
