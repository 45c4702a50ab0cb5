//! Places and cursors: their text forms, and where a reader goes on.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use proptest::prelude::*;
use reveille_types::{Cursor, CursorError, Epoch, Gap, GapReason, Position, Scope, Seq, Start};

fn epochs() -> impl Strategy<Value = Epoch> {
    (any::<u64>(), any::<u32>()).prop_map(|(millis, random)| Epoch::from_parts(millis, random))
}

fn cursors() -> impl Strategy<Value = Cursor> {
    (epochs(), numbers(), any::<u64>(), 0..3).prop_map(|(epoch, place, fingerprint, scope)| {
        match scope {
            0 => Cursor::session(epoch, Position(place)),
            1 => Cursor::bus(epoch, Seq(place)),
            _ => Cursor::filtered(epoch, Seq(place), fingerprint),
        }
    })
}

/// Small, large and random numbers.
fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![0..20u64, u64::MAX - 20..=u64::MAX, any::<u64>()]
}

proptest! {
    #[test]
    fn places_come_back_from_their_text_and_sort_as_text(a in numbers(), b in numbers()) {
        prop_assert_eq!(Position(a).to_string().parse(), Ok(Position(a)));
        prop_assert_eq!(Seq(a).to_string().parse(), Ok(Seq(a)));
        prop_assert_eq!(Position(a).to_string().len(), 20);
        prop_assert_eq!(Position(a).to_string().cmp(&Position(b).to_string()), a.cmp(&b));
        prop_assert_eq!(Seq(a).to_string().cmp(&Seq(b).to_string()), a.cmp(&b));
        prop_assert_eq!(a.to_string().parse(), Ok(Position(a)));
    }

    #[test]
    fn places_are_strings_in_json(a in numbers()) {
        let json = serde_json::to_string(&Position(a)).unwrap();
        prop_assert_eq!(&json, &format!("\"{a:020}\""));
        prop_assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), Position(a));
        prop_assert!(serde_json::from_str::<Seq>(&a.to_string()).is_err());
    }

    #[test]
    fn place_is_1_to_20_digits_within_64_bits(text in "[0-9]{0,22}|[+-]?[0-9a-f_ ]{1,4}|.*") {
        let legal = (1..=20).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse::<u128>().is_ok_and(|n| n <= u128::from(u64::MAX));
        prop_assert_eq!(text.parse::<Position>().is_ok(), legal);
        prop_assert_eq!(text.parse::<Seq>().is_ok(), legal);
    }

    #[test]
    fn epoch_comes_back_from_its_text(millis: u64, random: u32, other: u32) {
        let epoch = Epoch::from_parts(millis, random);
        prop_assert_eq!(epoch.as_str().len(), Epoch::LEN);
        prop_assert_eq!(epoch.as_str().parse(), Ok(epoch));
        let again = Epoch::from_parts(millis, other);
        prop_assert_eq!(epoch == again, random == other, "all random bits are in it");
        let later = Epoch::from_parts(millis ^ 1, random);
        prop_assert_ne!(epoch, later);
    }

    #[test]
    fn any_text_is_an_epoch_or_an_error(text in "[0-9a-z]{16}|.*") {
        let legal = text.len() == 16
            && text.bytes().all(|b| b.is_ascii_digit() || (b.is_ascii_lowercase() && !b"ilou".contains(&b)));
        prop_assert_eq!(text.parse::<Epoch>().is_ok(), legal);
    }

    #[test]
    fn cursor_comes_back_from_its_text(cursor in cursors()) {
        let text = cursor.to_string();
        prop_assert_eq!(text.parse(), Ok(cursor));
        let json = serde_json::to_string(&cursor).unwrap();
        prop_assert_eq!(serde_json::from_str::<Cursor>(&json).unwrap(), cursor);
    }

    #[test]
    fn cursor_is_what_a_browser_sends_without_a_preflight(cursor in cursors()) {
        let text = cursor.to_string();
        prop_assert!(text.len() <= 128);
        prop_assert!(text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase() || b"._-".contains(&b)));
    }

    #[test]
    fn cursors_of_one_log_sort_as_text(epoch in epochs(), a in numbers(), b in numbers(), scope: u64) {
        let forms: [fn(Epoch, u64, u64) -> Cursor; 3] = [
            |epoch, place, _| Cursor::session(epoch, Position(place)),
            |epoch, place, _| Cursor::bus(epoch, Seq(place)),
            |epoch, place, scope| Cursor::filtered(epoch, Seq(place), scope),
        ];
        for form in forms {
            let (x, y) = (form(epoch, a, scope).to_string(), form(epoch, b, scope).to_string());
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }
    }

    #[test]
    fn unpadded_number_is_accepted(cursor in cursors()) {
        let place = cursor.position().map(|p| p.0).or(cursor.seq().map(|s| s.0)).unwrap();
        let short = cursor.to_string().replacen(&format!("{place:020}"), &place.to_string(), 1);
        prop_assert_eq!(short.parse(), Ok(cursor));
    }

    #[test]
    fn any_text_is_a_cursor_or_malformed(text in damaged()) {
        match text.parse::<Cursor>() {
            Ok(cursor) => prop_assert_eq!(cursor.to_string().parse(), Ok(cursor)),
            Err(refused) => prop_assert_eq!(refused.code(), "invalid_cursor"),
        }
    }

    #[test]
    fn resolve_continues_inside_the_log_and_tells_exactly_what_is_lost(
        epoch in epochs(), ends in [0..40u64, 0..40u64, 0..40u64],
    ) {
        let [a, b, at] = ends;
        let (oldest, latest) = (Position(a.min(b)), Position(a.max(b)));
        let cursor = Cursor::session(epoch, Position(at));
        let resolved = cursor.resolve(epoch, oldest, latest);
        if at > latest.0 {
            let latest = Cursor::session(epoch, latest);
            prop_assert_eq!(resolved, Err(CursorError::Ahead { latest }));
            return Ok(());
        }
        prop_assert_eq!(resolved, Ok(Position(at)));
        let lost: Vec<u64> = (at..oldest.0).collect();
        match Gap::expired(cursor, oldest, false) {
            None => prop_assert!(lost.is_empty()),
            Some(gap) => {
                prop_assert_eq!(gap.ranges.iter().flatten().collect::<Vec<_>>(), lost.clone());
                prop_assert_eq!(gap.missed, Some(lost.len() as u64));
                prop_assert_eq!(gap.resumes_at, Cursor::session(epoch, oldest));
                prop_assert_eq!(gap.requested, Some(cursor));
            }
        }
    }
}

