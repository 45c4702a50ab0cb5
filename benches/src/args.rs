//! What a program of this package is asked for.

use std::env;
use std::time::Duration;

/// The command line: `<subject> [--quick] [--part NAME]`.
#[derive(Debug, Clone)]
pub struct Args {
    /// Which part of Reveille is measured.
    pub subject: String,
    /// How long it may take.
    pub plan: Plan,
    /// Whether the run is short.
    pub quick: bool,
    /// The one part of the subject that this process is for; all of it without one.
    pub part: Option<String>,
}

impl Args {
    /// Reads the command line of the process.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for the person who wrote it.
    pub fn from_env() -> Result<Self, String> {
        let mut subject = None;
        let mut quick = false;
        let mut part = None;
        let mut args = env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => quick = true,
                "--part" => part = Some(args.next().ok_or("--part needs a name")?),
                flag if flag.starts_with('-') => return Err(format!("unknown flag {flag}")),
                _ => subject = Some(arg),
            }
        }
        Ok(Self {
            subject: subject.ok_or("usage: <subject> [--quick] [--part NAME]")?,
            plan: if quick { Plan::quick() } else { Plan::full() },
            quick,
            part,
        })
    }
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Samples of each contender in each row; an odd number, so that one of them is the median.
    pub samples: usize,
    /// How long one sample takes, unless a single operation takes longer.
    pub sample_time: Duration,
    /// How many events exist at once where memory is measured.
    pub population: usize,
}

impl Plan {
    /// The run whose figures count.
    pub const fn full() -> Self {
        Self {
            samples: 15,
            sample_time: Duration::from_millis(20),
            population: 1_000_000,
        }
    }

    /// A run that shows that everything works, and the figures roughly.
    pub const fn quick() -> Self {
        Self {
            samples: 3,
            sample_time: Duration::from_millis(4),
            population: 100_000,
        }
    }
}
