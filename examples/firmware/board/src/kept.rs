//! Words of RAM that neither the program nor a reset touches: what the world outside of a device would remember.

use crate::register;

unsafe extern "C" {
    static _kept_start: u8;
}

/// How many there are.
pub const WORDS: usize = 256;

/// Reads a word; zero after a cold start.
pub fn read(word: usize) -> u32 {
    register::read(address(word))
}

/// Writes a word.
pub fn write(word: usize, value: u32) {
    register::write(address(word), value);
}

/// Adds to a word.
pub fn add(word: usize, value: u32) {
    write(word, read(word) + value);
}

fn address(word: usize) -> usize {
    assert!(word < WORDS);
    (&raw const _kept_start) as usize + 4 * word
}
