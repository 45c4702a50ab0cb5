//! The body of a stream, compressed: each piece can be read as soon as it is there.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_core::Stream;

use super::EventStream;

/// Whether the client reads what is compressed; one that does not say so has asked for it in the query.
pub(crate) fn reads_gzip(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::ACCEPT_ENCODING).iter().peekable();
    values.peek().is_none()
        || values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|coding| {
                let (name, rest) = coding.split_once(';').unwrap_or((coding, ""));
                let quality = rest.trim().strip_prefix("q=");
                let refused = quality.is_some_and(|q| q.parse() == Ok(0.0));
                matches!(&*name.trim().to_ascii_lowercase(), "gzip" | "*") && !refused
            })
}

/// A stream in gzip.
pub(super) struct Gzip {
    /// None once it is over.
    body: Option<(EventStream, GzEncoder<Vec<u8>>)>,
}

impl Gzip {
    pub(super) fn of(stream: EventStream) -> Self {
        // What is fast: pieces are small, and the client waits for each.
        let encoder = GzEncoder::new(Vec::new(), Compression::fast());
        Self {
            body: Some((stream, encoder)),
        }
    }
}

impl Stream for Gzip {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some((stream, encoder)) = &mut self.body else {
            return Poll::Ready(None);
        };
        if let Some(piece) = ready!(stream.line.poll_body(cx)) {
            let written = encoder.write_all(&piece).and_then(|()| encoder.flush());
            let piece = written.map(|()| Bytes::from(std::mem::take(encoder.get_mut())));
            return Poll::Ready(Some(piece));
        }
        let rest = self.body.take().map(|(_stream, encoder)| encoder.finish());
        Poll::Ready(rest.map(|rest| rest.map(Bytes::from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_refuses_gzip_gets_none() {
        let reads = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
            reads_gzip(&headers)
        };
        assert!(reads_gzip(&HeaderMap::new()));
        for yes in ["gzip", "br, gzip;q=0.5", "*", "deflate, GZIP"] {
            assert!(reads(yes), "{yes}");
        }
        for no in ["", "identity", "br", "gzip;q=0", "gzip; q=0.0, br"] {
            assert!(!reads(no), "{no}");
        }
    }
}
