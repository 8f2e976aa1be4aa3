//! The labels of a namespace that ask something of its pods.

use std::fmt;

use crate::field::{self, Error, Path};

/// What all labels of this kind begin with.
const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much a pod may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Privileged,
    /// Nothing that is known to lead out of the pod.
    Baseline,
    /// Only what a hardened pod needs.
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "privileged" => Ok(Level::Privileged),
            "baseline" => Ok(Level::Baseline),
            "restricted" => Ok(Level::Restricted),
            _ => Err("must be one of privileged, baseline, restricted"),
        }
    }
}

/// The minor version whose rules are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 1.x.
    Minor(u32),
    /// The newest, whatever it is.
    Latest,
}

impl Version {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "must be \"latest\" or \"v1.x\"";
        if text == "latest" {
            return Ok(Version::Latest);
        }
        let digits = text.strip_prefix("v1.").ok_or(WRONG)?;
        let is_number =
            digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        if !is_number {
            return Err(WRONG);
        }
        digits.parse().map(Version::Minor).map_err(|_| WRONG)
    }

    /// The minor version, beyond all for the latest.
    pub(super) fn minor(self) -> u32 {
        match self {
            Version::Minor(minor) => minor,
            Version::Latest => u32::MAX,
        }
    }
}

/// A level in a version: `baseline:latest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standard {
    /// The level.
    pub level: Level,
    /// The version.
    pub version: Version,
}

impl Standard {
    const NONE: Standard = Standard { level: Level::Privileged, version: Version::Latest };

    /// Whether pods that kept to `old` may break this one.
    pub fn asks_more_than(self, old: Standard) -> bool {
        let relaxes = self.version == old.version && self.level <= old.level;
        self != old && self.level != Level::Privileged && !relaxes
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Version::Minor(minor) => write!(f, "{level}:v1.{minor}"),
            Version::Latest => write!(f, "{level}:latest"),
        }
    }
}

/// What a namespace asks of its pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Pods that break this are refused.
    pub enforce: Standard,
    /// Whoever writes what breaks this is warned.
    pub warn: Standard,
    /// Labels that cannot be understood.
    pub errors: Vec<Error>,
}

impl Policy {
    /// Reads a namespace's labels. One that cannot be understood counts as strict for `enforce` and says nothing otherwise.
    pub fn of<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Policy {
        let own: Vec<(&str, &str)> =
            labels.into_iter().filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value))).collect();
        let value = |name: &str| own.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let mut errors = Vec::new();
        let mut mode = |name: &str, mistaken: Level| {
            let mut standard = Standard::NONE;
            let level = value(name).map(Level::parse);
            if let Some(level) = level {
                standard.level = level.unwrap_or_else(|text| {
                    errors.push(mistake(name, value(name), text));
                    mistaken
                });
            }
            let (key, is_given) = (format!("{name}-version"), level.is_some());
            if let Some(version) = value(&key).map(Version::parse) {
                standard.version = version.unwrap_or_else(|text| {
                    errors.push(mistake(&key, value(&key), text));
                    Version::Latest
                });
            }
            (standard, is_given, level.is_some_and(|level| level.is_ok()))
        };
        let (enforce, _, is_enforced) = mode("enforce", Level::Restricted);
        mode("audit", Level::Privileged);
        let (mut warn, has_warn, _) = mode("warn", Level::Privileged);
        // Who enforces without a word about warnings also wants to be warned of templates.
        if !has_warn && is_enforced && enforce.level > warn.level {
            warn.level = enforce.level;
            if value("warn-version").is_none() {
                warn.version = enforce.version;
            }
        }
        Policy { enforce, warn, errors }
    }
}

fn mistake(name: &str, value: Option<&str>, text: &str) -> Error {
    field::invalid(
        &Path::new("metadata.labels").key(&format!("{PREFIX}{name}")),
        value.unwrap_or_default(),
        text,
    )
}
