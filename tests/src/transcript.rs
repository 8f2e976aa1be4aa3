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
//! `$` runs once; `$~` is tried again until the output is the expected one or half a minute has passed, for what
//! becomes true by itself. `[exit N]` ends the output of a command that fails. `UPDATE=1` rewrites a transcript:
//! commit only a difference you can explain.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::mask::mask;

/// How long a `$~` command may take to show the expected output.
const SETTLE_MAX: Duration = Duration::from_secs(60);
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
    /// The cluster.
    pub kubeconfig: &'a Path,
    /// The working folder; files a story writes land here.
    pub folder: &'a Path,
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
        let mut steps: Vec<Step> = Vec::new();
        for line in text.lines().skip(header.len()) {
            if let Some(rest) = line.strip_prefix('$') {
                let settles = rest.starts_with('~');
                let command = rest.trim_start_matches('~').trim().to_owned();
                steps.push(Step { command, settles, expected: String::new() });
            } else if let Some(step) = steps.last_mut() {
                if let Some(more) = line.strip_prefix("> ") {
                    let _ = write!(step.command, "\n{more}");
                } else {
                    step.expected.push_str(line);
                    step.expected.push('\n');
                }
            }
        }
        for step in &mut steps {
            step.expected.truncate(step.expected.trim_end().len());
        }
        Self {
            name: name.trim().to_owned(),
            title: title.trim().to_owned(),
            on: on.trim().to_owned(),
            header,
            steps,
        }
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
        }
        text.push('\n');
        text
    }

    /// Runs every command and gives what differs from the story; `update` takes over what is seen.
    pub fn play(&mut self, shell: &Shell<'_>, update: bool) -> Vec<String> {
        let mut differences = Vec::new();
        for step in &mut self.steps {
            let seen = if step.settles {
                shell.settle(&step.command, &step.expected)
            } else {
                shell.run(&step.command)
            };
            if seen != step.expected {
                differences
                    .push(format!("$ {}\n--- want\n{}\n--- got\n{seen}\n", step.command, step.expected));
                if update {
                    step.expected = seen;
                }
            }
        }
        differences
    }
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
}
