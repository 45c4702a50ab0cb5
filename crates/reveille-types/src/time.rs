//! Times on the wire: RFC 3339 in UTC with exactly milliseconds and `Z`.
//!
//! JavaScript cuts what is finer, and a fixed width sorts as text.

use jiff::Timestamp;

use crate::invalid::Invalid;

/// RFC 3339 in UTC with milliseconds and `Z`: `2026-01-31T12:00:00.100Z`. What is finer is cut off.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    format!("{:.3}", whole_millis(time))
}

/// `time` without what is finer than a millisecond.
pub(crate) fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// Checks that RFC 3339 can write `time`: it has four digits for the year.
pub(crate) fn check(field: &'static str, time: Timestamp) -> Result<(), Invalid> {
    /// 0000-01-01T00:00:00Z. The largest timestamp lies within the year 9999.
    const YEAR_ZERO_MILLIS: i64 = -62_167_219_200_000;
    if time.as_millisecond() < YEAR_ZERO_MILLIS {
        return Err(Invalid::form(field, "lies before the year 0"));
    }
    Ok(())
}

/// Reads RFC 3339 and nothing else of ISO 8601.
pub(crate) fn parse(field: &'static str, text: &str) -> Result<Timestamp, Invalid> {
    let wrong = || Invalid::form(field, "is not an RFC 3339 time");
    if !has_shape(text.as_bytes()) {
        return Err(wrong());
    }
    let time = text.parse().map_err(|_| wrong())?;
    check(field, time)?;
    Ok(time)
}

/// Whether the text is built as RFC 3339, section 5.6, demands; the ranges are the parser's.
fn has_shape(text: &[u8]) -> bool {
    let fits = |text: &[u8], shape: &[u8]| {
        text.len() == shape.len()
            && text.iter().zip(shape).all(|(byte, want)| match want {
                b'0' => byte.is_ascii_digit(),
                b'+' => matches!(byte, b'+' | b'-'),
                want => byte.eq_ignore_ascii_case(want),
            })
    };
    let Some((seconds, rest)) = text.split_at_checked("0000-00-00T00:00:00".len()) else {
        return false;
    };
    let digits = match rest.strip_prefix(b".") {
        Some(fraction) => 1 + fraction.iter().take_while(|b| b.is_ascii_digit()).count(),
        None => 0,
    };
    let offset = &rest[digits..];
    fits(seconds, b"0000-00-00T00:00:00")
        && digits != 1
        && (fits(offset, b"Z") || fits(offset, b"+00:00"))
}

/// For `#[serde(with = "...")]` on a [`Timestamp`].
pub(crate) mod millis {
    use std::borrow::Cow;

    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&super::rfc3339(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        let text = Cow::<str>::deserialize(d)?;
        super::parse("time", &text).map_err(serde::de::Error::custom)
    }
}

/// For `#[serde(default, with = "...")]` on an optional [`Timestamp`].
pub(crate) mod optional_millis {
    use std::borrow::Cow;

    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(super::rfc3339).serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<Cow<'de, str>>::deserialize(d)?;
        text.map(|text| super::parse("time", &text).map_err(serde::de::Error::custom))
            .transpose()
    }
}
