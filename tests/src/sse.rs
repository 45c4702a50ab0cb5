//! A reader of server-sent events that sees every byte.
//!
//! It parses as <https://html.spec.whatwg.org/multipage/server-sent-events.html> says (section 9.2.6),
//! for lines that end in LF, and keeps what browsers hide: comments, and fields of blocks.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde_json::Value;

use crate::soon;

/// A block of fields, or a comment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Block {
    /// The `id` field.
    pub id: Option<String>,
    /// The `event` field.
    pub event: Option<String>,
    /// The `retry` field.
    pub retry: Option<String>,
    /// The `data` fields, joined by LF.
    pub data: Option<String>,
    /// The text of a comment, which is a block of its own here.
    pub comment: Option<String>,
}

impl Block {
    /// The data as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.data.as_deref().unwrap_or_default()).expect("data is JSON")
    }

    /// Whether it is an event, not a control frame nor a comment.
    #[must_use]
    pub fn is_event(&self) -> bool {
        self.event.is_none() && self.data.is_some()
    }

    /// Whether it is the control frame of this name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.event.as_deref() == Some(name)
    }
}

type Chunks = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// Reads server-sent events from an answer.
pub struct SseReader {
    chunks: Chunks,
    /// What has come and is no whole line yet.
    rest: Vec<u8>,
    block: Block,
}

impl std::fmt::Debug for SseReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SseReader").finish_non_exhaustive()
    }
}

impl SseReader {
    /// Opens a stream, optionally after an id.
    ///
    /// # Panics
    /// When the answer is not a stream of events.
    ///
    /// # Cancel safety
    /// A dropped future closes the connection.
    pub async fn open(url: &str, last_event_id: Option<&str>) -> Self {
        let mut request = reqwest::Client::new().get(url);
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let answer = soon("an answer", request.send())
            .await
            .expect("the server answers");
        Self::of(answer)
    }

    /// Reads the events of an answer.
    ///
    /// # Panics
    /// When the answer is not a stream of events.
    #[must_use]
    pub fn of(answer: reqwest::Response) -> Self {
        assert_eq!(answer.status(), 200);
        let content_type = &answer.headers()["content-type"];
        assert_eq!(content_type, "text/event-stream; charset=utf-8");
        Self {
            chunks: Box::pin(answer.bytes_stream()),
            rest: Vec::new(),
            block: Block::default(),
        }
    }

    /// The next block or comment; `None` when the connection has ended in an orderly way.
    ///
    /// # Panics
    /// When nothing comes for too long, or the connection breaks.
    ///
    /// # Cancel safety
    /// A dropped future has taken no block.
    pub async fn next(&mut self) -> Option<Block> {
        self.try_next().await.expect("the connection holds")
    }

    /// As [`next`](Self::next), with a broken connection as an error.
    ///
    /// # Errors
    /// When the connection breaks.
    ///
    /// # Panics
    /// When nothing comes for too long.
    ///
    /// # Cancel safety
    /// A dropped future has taken no block.
    pub async fn try_next(&mut self) -> reqwest::Result<Option<Block>> {
        loop {
            while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let line = String::from_utf8(line).expect("a stream is UTF-8");
                if let Some(block) = self.line(line.trim_end_matches('\n')) {
                    return Ok(Some(block));
                }
            }
            match soon("more of a stream", self.chunks.next()).await {
                Some(chunk) => self.rest.extend_from_slice(&chunk?),
                None => {
                    assert!(self.rest.is_empty(), "the stream ends within a line");
                    assert_eq!(
                        self.block,
                        Block::default(),
                        "the stream ends within a block"
                    );
                    return Ok(None);
                }
            }
        }
    }

    fn line(&mut self, line: &str) -> Option<Block> {
        if line.is_empty() {
            let block = std::mem::take(&mut self.block);
            return (block != Block::default()).then_some(block);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => {
                return Some(Block {
                    comment: Some(value),
                    ..Block::default()
                });
            }
            "id" => self.block.id = Some(value),
            "event" => self.block.event = Some(value),
            "retry" => self.block.retry = Some(value),
            "data" => match &mut self.block.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(&value);
                }
                None => self.block.data = Some(value),
            },
            other => panic!("unknown field {other:?}"),
        }
        None
    }

    /// The next block that is an event.
    ///
    /// # Panics
    /// When the stream ends first.
    ///
    /// # Cancel safety
    /// A dropped future may have skipped blocks.
    pub async fn event(&mut self) -> Block {
        loop {
            let block = self.next().await.expect("the stream goes on");
            if block.is_event() {
                return block;
            }
        }
    }

    /// All blocks up to the end of the stream.
    ///
    /// # Panics
    /// When the stream does not end.
    ///
    /// # Cancel safety
    /// A dropped future has lost what it read.
    pub async fn rest(&mut self) -> Vec<Block> {
        let mut blocks = Vec::new();
        while let Some(block) = self.next().await {
            blocks.push(block);
        }
        blocks
    }
}
