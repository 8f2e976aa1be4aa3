//! libFuzzer's entry: one binary for all targets, which `KONTIKI_FUZZ_TARGET` names. `.ci/fuzz` builds and runs it.

#![no_main]

use std::sync::LazyLock;

use fuzz::mutate::Numbers;
use fuzz::{Target, structured};
use libfuzzer_sys::fuzzer_mutate;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("KONTIKI_FUZZ_TARGET").expect("KONTIKI_FUZZ_TARGET names a target");
    fuzz::target_named(&name).expect("a target of the table")
});

libfuzzer_sys::fuzz_target!(
    init: {
        if let Ok(path) = std::env::var("KONTIKI_FUZZ_DICTIONARY") {
            std::fs::write(path, fuzz::dictionary::dictionary()).expect("a place for the dictionary");
            std::process::exit(0);
        }
    },
    |data: &[u8]| (TARGET.run)(data)
);

// Every other change is one of libFuzzer's own; the rest keep the input well formed, where that means something.
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut numbers = Numbers::new(seed.into());
    let changed = if numbers.below(2) == 0 { structured::mutate(&data[..size], &mut numbers) } else { None };
    match changed {
        Some(changed) if changed.len() <= max_size => {
            data[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});
