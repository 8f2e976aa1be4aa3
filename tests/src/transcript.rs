//! A story is a transcript: commands a user types and what the terminal shows, masked. It is the specification and
//! the test at once.
//!
//! ```text
//! # get: what this story shows, for docs/STATUS.md
//! # on: dev
//! $ kubectl create configmap a --from-literal=k=v
//! configmap/a created
//! $~ kubectl get pods
//! ```
//! `$` runs once; `$~` is tried again until the output is the expected one or a minute has passed, for what
//! becomes true by itself. `[exit N]` ends the output of a command that fails. Where the texts of clients differ,
//! `[kubectl 1.27]` begins what the named versions show instead. `UPDATE=1` rewrites a transcript: commit only a
//! difference you can explain.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::mask::mask;

/// How long a `$~` command may take to show the expected output.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// Without an expectation, output that stays the same for this long has settled.
const SETTLED: Duration = Duration::from_secs(4);
/// Between two looks at something that becomes true by itself.
const SETTLE_PAUSE: Duration = Duration::from_millis(200);

/// One command with its expected, masked output.
#[derive(Debug, Clone)]
pub struct Step {
    /// The command line, for a POSIX shell.
    pub command: String,
    /// Try again until it fits.
    pub settles: bool,
    /// What it shows.
    pub expected: String,
    /// What clients of the named versions show instead.
    pub variants: BTreeMap<String, String>,
}

impl Step {
    fn expects(&self, version: &str) -> &str {
        self.variants.get(version).unwrap_or(&self.expected)
    }

    /// Takes over what a client showed; the newest one's words are the story's, another's only where they differ.
    fn take_over(&mut self, version: &str, newest: bool, seen: String) {
        self.variants.remove(version);
        if newest {
            self.expected = seen;
        } else if seen != self.expected {
            self.variants.insert(version.to_owned(), seen);
        }
    }
}

/// A parsed story.
#[derive(Debug, Clone)]
pub struct Story {
    /// The capability's name in docs/STATUS.md.
    pub name: String,
    /// What the story shows, in a sentence.
    pub title: String,
    /// `dev` or `node`: which cluster it needs.
    pub on: String,
    header: Vec<String>,
    /// Its commands.
    pub steps: Vec<Step>,
}

/// Where and how commands run.
pub struct Shell<'a> {
    /// Folder that holds the `kubectl` to use, put first on the search path.
    pub tools: &'a Path,
    /// Its version, such as `1.36`.
    pub version: &'a str,
    /// The cluster.
    pub kubeconfig: &'a Path,
    /// The working folder; files a story writes land here.
    pub folder: &'a Path,
    /// More that commands find in their environment.
    pub environment: &'a [(&'a str, String)],
}

impl Story {
    /// Reads a story.
    ///
    /// # Panics
    /// The text is not a story: the message says what is missing.
    pub fn parse(text: &str) -> Self {
        let header: Vec<String> =
            text.lines().take_while(|line| line.starts_with('#')).map(str::to_owned).collect();
        let field = |wanted: usize| header.get(wanted).and_then(|line| line[1..].split_once(':'));
        let (name, title) = field(0).expect("the first line is `# name: title`");
        let (key, on) = field(1).expect("the second line is `# on: dev|node`");
        assert_eq!(key.trim(), "on", "the second line is `# on: dev|node`");
        let (name, title, on) = (name.trim().to_owned(), title.trim().to_owned(), on.trim().to_owned());
        let steps = steps(text.lines().skip(header.len()));
        Self { name, title, on, header, steps }
    }

    /// The story as text, as [`Story::parse`] reads it.
    pub fn print(&self) -> String {
        let mut text = self.header.join("\n");
        for step in &self.steps {
            let mark = if step.settles { "$~" } else { "$" };
            let _ = write!(text, "\n\n{mark} {}", step.command.replace('\n', "\n> "));
            if !step.expected.is_empty() {
                let _ = write!(text, "\n{}", step.expected);
            }
            let mut shown: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for (version, variant) in &step.variants {
                shown.entry(variant).or_default().push(version);
            }
            for (variant, versions) in shown {
                let _ = write!(text, "\n[kubectl {}]\n{variant}", versions.join(" "));
            }
        }
        text.push('\n');
        text
    }

