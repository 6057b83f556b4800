//! An allocator that has no memory: only so that a binary can be linked that has one.

use core::alloc::{GlobalAlloc, Layout};

struct Nothing;

// SAFETY: it never gives out memory, and so is never given any back.
unsafe impl GlobalAlloc for Nothing {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static NOTHING: Nothing = Nothing;