/// Cursors with a character taken out, put in or replaced, and text of their alphabet.
fn damaged() -> impl Strategy<Value = String> {
    let hurt = (cursors(), any::<prop::sample::Index>(), ".?", any::<bool>()).prop_map(
        |(cursor, at, with, keep)| {
            let mut text = cursor.to_string();
            let at = at.index(text.len());
            text.replace_range(at..at + usize::from(!keep), &with);
            text
        },
    );
    prop_oneof![hurt, "[0-9a-z._-]{0,140}", ".*"]
}

fn epoch() -> Epoch {
    Epoch::from_parts(1_700_000_000_000, 1)
}

fn at(position: u64) -> Cursor {
    Cursor::session(epoch(), Position(position))
}

/// A log that holds the positions 10 to 19.
fn resolve(cursor: Cursor) -> Result<Position, CursorError> {
    cursor.resolve(epoch(), Position(10), Position(20))
}

#[test]
fn cursor_inside_the_window_continues_after_it() {
    assert_eq!(resolve(at(15)), Ok(Position(15)));
    assert_eq!(Gap::expired(at(15), Position(10), false), None);
}

#[test]
fn cursor_at_the_end_waits_for_the_next_event() {
    assert_eq!(resolve(at(20)), Ok(Position(20)));
}

#[test]
fn cursor_beyond_the_end_is_ahead_and_told_where_the_end_is() {
    let refused = resolve(at(21)).unwrap_err();
    assert_eq!(refused, CursorError::Ahead { latest: at(20) });
    assert_eq!(refused.code(), "cursor_ahead");
}

/// 003-D19: whoever read up to the last event that is gone has missed nothing.
#[test]
fn cursor_exactly_at_the_oldest_event_has_no_gap_and_one_before_has_one_event() {
    assert_eq!(resolve(at(10)), Ok(Position(10)));
    assert_eq!(Gap::expired(at(10), Position(10), false), None);

    assert_eq!(resolve(at(9)), Ok(Position(9)));
    let gap = Gap::expired(at(9), Position(10), false).unwrap();
    assert_eq!(gap.reason, GapReason::Expired);
    assert_eq!(gap.ranges.as_slice(), [(9, 9)]);
    assert_eq!(gap.missed, Some(1));
    assert_eq!(gap.resumes_at, at(10));
}

