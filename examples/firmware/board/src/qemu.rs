//! The way out of QEMU: an exit status, and the panic and fault handlers that use it, so that no failure hangs.

pub use cortex_m_semihosting::hprintln as print;

/// Ends QEMU with this exit status.
pub fn exit(status: u32) -> ! {
    const SYS_EXIT_EXTENDED: usize = 0x20;
    const ADP_STOPPED_APPLICATION_EXIT: u32 = 0x20026;
    let block = [ADP_STOPPED_APPLICATION_EXIT, status];
    // SAFETY: the block is what the call wants, and outlives it.
    unsafe { cortex_m_semihosting::syscall(SYS_EXIT_EXTENDED, &block) };
    loop {
        cortex_m::asm::wfi();
    }
}

/// Ends QEMU: 0 for a test that passed, 1 for one that failed.
pub fn end(passed: bool) -> ! {
    exit(u32::from(!passed))
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    print!("{}", info);
    exit(101)
}

#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    print!("HardFault at {:#x}", frame.pc());
    exit(102)
}
