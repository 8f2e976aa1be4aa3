//! What upstream answered, kept in `answers/`, and the differences that stand with a reason, in `accepted.tsv`.
//!
//! A file is gzip over lines of JSON, `[CASE, ANSWER]`, one file for each resource. Of an accepted object only the hash is
//! kept; a run beside upstream shows the objects themselves.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use regex::Regex;

use crate::bases;
use crate::round::Answered;

/// A row of `accepted.tsv`: cases that may differ, and why.
pub struct Accepted {
    cases: Regex,
    /// Why they may.
    pub reason: String,
    /// The row's first column.
    pub pattern: String,
}

impl Accepted {
    /// Whether a case is among them.
    pub fn covers(&self, id: &str) -> bool {
        self.cases.is_match(id)
    }
}

/// The accepted differences.
///
/// # Errors
/// The table is unreadable.
pub fn accepted() -> Result<Vec<Accepted>> {
    let text = std::fs::read_to_string(bases::folder().join("accepted.tsv"))?;
    let rows = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|row| {
        let (pattern, reason) = row.split_once('\t').with_context(|| format!("two columns in {row}"))?;
        let cases = Regex::new(&format!("^(?:{pattern})$"))?;
        Ok(Accepted { cases, reason: reason.to_owned(), pattern: pattern.to_owned() })
    })
    .collect()
}

/// Writes what upstream answered, without the objects, and removes files of resources that are no more.
///
/// # Errors
/// The folder cannot be written.
pub fn keep(answers: &[Answered]) -> Result<()> {
    let folder = bases::folder().join("answers");
    std::fs::create_dir_all(&folder)?;
    for entry in std::fs::read_dir(&folder)? {
        std::fs::remove_file(entry?.path())?;
    }
    let mut files: BTreeMap<String, Vec<Answered>> = BTreeMap::new();
    for (id, answer) in answers {
        let resource = id.split(['/', ' ']).next().unwrap_or_default().to_owned();
        let mut answer = answer.clone();
        answer.object = None;
        files.entry(resource).or_default().push((id.clone(), answer));
    }
    for (resource, answers) in files {
        write(&folder.join(format!("{resource}.jsonl.gz")), &answers)?;
    }
    Ok(())
}

/// What upstream answered, of the resources that are asked for.
///
/// # Errors
/// A file is unreadable.
pub fn kept(wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Answered>> {
    let mut answers = Vec::new();
    for entry in std::fs::read_dir(bases::folder().join("answers"))? {
        answers.extend(read(&entry?.path())?);
    }
    answers.retain(|(id, _)| wanted(id));
    Ok(answers)
}

/// Writes answers into a file.
///
/// # Errors
/// It cannot be written.
pub fn write(file: &Path, answers: &[Answered]) -> Result<()> {
    let mut gzip = GzEncoder::new(File::create(file)?, Compression::best());
    for answer in answers {
        serde_json::to_writer(&mut gzip, answer)?;
        gzip.write_all(b"\n")?;
    }
    gzip.finish()?;
    Ok(())
}

/// Reads answers from a file.
///
/// # Errors
/// It is another file.
pub fn read(file: &Path) -> Result<Vec<Answered>> {
    let lines = BufReader::new(GzDecoder::new(File::open(file)?)).lines();
    lines
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect::<Result<_>>()
        .with_context(|| file.display().to_string())
}
