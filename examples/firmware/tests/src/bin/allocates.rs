//! What must be noticed: a binary with an allocator, if one that never has anything to give. It is linked, not run.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use core::hint::black_box;

#[cortex_m_rt::entry]
fn main() -> ! {
    board::qemu::end(*black_box(Box::new(black_box(1))) == 1);
}
