//! Plays every story with every promised kubectl and holds docs/STATUS.md against the list of stories.
//!
//! `STORY=get` plays one; `UPDATE=1` rewrites transcripts from the newest kubectl.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tests::cluster::{Dev, KUBECTLS, kubectl};
use tests::transcript::{Shell, Story};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("stories")
}

fn stories(on: &str) -> Vec<(PathBuf, Story)> {
    let only = std::env::var("STORY").ok();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("tests/stories")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let story = Story::parse(&std::fs::read_to_string(&file).expect("a readable story"));
            (file, story)
        })
        .filter(|(_, story)| story.on == on && only.as_ref().is_none_or(|only| *only == story.name))
        .collect()
}

/// Plays the stories with one kubectl; each story has the cluster's default state and cleans up after itself.
fn play(
    version: &str,
    kubeconfig: &Path,
    stories: Vec<(PathBuf, Story)>,
    update: bool,
) -> Result<Vec<String>> {
    let scratch = tempfile::tempdir()?;
    let tools = kubectl(version, scratch.path())?;
    let mut differences = Vec::new();
    for (file, mut story) in stories {
        let folder = scratch.path().join(&story.name);
        std::fs::create_dir_all(&folder)?;
        let shell = Shell { tools: &tools, kubeconfig, folder: &folder };
        let found = story.play(&shell, update);
        if update && !found.is_empty() {
            std::fs::write(&file, story.print()).context("rewriting a story")?;
        }
        differences.extend(
            found
                .into_iter()
                .map(|difference| format!("{} with kubectl {version}\n{difference}", story.name)),
        );
    }
    Ok(differences)
}

#[test]
fn stories_without_a_node() {
    let update = std::env::var_os("UPDATE").is_some();
    let versions: &[&str] = if update { &["1.36"] } else { &KUBECTLS };
    let mut differences = Vec::new();
    for version in versions {
        let dev = Dev::start(&[]).expect("kontiki dev");
        differences.extend(play(version, &dev.kubeconfig, stories("dev"), update).expect("stories play"));
    }
    assert!(update || differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn status_lists_every_story() {
    let status = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/STATUS.md");
    let status = std::fs::read_to_string(status).expect("docs/STATUS.md");
    let mut missing = Vec::new();
    for (_, story) in ["dev", "node"].into_iter().flat_map(stories) {
        let row = format!("| {} | {} |", story.name, story.title);
        if !status.contains(&row) {
            missing.push(row);
        }
    }
    assert!(missing.is_empty(), "docs/STATUS.md lacks these rows:\n{}", missing.join("\n"));
}
