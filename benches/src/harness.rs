//! Samples, medians, and polling by hand.

use std::hint::black_box;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

/// How thorough a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Samples of each contender of a row.
    pub samples: usize,
    /// Divides the operations of one sample.
    pub divisor: usize,
}

impl Effort {
    /// From the arguments of the program: `--quick` or nothing.
    #[must_use]
    pub fn from_args() -> Self {
        if std::env::args().any(|arg| arg == "--quick") {
            Self {
                samples: 3,
                divisor: 4,
            }
        } else {
            Self {
                samples: 11,
                divisor: 1,
            }
        }
    }

    /// The operations of one sample, of so many in a full run.
    #[must_use]
    pub fn operations(self, full: usize) -> usize {
        (full / self.divisor).max(1)
    }
}

/// One contender of a row: its name, and how to take one sample in the unit of the row.
pub struct Contender<'a> {
    name: &'static str,
    sample: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Contender<'a> {
    /// A contender with this name.
    pub fn new(name: &'static str, sample: impl FnMut() -> f64 + 'a) -> Self {
        Self {
            name,
            sample: Box::new(sample),
        }
    }
}

/// Compares the contenders, and prints the median of each.
pub fn compare(row: &str, unit: &str, effort: Effort, mut contenders: Vec<Contender<'_>>) {
    let medians = medians(effort, &mut contenders);
    for (contender, median) in contenders.iter().zip(medians) {
        print(row, unit, contender.name, median);
    }
}

/// Samples the contenders in turn, so that a slow moment of the machine meets all of them: the
/// median of each.
pub fn medians(effort: Effort, contenders: &mut [Contender<'_>]) -> Vec<f64> {
    // The first round fills caches and pools, and is thrown away.
    for contender in &mut *contenders {
        black_box((contender.sample)());
    }
    let mut samples = vec![Vec::with_capacity(effort.samples); contenders.len()];
    for _ in 0..effort.samples {
        for (contender, samples) in contenders.iter_mut().zip(&mut samples) {
            samples.push((contender.sample)());
        }
    }
    samples.into_iter().map(median).collect()
}

/// Prints one value.
pub fn print(row: &str, unit: &str, contender: &str, value: f64) {
    println!("{row}\t{unit}\t{contender}\t{value}");
}

/// The middle one of the values, which are not none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds per operation, over so many of them.
pub fn nanos_each(operations: usize, mut operation: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..operations {
        operation();
    }
    start.elapsed().as_nanos() as f64 / operations as f64
}

/// Nanoseconds per operation of one of two threads that are at it together, each doing so many:
/// from the start of the first to the end of the last, so that threads which the machine runs one
/// after the other do not pass for two that do not disturb each other.
pub fn nanos_each_on_two_threads(operations: usize, operation: impl Fn() + Sync) -> f64 {
    let arrived = AtomicUsize::new(0);
    let run = || {
        // Spinning, because a thread that sleeps at a barrier begins late.
        arrived.fetch_add(1, Ordering::SeqCst);
        while arrived.load(Ordering::SeqCst) < 2 {
            std::hint::spin_loop();
        }
        let start = Instant::now();
        for _ in 0..operations {
            operation();
        }
        (start, Instant::now())
    };
    thread::scope(|scope| {
        // Both are new, so that none has an allocator or caches that are warm.
        let [(a, b), (c, d)] = [scope.spawn(run), scope.spawn(run)]
            .map(|thread| thread.join().expect("operations do not panic"));
        (b.max(d) - a.min(c)).as_nanos() as f64 / operations as f64
    })
}

/// Polls a future with a waker that does nothing.
pub fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
