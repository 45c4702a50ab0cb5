//! How many checks passed and failed, read from what the test runners print.

use std::ops::AddAssign;

/// Passed and failed checks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// One check that passed or failed.
    pub(crate) fn of_check(ok: bool) -> Self {
        Self {
            passed: u64::from(ok),
            failed: u64::from(!ok),
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Whose output is read.
///
/// The two must not be mixed up: nextest repeats the output of a failed test, and that holds a
/// `test result:` line of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    /// One summary line at the end, on standard error.
    Nextest,
    /// One result line per test binary, on standard output.
    CargoTest,
}

/// The results seen so far on one stream.
#[derive(Debug)]
pub(crate) struct Count {
    runner: Runner,
    tally: Tally,
}

impl Count {
    pub(crate) fn new(runner: Runner) -> Self {
        Self {
            runner,
            tally: Tally::default(),
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Reads one line of output.
    pub(crate) fn line(&mut self, line: &str) {
        match self.runner {
            // The last summary is nextest's own; an earlier one can only be a test's output.
            Runner::Nextest => self.tally = nextest_summary(line).unwrap_or(self.tally),
            Runner::CargoTest => self.tally += cargo_test_result(line).unwrap_or_default(),
        }
    }
}

/// `Summary [   0.1s] 5/9 tests run: 2 passed (1 slow), 2 failed, 1 timed out, 4 skipped`
fn nextest_summary(line: &str) -> Option<Tally> {
    let (head, counts) = line
        .trim_start()
        .strip_prefix("Summary [")?
        .split_once(" run: ")?;
    if !head.ends_with("tests") && !head.ends_with("test") {
        return None;
    }
    let mut tally = Tally::default();
    for count in without_parentheses(counts).split(',') {
        let (number, label) = count.trim().split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        match label.trim() {
            "passed" => tally.passed += number,
            "skipped" => {}
            // Failed, failed to start, timed out.
            _ => tally.failed += number,
        }
    }
    Some(tally)
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out`
fn cargo_test_result(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = counts.split("; ");
    let passed = counts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = counts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some(Tally { passed, failed })
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0_usize;
    text.chars()
        .filter(|&c| {
            match c {
                '(' => depth += 1,
                ')' => {
                    depth = depth.saturating_sub(1);
                    return false;
                }
                _ => {}
            }
            depth == 0
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(runner: Runner, output: &str) -> Tally {
        let mut count = Count::new(runner);
        output.lines().for_each(|line| count.line(line));
        count.tally()
    }

    #[test]
    fn nextest_counts_every_kind_of_failure() {
        let output = "     Summary [  10.2s] 9/10 tests run: 4 passed (1 slow, 2 flaky), \
                      2 failed (1 due to being leaky), 1 exec failed, 2 timed out, 1 skipped";
        assert_eq!(
            count(Runner::Nextest, output),
            Tally {
                passed: 4,
                failed: 5
            }
        );
    }

    #[test]
    fn nextest_counts_a_single_test() {
        let output = "     Summary [   0.004s] 1 test run: 1 passed, 0 skipped\n";
        assert_eq!(
            count(Runner::Nextest, output),
            Tally {
                passed: 1,
                failed: 0
            }
        );
    }

    #[test]
    fn nextest_ignores_the_repeated_output_of_a_failed_test() {
        let output = "
    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out
test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out
     Summary [   0.004s] 99 tests run: 99 failed, 0 skipped
     Summary [   0.010s] 8 tests run: 7 passed, 1 failed, 0 skipped
        FAIL [   0.004s] some-crate some_test";
        assert_eq!(
            count(Runner::Nextest, output),
            Tally {
                passed: 7,
                failed: 1
            }
        );
    }

    #[test]
    fn cargo_test_sums_over_the_binaries() {
        let output = "
running 3 tests
test a ... ok
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(
            count(Runner::CargoTest, output),
            Tally {
                passed: 13,
                failed: 2
            }
        );
    }

    #[test]
    fn other_lines_count_nothing() {
        let output = "test result: unknown\nSummary\ntests run: 3 passed\n3 passed; 0 failed";
        assert_eq!(count(Runner::CargoTest, output), Tally::default());
        assert_eq!(count(Runner::Nextest, output), Tally::default());
    }
}
