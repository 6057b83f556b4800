//! Which steps there are, and when one is left out.

use super::*;

const FULL: Toolchain = Toolchain {
    rustfmt: true,
    clippy: true,
    nextest: true,
    bare_metal: true,
    miri: true,
    ci: false,
};
const MINIMAL: Toolchain = Toolchain {
    rustfmt: false,
    clippy: false,
    nextest: false,
    bare_metal: false,
    miri: false,
    ci: false,
};

fn steps(toolchain: Toolchain) -> Vec<Step> {
    let around = Around {
        programs: true,
        ..Around::default()
    };
    test(toolchain, Path::new("/nowhere"), around)
}

fn find<'a>(steps: &'a [Step], name: &str) -> &'a Step {
    steps.iter().find(|step| step.name == name).unwrap()
}

#[test]
fn without_a_server_the_tests_fail_instead_of_skipping_what_needs_it() {
    let around = Around {
        no_server: Some("no server"),
        ..Around::default()
    };
    let steps = test(FULL, Path::new("/nowhere"), around);
    assert_eq!(find(&steps, "tests").mode, Mode::Fail(String::from("no server")));
}

#[test]
fn a_missing_pooler_is_a_skip_even_under_ci_and_a_missing_server_is_not() {
    let around = Around {
        no_pooler: Some("no pooler"),
        ..Around::default()
    };
    let ci = Toolchain { ci: true, ..FULL };
    let name = "postgres behind pgbouncer";
    let steps = test(ci, Path::new("/nowhere"), around);
    assert_eq!(find(&steps, name).mode, Mode::Skip(String::from("no pooler")));
    let steps = test(
        ci,
        Path::new("/nowhere"),
        Around {
            no_server: Some("no server"),
            ..around
        },
    );
    assert_eq!(find(&steps, name).mode, Mode::Fail(String::from("no server")));
}

#[test]
fn a_minimal_toolchain_skips_lints_and_uses_cargo_test() {
    let steps = steps(MINIMAL);
    assert!(matches!(&find(&steps, "format").mode, Mode::Skip(why) if why.contains("WARNING")));
    assert!(matches!(&find(&steps, "lint").mode, Mode::Skip(why) if why.contains("clippy")));
    assert_eq!(find(&steps, "tests").args[0], "test");
    assert!(steps.iter().all(|step| !matches!(step.mode, Mode::Fail(_))));
}

#[test]
fn ci_fails_where_a_user_is_warned() {
    let steps = steps(Toolchain { ci: true, ..MINIMAL });
    assert!(matches!(find(&steps, "format").mode, Mode::Fail(_)));
    assert!(matches!(
        find(&steps, "core: lint with alloc").mode,
        Mode::Fail(_)
    ));
}

#[test]
fn a_missing_target_is_a_skip_even_under_ci() {
    let steps = steps(Toolchain {
        bare_metal: false,
        ci: true,
        ..FULL
    });
    assert_eq!(
        find(&steps, "core: check on bare metal").mode,
        Mode::Skip(String::from("target not installed"))
    );
}

#[test]
fn a_missing_interpreter_is_a_skip_even_under_ci() {
    let steps = steps(Toolchain {
        miri: false,
        ci: true,
        ..FULL
    });
    let mode = &find(&steps, "join in miri").mode;
    assert!(matches!(mode, Mode::Skip(why) if why.contains("rustup component add")));
}

#[test]
fn core_is_built_alone_with_every_set_of_features() {
    let steps = steps(FULL);
    let alone = steps.iter().filter(|step| step.args.contains(&"postbox"));
    assert_eq!(alone.clone().count(), 9);
    assert!(alone.clone().all(|step| !step.args.contains(&"--workspace")));
}

#[test]
fn a_step_reads_as_one_would_type_it() {
    let steps = steps(FULL);
    assert_eq!(
        find(&steps, "docs").to_string(),
        "RUSTDOCFLAGS='-Dwarnings' cargo doc --workspace --no-deps --all-features"
    );
}

#[test]
fn an_absent_quickstart_is_skipped() {
    assert!(matches!(find(&steps(FULL), "quickstart").mode, Mode::Skip(_)));
}
