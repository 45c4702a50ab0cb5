//! What is known of a log beside its events: one message, replaced by compare and append.

/// A log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Record {
    pub(crate) epoch: String,
    /// Names the incarnation: the last part of its events' subject. No other has the same.
    pub(crate) place: String,
    #[serde(default)]
    pub(crate) attributes: String,
    /// The first position that can be read.
    #[serde(default)]
    pub(crate) oldest: u64,
    /// Where in the stream to look for it.
    #[serde(default)]
    pub(crate) oldest_seq: u64,
    /// There was an event: if there is none, it was lost.
    #[serde(default)]
    pub(crate) used: bool,
    /// The log is being removed: there is none.
    #[serde(default)]
    pub(crate) gone: bool,
    /// Incarnations before, whose events may still be there.
    #[serde(default)]
    pub(crate) dying: Vec<String>,
}
