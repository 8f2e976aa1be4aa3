//! Plays every story with every promised kubectl (on a node with the oldest and the newest) and holds docs/STATUS.md
//! against the list of stories.
//!
//! `STORY=get` plays one, `KUBECTL=1.27` plays with one version; `UPDATE=1` rewrites transcripts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tests::cluster::{Dev, KUBECTLS, KUBECTLS_ON_A_NODE, kubectl};
use tests::local::Local;
use tests::transcript::{Shell, Story};
use tests::upstream::{self, Upstream};

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

/// Whether transcripts are rewritten, and the kubectl versions to play with: the given ones, or the one that is asked for.
fn plan(given: &[&'static str]) -> (bool, Vec<&'static str>) {
    let mut versions = match std::env::var("KUBECTL") {
        Ok(only) => KUBECTLS.into_iter().filter(|version| *version == only).collect(),
        Err(_) => given.to_vec(),
    };
    assert!(!versions.is_empty(), "KUBECTL names one of {KUBECTLS:?}");
    // The newest first: its words are the story's.
    versions.reverse();
    (std::env::var_os("UPDATE").is_some(), versions)
}

/// Plays the stories with one kubectl; each story has the cluster's default state and cleans up after itself.
fn play(
    version: &str,
    kubeconfig: &Path,
    stories: Vec<(PathBuf, Story)>,
    environment: &[(&str, String)],
    update: bool,
) -> Result<Vec<String>> {
    let scratch = tempfile::tempdir()?;
    let tools = kubectl(version, scratch.path())?;
    let newest = KUBECTLS.last() == Some(&version);
    let mut differences = Vec::new();
    for (file, mut story) in stories {
        let folder = scratch.path().join(&story.name);
        std::fs::create_dir_all(&folder)?;
        let shell = Shell { tools: &tools, version, kubeconfig, folder: &folder, environment };
        let found = story.play(&shell, update, newest);
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
    let (update, versions) = plan(&KUBECTLS);
    let with = |version: &str| {
        let dev = Dev::start(&[]).expect("kontiki dev");
        play(version, &dev.kubeconfig, stories("dev"), &[], update).expect("stories play")
    };
    let differences: Vec<String> = if update {
        versions.into_iter().flat_map(with).collect()
    } else {
        std::thread::scope(|scope| {
            let played: Vec<_> =
                versions.into_iter().map(|version| scope.spawn(move || with(version))).collect();
            played.into_iter().flat_map(|version| version.join().expect("a version plays")).collect()
        })
    };
    assert!(update || differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn stories_on_upstream() {
    let Some(binaries) = upstream::folder() else {
        eprintln!("skipped: stories on upstream (UPSTREAM names no folder with its binaries)");
        return;
    };
    let peer = Upstream::start(&binaries).expect("upstream's control plane");
    let differences = play("1.36", &peer.kubeconfig, stories("dev"), &[], false).expect("stories play");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn stories_on_a_node() {
    if let Some(reason) = Local::unfit() {
        eprintln!("skipped: stories on a node ({reason})");
        return;
    }
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let (update, versions) = plan(&KUBECTLS_ON_A_NODE);
    let mut differences = Vec::new();
    for version in versions {
        // A cluster of its own: Events outlive what they are about, and would tell the next version of this one's pods.
        let local = Local::create("stories").expect("kontiki local create");
        let environment = [
            ("OUTSIDE", local.outside()),
            ("PUBLISHED", format!("http://127.0.0.1:{}", local.published)),
            ("EXAMPLES", examples.display().to_string()),
        ];
        let played = play(version, &local.kubeconfig, stories("node"), &environment, update);
        differences.extend(played.expect("stories play"));
        let left = local.delete().expect("kontiki local delete");
        assert!(left.is_empty(), "the cluster left behind:\n{}", left.join("\n"));
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
