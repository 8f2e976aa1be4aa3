//! libFuzzer's entry: one binary for all targets, which `KONTIKI_FUZZ_TARGET` names. `.ci/fuzz` builds and runs it.

#![no_main]

use std::sync::LazyLock;

use fuzz::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("KONTIKI_FUZZ_TARGET").expect("KONTIKI_FUZZ_TARGET names a target");
    fuzz::target_named(&name).expect("a target of the table")
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));
