//! What `register_handlers!` takes, and what it says of the rest.

#[test]
fn each_kind_of_entry_registers_and_a_bare_one_is_a_compile_error_with_a_hint() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/all_kinds.rs");
    cases.compile_fail("tests/ui/bare_entry.rs");
}