#[test]
fn filtered_reader_gets_the_range_of_a_gap_but_no_count() {
    let gap = Gap::expired(at(4), Position(10), true).unwrap();
    assert_eq!(gap.ranges.as_slice(), [(4, 9)]);
    assert_eq!(gap.missed, None);
}

#[test]
fn cursor_of_another_epoch_is_told_where_the_log_starts() {
    let other = Cursor::session(Epoch::from_parts(1_700_000_000_000, 2), Position(15));
    let refused = resolve(other).unwrap_err();
    assert_eq!(refused, CursorError::EpochMismatch { start: at(10) });
    assert_eq!(refused.code(), "cursor_epoch_mismatch");
}

#[test]
fn bus_cursor_is_never_a_place_in_a_session() {
    for cursor in [
        Cursor::bus(epoch(), Seq(15)),
        Cursor::filtered(epoch(), Seq(15), 7),
    ] {
        let refused = resolve(cursor).unwrap_err();
        assert_eq!(refused.code(), "cursor_scope_mismatch");
        let CursorError::ScopeMismatch { expected, got } = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((expected, got), (Scope::Session, cursor.scope()));
        assert_eq!((cursor.position(), cursor.seq()), (None, Some(Seq(15))));
        assert_eq!(Gap::expired(cursor, Position(20), false), None);
    }
    assert_eq!(
        (at(15).position(), at(15).seq()),
        (Some(Position(15)), None)
    );
}

#[test]
fn damaged_cursors_are_malformed() {
    let good = at(42).to_string();
    for text in [
        "",
        ".",
        "earliest",
        "42",
        epoch().as_str(),
        &format!("{}.", epoch()),
        &format!("{}.-1", epoch()),
        &format!("{}.+1", epoch()),
        &format!("{}.18446744073709551616", epoch()),
        &format!("{}.000000000000000000001", epoch()),
        &good[1..],
        &good.to_uppercase(),
        &format!(" {good}"),
        &format!("{good}\n"),
        &format!("{good}."),
        &format!("{good}.ALL"),
        &format!("{good}.session"),
        &format!("{good}.all.all"),
        &format!("{good}.0123456789abcde"),
        &format!("{good}.0123456789abcdef0"),
        &format!("{good}.0123456789ABCDEF"),
        &format!("{good}.+123456789abcdef"),
        &format!("{good}.{}", "0".repeat(200)),
    ] {
        let refused = text.parse::<Cursor>().unwrap_err();
        assert_eq!(refused.code(), "invalid_cursor", "{text:?}");
    }
}

#[test]
fn start_means_the_position_that_it_names() {
    let resolve = |start: Start| start.resolve(epoch(), Position(10), Position(20));
    assert_eq!(resolve(Start::Earliest), Ok(Position(10)));
    assert_eq!(resolve(Start::default()), Ok(Position(10)));
    assert_eq!(resolve(Start::Latest), Ok(Position(20)));
    assert_eq!(resolve(Start::At(Position(15))), Ok(Position(15)));
    assert_eq!(resolve(Start::After(at(15))), Ok(Position(15)));
    assert_eq!(resolve(Start::At(Position(3))), Ok(Position(3)));
    assert_eq!(resolve(Start::At(Position(20))), Ok(Position(20)));
    for start in [Start::At(Position(21)), Start::After(at(21))] {
        assert_eq!(resolve(start).unwrap_err().code(), "cursor_ahead");
    }
    let other = Cursor::session(Epoch::from_parts(0, 0), Position(15));
    let refused = resolve(Start::After(other)).unwrap_err();
    assert_eq!(refused.code(), "cursor_epoch_mismatch");
    let refused = resolve(Start::After(Cursor::bus(epoch(), Seq(15)))).unwrap_err();
    assert_eq!(refused.code(), "cursor_scope_mismatch");
}

#[test]
fn places_stop_at_the_end_of_the_64_bit_range() {
    assert_eq!(Position(u64::MAX).next(), Position(u64::MAX));
    assert_eq!(Position(u64::MAX - 1).plus(5), Position(u64::MAX));
    assert_eq!(Seq(3).next().plus(2), Seq(6));
    assert_eq!(Position(3).since(Position(5)), 0);
    assert_eq!(Position(5).since(Position(3)), 2);
}

#[test]
fn gap_of_a_cursor_that_cannot_be_followed_says_where_to_go_on() {
    let gap = Gap::unfollowable(GapReason::UnknownCursor, None, at(10));
    assert!(gap.ranges.is_empty());
    assert_eq!((gap.missed, gap.requested, gap.repair), (None, None, None));
    assert_eq!(gap.resumes_at, at(10));
}
