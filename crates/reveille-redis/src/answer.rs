//! What the scripts answer: a word, and what belongs to it.

use redis::{FromRedisValue, Value};
use reveille_backend::{BackendError, Seal};
use reveille_types::{EndReason, Epoch, Position};

use crate::error::corrupt;

/// The answer of a script.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) word: String,
    pub(crate) rest: std::vec::IntoIter<Value>,
}

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, redis::ParsingError> {
        let values = Vec::<Value>::from_redis_value(value)?;
        let mut rest = values.into_iter();
        let word = String::from_redis_value(rest.next().unwrap_or(Value::Nil))?;
        Ok(Self { word, rest })
    }
}

impl Answer {
    /// The rest, unless the log is gone or damaged.
    pub(crate) fn found(mut self) -> Result<std::vec::IntoIter<Value>, BackendError> {
        match self.word.as_str() {
            "gone" => Err(BackendError::NotFound),
            "lost" => Err(corrupt(next::<String>(&mut self.rest)?)),
            _ => Ok(self.rest),
        }
    }
}

/// The next value of an answer.
pub(crate) fn next<T: FromRedisValue>(
    values: &mut std::vec::IntoIter<Value>,
) -> Result<T, BackendError> {
    let value = values.next().unwrap_or(Value::Nil);
    T::from_redis_value(value).map_err(|error| corrupt(error.to_string()))
}

/// A number, which scripts write as digits.
pub(crate) fn number(values: &mut std::vec::IntoIter<Value>) -> Result<u64, BackendError> {
    let text: String = next(values)?;
    text.parse()
        .map_err(|_| corrupt(format!("number {text:?}")))
}

/// What a log says of itself.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) epoch: Epoch,
    pub(crate) oldest: Position,
    pub(crate) latest: Position,
    pub(crate) seal: Option<Seal>,
    pub(crate) attributes: Box<str>,
}

impl Facts {
    pub(crate) fn read(values: &mut std::vec::IntoIter<Value>) -> Result<Self, BackendError> {
        let mut values = next::<Vec<Value>>(values)?.into_iter();
        let values = &mut values;
        let epoch: String = next(values)?;
        let epoch = epoch
            .parse()
            .map_err(|_| corrupt(format!("epoch {epoch:?}")))?;
        let oldest = Position(number(values)?);
        let latest = Position(number(values)?);
        let reason: String = next(values)?;
        let has_message: bool = next(values)?;
        let message: String = next(values)?;
        let attributes: String = next(values)?;
        let seal = match reason.as_str() {
            "" => None,
            reason => Some(Seal {
                reason: end_reason(reason)?,
                message: has_message.then(|| message.into()),
            }),
        };
        Ok(Self {
            epoch,
            oldest,
            latest,
            seal,
            attributes: attributes.into(),
        })
    }
}

/// The reason of this name.
pub(crate) fn end_reason(name: &str) -> Result<EndReason, BackendError> {
    const ALL: [EndReason; 7] = [
        EndReason::Completed,
        EndReason::Failed,
        EndReason::Cancelled,
        EndReason::Rejected,
        EndReason::Closed,
        EndReason::Expired,
        EndReason::Deleted,
    ];
    let found = ALL.into_iter().find(|reason| reason.as_str() == name);
    found.ok_or_else(|| corrupt(format!("seal {name:?}")))
}
