//! What is in a linked binary for a device: how large it is, and whether it has an allocator.

use crate::budget::Figure;

/// The sizes of an ELF file for a 32-bit machine as `size` gives them: text (with constants), data, bss.
pub(super) fn sizes(name: &str, elf: &[u8]) -> Result<Vec<Figure>, String> {
    const ALLOCATED: u32 = 2;
    const WRITABLE: u32 = 1;
    const NO_BITS: u32 = 8;
    let word = |at: usize| {
        let bytes = elf.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes).ok_or("the ELF file is cut short")
    };
    let half = |at: usize| Ok::<_, &str>(word(at)? as usize & 0xffff);
    if elf.get(..5) != Some(b"\x7fELF\x01") {
        return Err(String::from("no ELF file of 32 bits"));
    }
    let (table, entry, count) = (word(0x20)? as usize, half(0x2e)?, half(0x30)?);
    let [mut text, mut data, mut bss] = [0; 3];
    for section in (0..count).map(|number| table + number * entry) {
        let (kind, flags, size) = (word(section + 4)?, word(section + 8)?, word(section + 0x14)?);
        if flags & ALLOCATED != 0 {
            let sum = match (kind == NO_BITS, flags & WRITABLE != 0) {
                (true, _) => &mut bss,
                (false, true) => &mut data,
                (false, false) => &mut text,
            };
            *sum += u64::from(size);
        }
    }
    let figure = |what, size| (format!("{name} {what}"), size);
    Ok(vec![
        figure("text", text),
        figure("data", data),
        figure("bss", bss),
    ])
}

/// Whether a linked binary has any part of an allocator.
pub(super) fn allocates(elf: &[u8]) -> bool {
    let parts: [&[u8]; 3] = [b"__rust_alloc", b"__rust_dealloc", b"__rust_realloc"];
    parts
        .iter()
        .any(|part| elf.windows(part.len()).any(|bytes| bytes == *part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_file_has_no_size() {
        assert!(sizes("x", b"").is_err());
        assert!(sizes("x", b"\x7fELF\x02").is_err());
        assert!(sizes("x", b"\x7fELF\x01").is_err());
    }

    #[test]
    fn an_allocator_is_found_by_its_symbols() {
        assert!(allocates(b"..._RNvCs123_7___rustc12___rust_alloc..."));
        assert!(!allocates(b"nothing of the kind"));
    }
}
