//! Every kept input through its target, and a bounded number of changes to each.

use std::fs;
use std::panic::catch_unwind;

use fuzz::mutate::{Numbers, mutate};
use fuzz::{TARGETS, Target, corpus};

/// A corpus is kept small enough to be read in a review.
const TARGET_FILES_MAX: usize = 200;
const TOTAL_BYTES_MAX: usize = 600 << 10;
/// Changed inputs for each target; `KONTIKI_FUZZ_MUTATIONS` asks for more, `KONTIKI_FUZZ_SEED` for others.
const MUTATIONS: usize = 400;
const SEED: u64 = 4;

fn asked<T: std::str::FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn inputs(target: &Target) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(corpus(target.name)).unwrap_or_else(|error| panic!("{}: {error}", target.name));
    let mut inputs: Vec<(String, Vec<u8>)> = files
        .map(|file| {
            let path = file.expect("a readable folder").path();
            (path.display().to_string(), fs::read(&path).expect("a readable file"))
        })
        .collect();
    inputs.sort();
    inputs
}

fn fails(target: &Target, input: &[u8]) -> bool {
    catch_unwind(|| (target.run)(input)).is_err()
}

#[test]
fn every_kept_input_passes() {
    let mut failed = Vec::new();
    for target in TARGETS {
        (target.run)(b"");
        for (name, input) in inputs(target) {
            if fails(target, &input) {
                failed.push(name);
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_target_has_a_small_corpus() {
    let mut total = 0;
    for target in TARGETS {
        let inputs = inputs(target);
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        assert!(inputs.len() <= TARGET_FILES_MAX, "{}: {} files", target.name, inputs.len());
        total += inputs.iter().map(|(_, input)| input.len()).sum::<usize>();
    }
    assert!(total <= TOTAL_BYTES_MAX, "{total} bytes");
}

#[test]
fn changed_inputs_pass() {
    let mutations = asked("KONTIKI_FUZZ_MUTATIONS").unwrap_or(MUTATIONS);
    let wanted: Option<String> = asked("KONTIKI_FUZZ_TARGET");
    let targets = TARGETS.iter().filter(|target| wanted.as_deref().is_none_or(|name| name == target.name));
    let failed: Vec<String> = targets.filter_map(|target| first_failure(target, mutations)).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Where the first failing input was written, and what it is.
fn first_failure(target: &Target, mutations: usize) -> Option<String> {
    let inputs = inputs(target);
    let mut numbers = Numbers::new(asked("KONTIKI_FUZZ_SEED").unwrap_or(SEED));
    let mut changed = (0..mutations).map(|_| {
        let one = &inputs[numbers.below(inputs.len())].1;
        let other = &inputs[numbers.below(inputs.len())].1;
        mutate(one, other, &mut numbers)
    });
    let input = changed.find(|input| fails(target, input))?;
    let path = std::env::temp_dir().join(format!("kontiki-fuzz-{}", target.name));
    fs::write(&path, &input).expect("a folder for temporary files");
    Some(format!("{} fails with {}:\n{}", target.name, path.display(), input.escape_ascii()))
}
