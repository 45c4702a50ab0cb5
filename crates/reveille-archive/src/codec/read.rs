//! Reads events back, whatever the bytes are.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use reveille_types::{
    Class, Envelope, Epoch, Event, EventId, ExtensionValue, Extensions, Finality, Invalid, Kind,
    Label, Payload, Place, Position, Privacy, Seq, SessionKey, Source,
};

use super::{JSON, VERSION, extension, has};

/// The bytes are none that were written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

impl From<Invalid> for Damaged {
    fn from(_: Invalid) -> Self {
        Self
    }
}

/// Reads the events of one log. Remembers what the last event had in common with the next.
#[derive(Debug)]
pub(crate) struct Decoder {
    session: Arc<SessionKey>,
    epoch: Epoch,
    kind: Option<Kind>,
    source: Option<Source>,
}

impl Decoder {
    pub(crate) fn new(session: Arc<SessionKey>, epoch: Epoch) -> Self {
        Self {
            session,
            epoch,
            kind: None,
            source: None,
        }
    }

    /// Reads a body whose first event stands at `first`. Gives the events from `from` on to `take`,
    /// until it wants no more.
    pub(crate) fn body(
        &mut self,
        body: &[u8],
        first: Position,
        low: Seq,
        from: Position,
        mut take: impl FnMut(Event) -> bool,
    ) -> Result<(), Damaged> {
        let mut rest = Reader(body);
        if rest.byte()? != VERSION {
            return Err(Damaged);
        }
        let mut position = first;
        while !rest.0.is_empty() {
            let length = rest.length()?;
            let seq = Seq(low.0.checked_add(rest.number()?).ok_or(Damaged)?);
            let record = rest.take(length)?;
            if position >= from && !take(self.event(record, position, seq)?) {
                return Ok(());
            }
            position = position.next();
        }
        Ok(())
    }

    fn event(&mut self, record: &[u8], position: Position, seq: Seq) -> Result<Event, Damaged> {
        let mut rest = Reader(record);
        let (class, finality, privacy) = marks(rest.byte()?)?;
        let present = u16::from_le_bytes(rest.array()?);
        let id = EventId::parse(rest.text()?)?;
        let source = rest.text()?;
        let source = match &self.source {
            Some(last) if last.as_str() == source => last.clone(),
            _ => self.source.insert(Source::parse(source)?).clone(),
        };
        let kind = rest.text()?;
        let kind = match &self.kind {
            Some(last) if last.as_str() == kind => last.clone(),
            _ => self.kind.insert(Kind::parse(kind)?).clone(),
        };
        let time = i64::from_le_bytes(rest.array()?);
        let time = Timestamp::from_millisecond(time).map_err(|_| Damaged)?;
        let has = |flag: u16| present & flag != 0;
        let envelope = Envelope {
            id,
            source,
            kind,
            time,
            class,
            finality,
            privacy,
            subject: rest.text_if(has(has::SUBJECT))?,
            agent: rest.label_if(has(has::AGENT))?,
            run: rest.label_if(has(has::RUN))?,
            turn: rest.label_if(has(has::TURN))?,
            correlation: rest.label_if(has(has::CORRELATION))?,
            caused_by: rest.label_if(has(has::CAUSED_BY))?,
            traceparent: rest.label_if(has(has::TRACEPARENT))?,
            tracestate: rest.text_if(has(has::TRACESTATE))?,
            tags: rest.tags(has(has::TAGS))?,
            idempotency_key: rest.text_if(has(has::KEY))?,
            extensions: rest.extensions(has(has::EXTENSIONS))?,
        };
        let payload = rest.payload(present)?;
        if !rest.0.is_empty() {
            return Err(Damaged);
        }
        let place = Place {
            session: self.session.clone(),
            epoch: self.epoch,
            position,
            seq,
        };
        Ok(Event::new(envelope, payload, place))
    }
}

fn marks(byte: u8) -> Result<(Class, Finality, Option<Privacy>), Damaged> {
    let class = match byte & 3 {
        0 => Class::Progress,
        1 => Class::Normal,
        2 => Class::Metering,
        _ => Class::Control,
    };
    let finality = match byte >> 2 & 3 {
        0 => Finality::None,
        1 => Finality::Operation,
        2 => Finality::Session,
        _ => return Err(Damaged),
    };
    let privacy = match byte >> 4 {
        0 => None,
        1 => Some(Privacy::Public),
        2 => Some(Privacy::Internal),
        3 => Some(Privacy::ContentRefsOnly),
        4 => Some(Privacy::Sensitive),
        5 => Some(Privacy::Secret),
        _ => return Err(Damaged),
    };
    Ok((class, finality, privacy))
}

/// What is left of a record.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        self.take(N)?.try_into().map_err(|_| Damaged)
    }

    fn byte(&mut self) -> Result<u8, Damaged> {
        self.array().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return Err(Damaged);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    fn length(&mut self) -> Result<usize, Damaged> {
        usize::try_from(self.number()?).map_err(|_| Damaged)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = self.length()?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)
    }

    fn text_if(&mut self, is_there: bool) -> Result<Option<Box<str>>, Damaged> {
        is_there.then(|| self.text().map(Into::into)).transpose()
    }

    fn label_if(&mut self, is_there: bool) -> Result<Option<Label>, Damaged> {
        is_there
            .then(|| Ok(Label::parse(self.text()?)?))
            .transpose()
    }

    fn tags(&mut self, are_there: bool) -> Result<Box<[Label]>, Damaged> {
        if !are_there {
            return Ok(Box::default());
        }
        // Collected without a reservation: the number may be damaged.
        let count = self.number()?;
        (0..count)
            .map(|_| Ok(Label::parse(self.text()?)?))
            .collect()
    }

    fn extensions(&mut self, are_there: bool) -> Result<Extensions, Damaged> {
        if !are_there {
            return Ok(Extensions::new());
        }
        let count = self.number()?;
        (0..count)
            .map(|_| {
                let name = self.text()?.into();
                let value = match self.byte()? {
                    extension::FALSE => ExtensionValue::Boolean(false),
                    extension::TRUE => ExtensionValue::Boolean(true),
                    extension::INTEGER => {
                        ExtensionValue::Integer(i32::from_le_bytes(self.array()?))
                    }
                    extension::STRING => ExtensionValue::String(self.text()?.into()),
                    _ => return Err(Damaged),
                };
                Ok((name, value))
            })
            .collect()
    }

    fn payload(&mut self, present: u16) -> Result<Payload, Damaged> {
        let has = |flag: u16| present & flag != 0;
        let content_type = match (has(has::JSON), has(has::CONTENT_TYPE)) {
            (true, _) => Some(JSON),
            (false, true) => Some(self.text()?),
            (false, false) => None,
        };
        let schema = has(has::SCHEMA).then(|| self.text()).transpose()?;
        let data = has(has::DATA).then(|| self.bytes()).transpose()?;
        let payload = Payload::stored(content_type, data.map(Bytes::copy_from_slice))?;
        match schema {
            Some(schema) => Ok(payload.with_schema(schema)?),
            None => Ok(payload),
        }
    }
}
