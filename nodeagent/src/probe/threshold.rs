//! A series of answers becomes a verdict once enough of them agree.

/// Counts equal answers in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    last: Option<bool>,
    run: u32,
}

/// How many answers make a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Good ones.
    pub success: u32,
    /// Bad ones.
    pub failure: u32,
}

impl Series {
    /// Takes an answer. Gives the verdict if there are enough equal ones now.
    pub fn on_answer(&mut self, good: bool, thresholds: Thresholds) -> Option<bool> {
        self.run = if self.last == Some(good) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(good);
        let needed = if good { thresholds.success } else { thresholds.failure };
        (self.run >= needed).then_some(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers `+` and `-` in, verdicts out; `.` where there is none yet.
    fn check(success: u32, failure: u32, answers: &str, expected: &str) {
        let mut series = Series::default();
        let verdicts: String = answers
            .chars()
            .map(|answer| match series.on_answer(answer == '+', Thresholds { success, failure }) {
                None => '.',
                Some(true) => '+',
                Some(false) => '-',
            })
            .collect();
        assert_eq!(verdicts, expected, "{answers}");
    }

    #[test]
    fn verdicts() {
        check(1, 3, "+++", "+++");
        check(1, 3, "---", "..-");
        check(1, 3, "--+---", "..+..-");
        check(2, 1, "+-++", ".-.+");
    }
}
