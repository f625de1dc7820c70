//! The commonest mistakes in definitions, and what the compiler says about each. The texts hold for the toolchain that
//! `rust-toolchain.toml` names; `TRYBUILD=overwrite` writes them anew.

#[test]
fn the_compiler_names_the_way_out_of_each_mistake() {
    trybuild::TestCases::new().compile_fail("tests/mistakes/*.rs");
}
