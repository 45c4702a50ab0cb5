//! Which filters an event matches: found by what the event has, not by asking every filter.
//!
//! Each filter stands under a few anchors, of which every event that it matches has at least one: the
//! values of the field that tells events apart best, or its kinds. Exact kinds and other values are
//! looked up by hash, patterns over kinds by walking a tree of their segments. A filter that asks for
//! nothing but its anchor is known to match when it is found; any other is asked, once per event.
//!
//! Looking up costs a hash for each value that the event has in a field that somebody asks for, and a
//! step for each filter that is found, however many filters there are.

mod marks;
mod patterns;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use foldhash::fast::RandomState;
use reveille_types::{Event, Filter, FilterField, Pattern};
use slab::Slab;

use marks::{Mark, Marks, Place};
use patterns::Patterns;

/// Something by a text. Its hash is several times as fast as the standard one and seeded at random:
/// who wants to slow lookups down has to choose texts without knowing the seed.
type ByText = HashMap<Box<str>, usize, RandomState>;

/// Names a filter in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexKey(usize);

/// Filters, each with a value for whom it concerns.
#[derive(Debug)]
pub(super) struct Index<T> {
    entries: Slab<Entry>,
    /// The filters under each anchor; never empty.
    lists: Slab<Marks<T>>,
    everything: Option<usize>,
    by_value: [ByText; FilterField::ALL.len()],
    by_pattern: Patterns,
    /// Counts lookups, so that no filter is found twice in one.
    lookup: u64,
    /// The lists that a lookup has found; empty in between.
    found: Vec<usize>,
}

#[derive(Debug)]
struct Entry {
    filter: Filter,
    /// Where it stands, one place for each of its anchors, in their order.
    places: Vec<Place>,
    /// The lookup that has found it last.
    seen: u64,
    /// Whether its anchors are all that it asks for.
    is_anchored: bool,
}

/// What every event has that matches a filter; one of several.
#[derive(Debug, Clone, Copy)]
enum Anchor<'a> {
    Everything,
    Value(FilterField, &'a str),
    Pattern(&'a Pattern),
}

/// The anchors of a filter, always in the same order.
fn anchors(filter: &Filter) -> Vec<Anchor<'_>> {
    let by_kind = |pattern| match Pattern::is_exact(pattern) {
        true => Anchor::Value(FilterField::Kind, pattern.as_str()),
        false => Anchor::Pattern(pattern),
    };
    let kinds = filter.kinds();
    match filter.index() {
        // Few values that many events share: even a wildcard tells them apart better.
        Some((
            FilterField::Namespace | FilterField::Privacy | FilterField::Final | FilterField::Class,
            _,
        ))
        | None
            if !kinds.is_empty() =>
        {
            kinds.iter().map(by_kind).collect()
        }
        Some((field, values)) => {
            let anchor = |value| Anchor::Value(field, value);
            values.into_iter().map(anchor).collect()
        }
        None => vec![Anchor::Everything],
    }
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self {
            entries: Slab::new(),
            lists: Slab::new(),
            everything: None,
            by_value: Default::default(),
            by_pattern: Patterns::default(),
            lookup: 0,
            found: Vec::new(),
        }
    }
}

impl<T: Copy> Index<T> {
    /// Adds a filter.
    pub(super) fn insert(&mut self, filter: Filter, value: T) -> IndexKey {
        let anchors = anchors(&filter);
        let is_anchored = match anchors[..] {
            [Anchor::Everything] => filter.is_all(),
            _ => filter.fields() == 1,
        };
        // An event may have a tag twice.
        let found_once = match anchors[..] {
            [Anchor::Value(field, _)] => field != FilterField::Tag,
            [_] => true,
            _ => false,
        };
        let entry = self.entries.vacant_key();
        let mut places = Vec::with_capacity(anchors.len());
        for (nth, anchor) in anchors.into_iter().enumerate() {
            let list = self.list_of(anchor);
            let mark = Mark {
                value,
                entry,
                nth,
                is_certain: is_anchored && found_once,
            };
            let at = self.lists[list].push(mark);
            places.push(Place { list, at });
        }
        self.entries.insert(Entry {
            filter,
            places,
            seen: 0,
            is_anchored,
        });
        IndexKey(entry)
    }

    /// Takes a filter out.
    pub(super) fn remove(&mut self, key: IndexKey) -> Option<Filter> {
        let entry = self.entries.try_remove(key.0)?;
        for (anchor, place) in anchors(&entry.filter).into_iter().zip(entry.places) {
            let marks = &mut self.lists[place.list];
            if let Some((moved, nth)) = marks.swap_remove(place.at) {
                // A filter stands under each anchor once, so that this is another filter.
                self.entries[moved].places[nth].at = place.at;
            }
            if marks.is_empty() {
                self.lists.remove(place.list);
                self.forget(anchor);
            }
        }
        Some(entry.filter)
    }

    /// Calls `each` once for every filter that the event matches. Gives how many were looked at.
    pub(super) fn lookup(&mut self, event: &Event, mut each: impl FnMut(T)) -> usize {
        self.lookup += 1;
        let found = &mut self.found;
        found.extend(self.everything);
        for field in FilterField::ALL {
            let by_value = &self.by_value[field as usize];
            if !by_value.is_empty() {
                field.any_value(event, |value| {
                    found.extend(by_value.get(value));
                    false
                });
            }
        }
        self.by_pattern.lookup(event.kind(), found);
        let mut visits = 0;
        for list in self.found.drain(..) {
            let marks = self.lists[list].as_slice();
            visits += marks.len();
            for mark in marks {
                if mark.is_certain {
                    each(mark.value);
                    continue;
                }
                let entry = &mut self.entries[mark.entry];
                let is_first = std::mem::replace(&mut entry.seen, self.lookup) != self.lookup;
                if is_first && (entry.is_anchored || entry.filter.matches(event)) {
                    each(mark.value);
                }
            }
        }
        visits
    }

    /// The list under an anchor, which is made if there is none.
    fn list_of(&mut self, anchor: Anchor<'_>) -> usize {
        let lists = &mut self.lists;
        let make = || lists.insert(Marks::default());
        match anchor {
            Anchor::Everything => *self.everything.get_or_insert_with(make),
            Anchor::Pattern(pattern) => *self.by_pattern.list(pattern).get_or_insert_with(make),
            Anchor::Value(field, value) => {
                let by_value = &mut self.by_value[field as usize];
                *by_value.entry(value.into()).or_insert_with(make)
            }
        }
    }

    /// Forgets an anchor under which nothing stands any more.
    fn forget(&mut self, anchor: Anchor<'_>) {
        match anchor {
            Anchor::Everything => self.everything = None,
            Anchor::Pattern(pattern) => self.by_pattern.remove(pattern),
            Anchor::Value(field, value) => {
                self.by_value[field as usize].remove(value);
            }
        }
    }
}
