//! One line of a log.

/// Which stream a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line taken apart; it borrows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// When, as it was written.
    pub time: &'a str,
    /// Where.
    pub stream: Stream,
    /// The process's line goes on in the next one.
    pub partial: bool,
    /// What, without the line feed.
    pub text: &'a [u8],
}

/// Takes a line apart, its line feed included or not. `None` for what is not in CRI's format.
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let tags = parts.next()?;
    let partial = tags.split(|byte| *byte == b':').next() == Some(b"P");
    Some(Line { time, stream, partial, text: parts.next().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line = parse(b"2026-07-01T10:00:00.5Z stdout F hello  world\n").expect("a line");
        assert_eq!((line.time, line.stream, line.partial), ("2026-07-01T10:00:00.5Z", Stream::Stdout, false));
        assert_eq!(line.text, b"hello  world");
        assert!(parse(b"t stderr P x").expect("a line").partial);
        assert_eq!(parse(b"t stdout F ").expect("a line").text, b"");
        assert_eq!(parse(b"t stdout F").expect("a line").text, b"");
        assert_eq!(parse(b"some text"), None);
        assert_eq!(parse(b""), None);
    }
}
