//! The Ethernet chip of the MPS2 machines, a LAN9118: its queues by programmed access, one interrupt, on top of
//! embassy-net's driver channel.

use core::future::poll_fn;
use core::task::Poll;

use embassy_net_driver_channel::driver::{HardwareAddress, LinkState};
use embassy_net_driver_channel::{self as channel, Device, State};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::waitqueue::GenericAtomicWaker;
use postbox::join::{Either, race};

use crate::interrupts;
use crate::register::{read, write};

/// The longest frame.
pub const MTU: usize = 1514;

/// What the driver keeps frames in.
pub type Buffers = State<MTU, 4, 4>;

const INTERRUPT: i16 = 13;
const RX_DATA: usize = 0x4020_0000;
const TX_DATA: usize = 0x4020_0020;
const RX_STATUS: usize = 0x4020_0040;
const TX_STATUS: usize = 0x4020_0048;
const IRQ_CFG: usize = 0x4020_0054;
const INT_STS: usize = 0x4020_0058;
const INT_EN: usize = 0x4020_005C;
const FIFO_INT: usize = 0x4020_0068;
const TX_CFG: usize = 0x4020_0070;
const HW_CFG: usize = 0x4020_0074;
const RX_FIFO_INF: usize = 0x4020_007C;
const TX_FIFO_INF: usize = 0x4020_0080;
const MAC_CMD: usize = 0x4020_00A4;
const MAC_DATA: usize = 0x4020_00A8;
/// A frame waits.
const RECEIVED: u32 = 1 << 3;

static WAKER: GenericAtomicWaker<CriticalSectionRawMutex> =
    GenericAtomicWaker::new(CriticalSectionRawMutex::new());

/// Moves frames between the chip and the stack: for a task of its own.
pub struct Runner(channel::Runner<'static, MTU>);

/// Starts the chip. Call once.
pub fn start(buffers: &'static mut Buffers, address: [u8; 6]) -> (Device<'static, MTU>, Runner) {
    write(HW_CFG, 1);
    while read(HW_CFG) & 1 == 1 {}
    // 5 KiB of the queue for sending; an interrupt from the first frame on, active high, push-pull.
    write(HW_CFG, 0x0005_0000);
    write(FIFO_INT, 0);
    write(INT_STS, u32::MAX);
    write(IRQ_CFG, 0x111);
    write(TX_CFG, 2);
    let [a, b, c, d, e, f] = address;
    mac(3, u32::from_le_bytes([a, b, c, d]));
    mac(2, u32::from_le_bytes([e, f, 0, 0]));
    mac(1, 0b1100);
    interrupts::enable(INTERRUPT as u16);
    let (runner, device) = channel::new(buffers, HardwareAddress::Ethernet(address));
    (device, Runner(runner))
}

impl Runner {
    /// Runs for ever.
    pub async fn run(mut self) -> ! {
        let (state, mut received, mut to_send) = self.0.borrow_split();
        state.set_link_state(LinkState::Up);
        loop {
            while waiting() {
                receive(&mut received);
            }
            write(INT_STS, RECEIVED);
            let frame_waits = poll_fn(|cx| {
                WAKER.register(cx.waker());
                write(INT_EN, RECEIVED);
                if waiting() { Poll::Ready(()) } else { Poll::Pending }
            });
            if let Either::B(frame) = race(frame_waits, to_send.tx_buf()).await {
                send(frame);
                to_send.tx_done();
                while read(TX_FIFO_INF) >> 16 & 0xFF != 0 {
                    read(TX_STATUS);
                }
            }
        }
    }
}

/// Takes the first frame; where there is no room for it, it is dropped, as on any wire.
fn receive(received: &mut channel::RxRunner<'_, MTU>) {
    let status = read(RX_STATUS);
    let length = (status >> 16 & 0x3FFF) as usize;
    let frame = length.saturating_sub(4);
    let good = status >> 15 & 1 == 0 && frame <= MTU;
    let mut buffer = received.try_rx_buf().filter(|_| good);
    for at in (0..length).step_by(4) {
        let word = read(RX_DATA).to_le_bytes();
        if let Some(buffer) = &mut buffer {
            for (byte, value) in buffer[..frame].iter_mut().skip(at).zip(word) {
                *byte = value;
            }
        }
    }
    if buffer.is_some() {
        received.rx_done(frame);
    }
}

fn send(frame: &[u8]) {
    let length = frame.len() as u32;
    // First and last segment at once.
    write(TX_DATA, 0b11 << 12 | length);
    write(TX_DATA, length);
    for bytes in frame.chunks(4) {
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        write(TX_DATA, u32::from_le_bytes(word));
    }
}

fn waiting() -> bool {
    read(RX_FIFO_INF) >> 16 & 0xFF != 0
}

fn mac(register: u32, value: u32) {
    write(MAC_DATA, value);
    write(MAC_CMD, 1 << 31 | register);
    while read(MAC_CMD) >> 31 == 1 {}
}

pub(crate) fn on_interrupt(number: i16) -> bool {
    let ours = number == INTERRUPT;
    if ours {
        // The runner listens again when it has emptied the queue.
        write(INT_EN, 0);
        WAKER.wake();
    }
    ours
}
