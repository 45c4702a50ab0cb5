//! What a run gave.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

/// How long something took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Latency {
    /// Half took no longer.
    pub p50_us: f64,
    /// 99 of 100 took no longer.
    pub p99_us: f64,
    /// None took longer.
    pub max_us: f64,
}

impl Latency {
    pub(crate) fn of(nanos: &Histogram<u64>) -> Self {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        Self {
            p50_us: micros(nanos.value_at_quantile(0.5)),
            p99_us: micros(nanos.value_at_quantile(0.99)),
            max_us: micros(nanos.max()),
        }
    }
}

/// What a run gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// From the beginning to the last delivery or answer.
    pub seconds: f64,
    /// Events that the server accepted.
    pub published: u64,
    /// The same, a second.
    pub published_per_second: f64,
    /// Events that readers read, for each reader.
    pub deliveries: u64,
    /// The same, a second.
    pub deliveries_per_second: f64,
    /// Deliveries of accepted events that did not come.
    pub missing: u64,
    /// Deliveries that came again.
    pub duplicates: u64,
    /// Gap frames that readers were told.
    pub gaps: u64,
    /// Streams that the server ended.
    pub lost_streams: u64,
    /// Events that the server refused.
    pub refused: u64,
    /// Events whose answer was lost with the connection.
    pub unanswered: u64,
    /// What the server said to the first that it refused.
    pub first_refusal: Option<String>,
    /// From the publisher's stamp to the reader's parser.
    pub latency: Latency,
    /// From the request to publish to the end of its answer.
    pub answer: Latency,
}

impl Report {
    /// Whether all that was asked for came through, once.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let Self {
            missing,
            duplicates,
            lost_streams,
            refused,
            unanswered,
            ..
        } = self;
        [missing, duplicates, lost_streams, refused, unanswered]
            .into_iter()
            .all(|count| *count == 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &str, latency: &Latency| {
            let Latency {
                p50_us,
                p99_us,
                max_us,
            } = latency;
            writeln!(
                f,
                "{name:<14}p50 {p50_us:.0} us, p99 {p99_us:.0} us, max {max_us:.0} us"
            )
        };
        writeln!(
            f,
            "published     {} in {:.2} s ({:.0}/s)",
            self.published, self.seconds, self.published_per_second
        )?;
        writeln!(
            f,
            "delivered     {} ({:.0}/s)",
            self.deliveries, self.deliveries_per_second
        )?;
        writeln!(
            f,
            "missing       {}, twice {}, gaps told {}, streams lost {}",
            self.missing, self.duplicates, self.gaps, self.lost_streams
        )?;
        if self.deliveries > 0 {
            line(f, "latency", &self.latency)?;
        }
        if self.published > 0 {
            line(f, "answers", &self.answer)?;
        }
        if self.refused + self.unanswered > 0 {
            let said = self.first_refusal.as_deref().unwrap_or("nothing");
            writeln!(
                f,
                "refused       {}, unanswered {}; the server said: {said}",
                self.refused, self.unanswered
            )?;
        }
        Ok(())
    }
}
