//! The house rules a program can check: which room may depend on which, what a pure folder may not touch, and sizes.
//!
//! Reads the tree only. A rule is a table row or a short function here, with its reason; nothing is switched off by
//! a comment in the checked file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Which of our crates each may name. What is absent here is the point: controllers, nodeagent and netproxy are
/// ordinary clients, and the pure state machine knows nothing of the log it is fed from.
const EDGES: [(&str, &[&str]); 20] = [
    ("proto", &[]),
    ("proto/cron", &[]),
    ("proto/k8s", &[]),
    ("raft-store/base2histogram", &[]),
    ("raft-store/mvcc", &["proto"]),
    ("raft-store", &["proto", "mvcc"]),
    ("apiserver/schema", &["k8s"]),
    ("apiserver/kinds", &["cron", "k8s", "schema"]),
    ("apiserver/access", &["k8s"]),
    ("apiserver", &["k8s", "schema", "kinds", "access", "mvcc", "raft-store"]),
    ("controllers/runtime", &["k8s"]),
    ("controllers", &["cron", "k8s", "runtime", "kinds"]),
    ("nodeagent", &["proto"]),
    ("netproxy", &[]),
    ("chaos", &["proto", "mvcc", "raft-store"]),
    ("tests", &[]),
    ("tests/fields", &["access", "apiserver", "k8s", "kinds", "raft-store", "schema", "tests"]),
    (
        "tests/fuzz",
        &[
            "proto",
            "k8s",
            "mvcc",
            "raft-store",
            "schema",
            "kinds",
            "access",
            "apiserver",
            "nodeagent",
            "netproxy",
        ],
    ),
    ("benches", &["tests"]),
    (".", &["access", "apiserver", "controllers", "k8s", "netproxy", "nodeagent", "raft-store"]),
];

/// Files and folders that decide and never act, and words that would betray an act.
const PURE: [&str; 15] = [
    "proto/cron/src",
    "raft-store/mvcc/src",
    "apiserver/schema/src",
    "apiserver/kinds/src",
    "controllers/src/scheduler/cycle.rs",
    "netproxy/src/model",
    "netproxy/src/compile",
    "netproxy/src/diff.rs",
    "netproxy/src/dns/zone.rs",
    "nodeagent/src/container",
    "nodeagent/src/pod/backoff.rs",
    "nodeagent/src/pod/conditions.rs",
    "nodeagent/src/pod/phase.rs",
    "nodeagent/src/pod/status.rs",
    "src/local/layout.rs",
];
const IMPURE_WORDS: [&str; 12] = [
    "async fn",
    ".await",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "std::fs::",
    "std::net::TcpStream",
    "std::process::",
    "thread::spawn",
    "rand::",
    "tokio::",
    "RandomState",
];

/// Words that mean a feature is only pretended. Written in two parts so that this file does not contain them.
const UNFINISHED: [[&str; 2]; 4] =
    [["todo", "!("], ["unimplemented", "!("], ["#[ign", "ore"], ["assert!(tr", "ue)"]];

