//! Progress of a command as steps: a spinner on a terminal, one line a finished step elsewhere.
//!
//! Writes to stderr only; stdout belongs to the answer. Decides nothing about the work itself.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How long a step may take before it is worth a moving line.
const TICK: Duration = Duration::from_millis(80);

/// The steps of one command.
pub struct Progress {
    started: Instant,
    terminal: bool,
    quiet: bool,
}

/// A step under way; finish it with [`Running::done`] or [`Running::failed`].
pub struct Running<'a> {
    progress: &'a Progress,
    name: String,
    began: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts the clock. `quiet` prints nothing at all.
    pub fn new(quiet: bool) -> Self {
        Self { started: Instant::now(), terminal: std::io::stderr().is_terminal(), quiet }
    }

    /// Begins a step named in a few words ("server-0 up").
    pub fn step(&self, name: &str) -> Running<'_> {
        let bar = (self.terminal && !self.quiet).then(|| {
            let bar = ProgressBar::new_spinner().with_message(name.to_owned());
            bar.set_style(
                ProgressStyle::with_template(" {spinner} {msg} {elapsed}").expect("a constant template"),
            );
            bar.enable_steady_tick(TICK);
            bar
        });
        Running { progress: self, name: name.to_owned(), began: Instant::now(), bar }
    }

    fn print(&self, mark: char, text: &str, took: Duration) {
        if self.quiet {
            return;
        }
        let line = if self.terminal {
            format!(" {mark} {text:<60} {:>9}", human(took))
        } else {
            format!("[{:5.1}s] {mark} {text} ({})", self.started.elapsed().as_secs_f64(), human(took))
        };
        // A closed stderr must not fail the command.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

impl Running<'_> {
    /// The step worked; `text` is what is true now.
    pub fn done(self, text: &str) {
        self.finish('✓', text);
    }

    /// The step failed; the error itself is printed by `main`.
    pub fn failed(self) {
        let name = self.name.clone();
        self.finish('✗', &name);
    }

    fn finish(self, mark: char, text: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.progress.print(mark, text, self.began.elapsed());
    }
}

fn human(duration: Duration) -> String {
    match duration.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        ms => format!("{:.1} s", ms as f64 / 1000.0),
    }
}