    /// Runs every command and gives what differs from the story; `update` takes over what is seen, as the story's words
    /// when the client is the `newest`.
    pub fn play(&mut self, shell: &Shell<'_>, update: bool, newest: bool) -> Vec<String> {
        let mut differences = Vec::new();
        for step in &mut self.steps {
            let seen = match (step.settles, update) {
                (true, true) => shell.settled(&step.command),
                (true, false) => shell.settle(&step.command, step.expects(shell.version)),
                (false, _) => shell.run(&step.command),
            };
            let wanted = step.expects(shell.version);
            if seen != wanted {
                differences.push(format!("$ {}\n--- want\n{wanted}\n--- got\n{seen}\n", step.command));
                if update {
                    step.take_over(shell.version, newest, seen);
                }
            }
        }
        differences
    }
}

fn steps<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut versions: Vec<String> = Vec::new();
    for line in lines {
        if let Some(rest) = line.strip_prefix('$') {
            let settles = rest.starts_with('~');
            let command = rest.trim_start_matches('~').trim().to_owned();
            steps.push(Step { command, settles, expected: String::new(), variants: BTreeMap::new() });
            versions.clear();
            continue;
        }
        let Some(step) = steps.last_mut() else { continue };
        let names = line.strip_prefix("[kubectl ").and_then(|rest| rest.strip_suffix(']'));
        if let Some(more) = line.strip_prefix("> ") {
            let _ = write!(step.command, "\n{more}");
        } else if let Some(names) = names {
            versions = names.split_whitespace().map(str::to_owned).collect();
            step.variants.extend(versions.iter().map(|version| (version.clone(), String::new())));
        } else if versions.is_empty() {
            step.expected.push_str(line);
            step.expected.push('\n');
        } else {
            for version in &versions {
                let variant = step.variants.entry(version.clone()).or_default();
                variant.push_str(line);
                variant.push('\n');
            }
        }
    }
    for text in steps
        .iter_mut()
        .flat_map(|step| std::iter::once(&mut step.expected).chain(step.variants.values_mut()))
    {
        text.truncate(text.trim_end().len());
    }
    steps
}

impl Shell<'_> {
    /// Runs a command and gives its masked output, stderr after stdout, and the exit code if it is not 0.
    pub fn run(&self, command: &str) -> String {
        let path = format!("{}:{}", self.tools.display(), std::env::var("PATH").unwrap_or_default());
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(self.folder)
            .env("PATH", path)
            .env("KUBECONFIG", self.kubeconfig)
            .env("HOME", self.folder)
            .env("TZ", "UTC")
            .env("KUBE_EDITOR", "true")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("sh runs");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        let mut text = mask(&text).trim_end().to_owned();
        if !output.status.success() {
            let code = output.status.code().map_or_else(|| "by a signal".to_owned(), |code| code.to_string());
            let _ = write!(text, "{}[exit {code}]", if text.is_empty() { "" } else { "\n" });
        }
        text
    }

    fn settle(&self, command: &str, expected: &str) -> String {
        let began = Instant::now();
        loop {
            let seen = self.run(command);
            if seen == expected || began.elapsed() > SETTLE_MAX {
                return seen;
            }
            std::thread::sleep(SETTLE_PAUSE);
        }
    }

    /// What a command shows once it shows the same for a while.
    fn settled(&self, command: &str) -> String {
        let began = Instant::now();
        let (mut shown, mut since) = (self.run(command), Instant::now());
        while since.elapsed() < SETTLED && began.elapsed() < SETTLE_MAX {
            std::thread::sleep(SETTLE_PAUSE);
            let seen = self.run(command);
            if seen != shown {
                (shown, since) = (seen, Instant::now());
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_reads_back_what_it_prints() {
        let text = "# get: lists things\n# on: dev\n\n$ kubectl get cm\nNAME\na\n\n$~ cat <<X\n> b\n> X\nb\n[exit 1]\n";
        let story = Story::parse(text);
        assert_eq!(story.name, "get");
        assert_eq!(story.steps.len(), 2);
        assert_eq!(story.steps[1].command, "cat <<X\nb\nX");
        assert_eq!(story.print(), text);
    }

    #[test]
    fn clients_may_differ_in_words() {
        let text = "# n: t\n# on: dev\n\n$ a\nnew\n[kubectl 1.27 1.33]\nold\n\n$ b\nsame\n";
        let mut story = Story::parse(text);
        assert_eq!(story.steps[0].expects("1.27"), "old");
        assert_eq!(story.steps[0].expects("1.36"), "new");
        assert_eq!(story.print(), text);
        story.steps[1].take_over("1.27", false, "same".to_owned());
        story.steps[0].take_over("1.33", false, "new".to_owned());
        assert_eq!(story.print(), text.replace(" 1.33", ""));
    }
}
