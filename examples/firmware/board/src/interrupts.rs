//! Interrupts without a crate of the chip's registers: all come to one handler, which asks the drivers in turn.

/// Enables an interrupt by number.
pub(crate) fn enable(number: u16) {
    #[derive(Clone, Copy)]
    struct Number(u16);
    // SAFETY: the number is what it was made of, always.
    unsafe impl cortex_m::interrupt::InterruptNumber for Number {
        fn number(self) -> u16 {
            self.0
        }
    }
    // SAFETY: the drivers share what they share with their interrupt under a critical section.
    unsafe { cortex_m::peripheral::NVIC::unmask(Number(number)) };
}

#[cortex_m_rt::exception]
unsafe fn DefaultHandler(number: i16) {
    if crate::uart::on_interrupt(number) {
        return;
    }
    #[cfg(feature = "net")]
    if crate::nic::on_interrupt(number) {
        return;
    }
    #[cfg(feature = "mps2-an385")]
    if crate::time::on_interrupt(number) {
        return;
    }
    crate::qemu::exit(103)
}