#[test]
fn only_allowed_edges_between_rooms() {
    let ours: Vec<String> = EDGES.iter().map(|(folder, _)| package_name(folder)).collect();
    let mut wrong = Vec::new();
    for (folder, allowed) in EDGES {
        for dependency in dependencies(folder) {
            if ours.contains(&dependency) && !allowed.contains(&dependency.as_str()) {
                wrong.push(format!("{folder} must not depend on {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_crate_has_a_row() {
    let manifests = files(&root(), &|path| path.file_name().is_some_and(|name| name == "Cargo.toml"));
    for manifest in manifests {
        let folder =
            manifest.parent().expect("a file in a folder").strip_prefix(root()).expect("below the root");
        let folder =
            if folder.as_os_str().is_empty() { ".".to_owned() } else { folder.display().to_string() };
        assert!(EDGES.iter().any(|(row, _)| *row == folder), "{folder} has no row in EDGES");
    }
}

#[test]
fn pure_folders_do_not_act() {
    let mut wrong = Vec::new();
    for file in rust_files().into_iter().filter(|file| is_pure(file)) {
        for (number, line) in production_lines(&file) {
            if let Some(word) = IMPURE_WORDS.iter().find(|word| code_of(&line).contains(**word)) {
                wrong.push(format!("{}:{number}: `{word}` in pure code", shown(&file)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_pretended() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        for (number, line) in read(&file).lines().enumerate() {
            if UNFINISHED.iter().any(|parts| code_of(line).contains(&parts.concat())) {
                wrong.push(format!("{}:{}: {}", shown(&file), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_and_functions_stay_small() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        let lines = read(&file).lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", shown(&file)));
        }
        for (name, at, length) in functions(&read(&file)) {
            if length > FUNCTION_LINES_MAX {
                wrong.push(format!(
                    "{}:{at}: fn {name} has {length} lines, at most {FUNCTION_LINES_MAX}",
                    shown(&file)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_opens_with_what_it_decides() {
    let wrong: Vec<String> = rust_files()
        .into_iter()
        .filter(|file| !read(file).trim_start().starts_with("//!"))
        .map(|file| shown(&file))
        .collect();
    assert!(wrong.is_empty(), "no module header:\n{}", wrong.join("\n"));
}

#[test]
fn the_rules_fire() {
    let long = format!("fn long() {{\n{}}}\n", "    let x = 1;\n".repeat(FUNCTION_LINES_MAX));
    assert_eq!(
        functions(&long).first().map(|(name, _, length)| (name.as_str(), *length)),
        Some(("long", 72))
    );
    assert_eq!(code_of("let a = 1; // .await"), "let a = 1; ");
    assert!(is_pure(&root().join("raft-store/mvcc/src/apply.rs")));
    assert!(!is_pure(&root().join("raft-store/src/store.rs")));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ stands in the root").to_owned()
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn rust_files() -> Vec<PathBuf> {
    files(&root(), &|path| path.extension().is_some_and(|extension| extension == "rs"))
}

fn files(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a readable tree").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                found.extend(files(&path, wanted));
            }
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn is_pure(file: &Path) -> bool {
    let shown = shown(file);
    file.file_name().is_some_and(|name| name == "plan.rs") || PURE.iter().any(|pure| shown.starts_with(pure))
}

/// The lines before the file's test module, numbered from 1.
fn production_lines(file: &Path) -> Vec<(usize, String)> {
    let in_tests = shown(file).contains("/tests/") || shown(file).ends_with("tests.rs");
    let text = if in_tests { String::new() } else { read(file) };
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(number, line)| (number + 1, line.to_owned()))
        .collect()
}

fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// The functions of a formatted file: name, first line, number of lines. rustfmt closes a function at its own indent.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let mut open: BTreeMap<usize, (String, usize)> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let code = line.trim_start();
        if let Some(name) = function_name(code)
            && !code.ends_with(';')
            && !code.ends_with('}')
        {
            open.insert(indent, (name, number));
        } else if code == "}"
            && let Some((name, began)) = open.remove(&indent)
        {
            found.push((name, began + 1, number - began + 1));
        }
    }
    found
}

fn function_name(code: &str) -> Option<String> {
    let words: Vec<&str> = code.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "fn")?;
    let modifiers = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern"];
    if !words.iter().take(at).all(|word| modifiers.contains(word)) {
        return None;
    }
    let name = words.get(at + 1)?;
    Some(name.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect())
}

fn package_name(folder: &str) -> String {
    let manifest = read(&root().join(folder).join("Cargo.toml"));
    let line = manifest.lines().skip_while(|line| *line != "[package]").find(|line| line.starts_with("name"));
    line.and_then(|line| line.split('"').nth(1)).expect("a package has a name").to_owned()
}

/// What a manifest names as ordinary or build dependency; a test may use any crate.
fn dependencies(folder: &str) -> Vec<String> {
    let manifest = read(&root().join(folder).join("Cargo.toml"));
    let mut section = String::new();
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
        } else if section == "dependencies" || section == "build-dependencies" {
            found.extend(
                line.split([' ', '=', '.']).next().filter(|name| !name.is_empty()).map(str::to_owned),
            );
        }
    }
    found
}
