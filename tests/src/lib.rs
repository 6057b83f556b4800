//! Suites that any store, bus or timer must pass. What crosses crates is tested in `tests/`.
