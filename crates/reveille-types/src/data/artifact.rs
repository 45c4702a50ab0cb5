//! A task has produced something, whole or in chunks.

use serde::{Deserialize, Serialize};

use super::{Object, PayloadData, draft_of, is_false};
use crate::draft::EventDraft;
use crate::kind::{Class, Finality};

/// A task has produced something: `task.artifact`, or `task.artifact.chunk` for a part of it. Chunks
/// are content and never shed as progress.
///
/// ```
/// use reveille_types::data::{Artifact, Object, PayloadData};
///
/// let artifact = |data| Artifact::new("report", "art_0123abcd", data);
/// let chunks = [
///     artifact(Object::new()).first_chunk(),
///     artifact(Object::new()).next_chunk(),
///     artifact(Object::new()).last_chunk(),
/// ];
/// let flags = chunks.map(|chunk| (chunk.append, chunk.is_last()));
/// assert_eq!(flags, [(false, false), (true, false), (true, true)]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// What sort of thing it is.
    pub artifact_type: String,
    /// Names the artifact within its task; the same for all its chunks.
    pub artifact_id: String,
    /// The content, or this part of it.
    #[serde(default)]
    pub data: Object,
    /// Whether this is a part of the artifact.
    #[serde(default)]
    pub is_partial: bool,
    /// Whether it goes behind what has come of the same artifact, instead of replacing it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub append: bool,
    /// Whether no other chunk follows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub last_chunk: bool,
}

impl Artifact {
    /// A whole artifact.
    #[must_use]
    pub fn new(
        artifact_type: impl Into<String>,
        artifact_id: impl Into<String>,
        data: Object,
    ) -> Self {
        Self {
            artifact_type: artifact_type.into(),
            artifact_id: artifact_id.into(),
            data,
            is_partial: false,
            append: false,
            last_chunk: false,
        }
    }

    /// The same as the first of several chunks.
    #[must_use]
    pub fn first_chunk(self) -> Self {
        self.chunk(false, false)
    }

    /// The same as a chunk behind others and before others.
    #[must_use]
    pub fn next_chunk(self) -> Self {
        self.chunk(true, false)
    }

    /// The same as the last of several chunks.
    #[must_use]
    pub fn last_chunk(self) -> Self {
        self.chunk(true, true)
    }

    fn chunk(self, append: bool, last_chunk: bool) -> Self {
        Self {
            is_partial: true,
            append,
            last_chunk,
            ..self
        }
    }

    /// Whether the artifact is complete with this: it is whole, or its last chunk. With `append` these
    /// are the two flags of an A2A `TaskArtifactUpdateEvent`.
    #[must_use]
    pub fn is_last(&self) -> bool {
        !self.is_partial || self.last_chunk
    }
}

impl PayloadData for Artifact {
    const KINDS: &'static [&'static str] = &["task.artifact", "task.artifact.chunk"];

    fn into_draft(self) -> EventDraft {
        let kind = match self.is_partial {
            true => "task.artifact.chunk",
            false => "task.artifact",
        };
        draft_of(kind, Class::Normal, Finality::None, &self)
    }
}
