//! Collects the descriptions of definitions and their fields from the doc comments of the k8s-openapi crate, which has
//! them from upstream's specification, into one compressed table. Only definitions of our own tables are taken.
//!
//! A row is `definition TAB field TAB text`, sorted like the other tables; the definition's own row has the field `-`.
//! In the text a backslash, a line's end and a tab are written `\\`, `\n` and `\t`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;

const CRATE: &str = "k8s-openapi";
const LOCK: &str = "../../Cargo.lock";
const FIELDS: &str = "tables/openapi-fields.tsv";
/// What every list has in common has one place in the crate.
const LIST: &str = "io.k8s.List";
/// The one version of Kubernetes that is served.
const VERSION_FOLDER: &str = "src/v1_36";

/// Descriptions by definition and field.
type Rows = BTreeMap<(String, String), String>;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={FIELDS}");
    println!("cargo::rerun-if-changed=Cargo.toml");
    let fields = fs::read_to_string(FIELDS)?;
    let mut known: BTreeSet<&str> =
        fields.lines().skip(1).filter_map(|line| line.split('\t').next()).collect();
    known.insert(LIST);

    let mut rows = Rows::new();
    for file in sources(&crate_folder()?.join(VERSION_FOLDER))? {
        read(&fs::read_to_string(file)?, &known, &mut rows);
    }
    if rows.len() < known.len() {
        return Err("the k8s-openapi crate has another form than this script reads".into());
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("descriptions.tsv.gz");
    let mut encoder = GzEncoder::new(fs::File::create(out)?, Compression::best());
    encoder.write_all(b"schema\tfield\tdescription\n")?;
    for ((definition, field), text) in &rows {
        writeln!(encoder, "{definition}\t{field}\t{}", escaped(text))?;
    }
    encoder.finish()?;
    Ok(())
}

/// Where the sources of the locked version are: unpacked by cargo, as for every build, or vendored.
fn crate_folder() -> Result<PathBuf, Box<dyn Error>> {
    let folder = format!("{CRATE}-{}", locked_version()?);
    let unpacked = cargo_home().map(|home| home.join("registry/src"));
    let registries = unpacked.and_then(|sources| fs::read_dir(sources).ok()).into_iter().flatten().flatten();
    let mut candidates = registries.map(|registry| registry.path().join(&folder));
    match candidates.find(|candidate| candidate.is_dir()) {
        Some(found) => Ok(found),
        None => crate_folder_by_metadata(),
    }
}

fn cargo_home() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

fn locked_version() -> Result<String, Box<dyn Error>> {
    println!("cargo::rerun-if-changed={LOCK}");
    let lock = fs::read_to_string(LOCK)?;
    let version = lock
        .split_once(&format!("name = \"{CRATE}\"\nversion = \""))
        .and_then(|(_, rest)| rest.split('"').next());
    version.map(str::to_owned).ok_or_else(|| format!("no {CRATE} in {LOCK}").into())
}

/// Cargo knows every place a crate can be in, but wants to have all crates of all tests at hand.
fn crate_folder_by_metadata() -> Result<PathBuf, Box<dyn Error>> {
    let output = Command::new(std::env::var("CARGO")?)
        .args(["metadata", "--format-version=1", "--offline", "--filter-platform"])
        .arg(std::env::var("TARGET")?)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let manifests = text.split("\"manifest_path\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    manifests
        .filter_map(|manifest| Path::new(manifest).parent())
        .find(|folder| folder.join(VERSION_FOLDER).is_dir())
        .map(Path::to_owned)
        .ok_or_else(|| format!("no crate {CRATE} among the dependencies").into())
}

fn sources(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.append(&mut sources(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

/// Reads the definition a file is about: a comment names it, its struct or enum follows with documented fields, and the
/// names in JSON stand in its deserializer.
fn read(source: &str, known: &BTreeSet<&str>, rows: &mut Rows) {
    let name = source.lines().find_map(|line| line.strip_prefix("// Generated from definition "));
    let Some(name) = name.filter(|name| known.contains(name)) else { return };
    let json_names = json_names(source);
    let mut comment = String::new();
    let mut inside = false;
    for line in source.lines() {
        if let Some(text) = line.trim_start().strip_prefix("///") {
            comment.push_str(text.strip_prefix(' ').unwrap_or(text));
            comment.push('\n');
            continue;
        }
        let field = match line.trim_start().strip_prefix("pub ") {
            Some(_) if !inside => Some("-"),
            Some(rest) => rest
                .split_once(": ")
                .and_then(|(field, _)| json_names.get(field.trim_start_matches("r#")).copied()),
            None => None,
        };
        inside |= field.is_some();
        if let Some(field) = field.filter(|_| !comment.is_empty()) {
            rows.insert((name.to_owned(), field.to_owned()), plain(&comment));
        }
        // An attribute may stand between a comment and what it is about.
        if !line.trim_start().starts_with("#[") {
            comment.clear();
        }
        if line.starts_with("impl") {
            return;
        }
    }
}

/// `"dnsPolicy" => Field::Key_dns_policy,`: from the field's name in Rust to the one in JSON.
fn json_names(source: &str) -> BTreeMap<&str, &str> {
    source
        .lines()
        .filter_map(|line| {
            let (json, rust) = line.trim().split_once(" => Field::Key_")?;
            Some((rust.trim_end_matches(','), json.trim_matches('"')))
        })
        .collect()
}

/// The text behind a doc comment: without its escapes, and with tabs where the crate wrote four blanks.
fn plain(comment: &str) -> String {
    let mut text = String::new();
    let mut indented = false;
    for (index, line) in comment.trim_end().lines().enumerate() {
        let after_empty = index > 0 && text.ends_with("\n\n");
        indented = if after_empty { line.starts_with("  ") } else { indented && line.starts_with(' ') };
        let line = match line.strip_prefix("  ") {
            // The first indented line of a paragraph has two blanks for a tab.
            Some(rest) if after_empty => format!("\t{rest}"),
            _ => tabbed(line, indented),
        };
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            let escapes =
                character == '\\' && characters.peek().is_some_and(|next| "\\[]<>`".contains(*next));
            text.push(if escapes { characters.next().unwrap_or(character) } else { character });
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

fn tabbed(line: &str, indented: bool) -> String {
    let blanks = line.len() - line.trim_start_matches(' ').len();
    // A list's items are indented by a blank more than a tab; in a paragraph of code any indentation may follow.
    if !indented && !matches!(blanks % 4, 0 | 2) {
        return line.to_owned();
    }
    format!("{}{}", "\t".repeat(blanks / 4), &line[blanks / 4 * 4..])
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t")
}
