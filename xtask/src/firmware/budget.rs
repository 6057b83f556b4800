//! Sizes and instructions, held against a budget: what grows by more than a tenth fails, so that it is noticed when it
//! happens and not when the flash is full.

use std::fmt::Write;
use std::path::Path;

/// What a figure may be over its budget, in percent.
const SLACK: u64 = 10;

/// A name and a number.
pub(super) type Figure = (String, u64);

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

/// The figures that a machine printed, one a line: two words and a number.
pub(super) fn printed(text: &str) -> Vec<Figure> {
    let figure = |line: &str| {
        let (name, number) = line.trim().rsplit_once(' ')?;
        Some((name.to_owned(), number.parse().ok()?))
    };
    text.lines().filter_map(figure).collect()
}

/// Compares figures with the budget in a file; the table, or which are over it.
pub(super) fn check(budget: &Path, figures: &[Figure]) -> Result<String, String> {
    let text = std::fs::read_to_string(budget).map_err(|error| format!("{}: {error}", budget.display()))?;
    compare(&printed(&text), figures)
}

fn compare(budget: &[Figure], figures: &[Figure]) -> Result<String, String> {
    let mut table = format!("{:<34} {:>9} {:>9}\n", "", "measured", "budget");
    let mut over = Vec::new();
    for (name, measured) in figures {
        let allowed = budget.iter().find(|(known, _)| known == name);
        let allowed = allowed.map_or(0, |(_, allowed)| *allowed);
        let _ = writeln!(table, "{name:<34} {measured:>9} {allowed:>9}");
        if *measured * 100 > allowed * (100 + SLACK) {
            over.push(name.as_str());
        }
    }
    if over.is_empty() {
        return Ok(table);
    }
    Err(format!(
        "{table}more than {SLACK} % over budget.txt, or not in it: {}",
        over.join(", ")
    ))
}

/// Whether a linked binary has any part of an allocator: its entry points, the default ones, or anything of the crate
/// `alloc` (a name of the crate itself, which `core::alloc` is not).
pub(super) fn allocates(elf: &[u8]) -> bool {
    let parts: [&[u8]; 6] = [
        b"__rust_alloc",
        b"__rust_dealloc",
        b"__rust_realloc",
        b"__rdl_",
        b"__rg_",
        b"_5alloc",
    ];
    parts
        .iter()
        .any(|part| elf.windows(part.len()).any(|bytes| bytes == *part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(measured: u64) -> Vec<Figure> {
        vec![(String::from("tasks text"), measured)]
    }

    #[test]
    fn a_tenth_over_the_budget_is_allowed_and_no_more() {
        assert!(compare(&figures(1_000), &figures(1_100)).is_ok());
        assert!(compare(&figures(1_000), &figures(1_101)).is_err());
    }

    #[test]
    fn a_figure_without_a_budget_is_refused() {
        let why = compare(&[], &figures(1)).unwrap_err();
        assert!(why.contains("tasks text"), "{why}");
    }

    #[test]
    fn figures_are_read_from_lines() {
        let read = printed("mps2: all is well\ninstructions enqueue 12\n\nbytes future 7\n");
        let names: Vec<_> = read
            .iter()
            .map(|(name, number)| (name.as_str(), *number))
            .collect();
        assert_eq!(names, [("instructions enqueue", 12), ("bytes future", 7)]);
    }

    #[test]
    fn what_is_no_elf_file_has_no_size() {
        assert!(sizes("x", b"").is_err());
        assert!(sizes("x", b"\x7fELF\x02").is_err());
        assert!(sizes("x", b"\x7fELF\x01").is_err());
    }

    #[test]
    fn an_allocator_is_found_by_its_symbols() {
        assert!(allocates(b"..._RNvCs123_7___rustc12___rust_alloc..."));
        assert!(allocates(b"_RNvNtCsgW8XzJOlkgF_5alloc5boxed14box_new_uninit"));
        assert!(!allocates(b"_RNvNtNtCs123_4core5alloc6layout6Layout"));
    }
}
