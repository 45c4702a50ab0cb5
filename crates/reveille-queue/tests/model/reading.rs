//! Waits and subscriptions against the model.

use std::task::Poll;

use futures_util::FutureExt;
use reveille_queue::{ReadError, StreamItem, SubscribeOptions, WaitOptions, WaitOutcome};
use reveille_types::{Gap, Position, Start};
use tokio_test::task;

use crate::ops::{Want, filter, wants};
use crate::{Reader, Run};

impl Run {
    pub(crate) fn wait(&mut self, want: Want, from: u64) {
        let options = WaitOptions::any(filter(want)).from(Start::At(Position(from)));
        let outcome = self.log.wait(options).now_or_never();
        if from > self.kinds.len() as u64 {
            let Some(Err(ReadError::Cursor(_))) = outcome else {
                panic!("beyond the end");
            };
            return;
        }
        let start = self.oldest.max(from as usize);
        let hit = (start..self.kinds.len()).find(|p| wants(want, self.kinds[*p]));
        let lost = self.oldest.saturating_sub(from as usize) as u64;
        let check = |gap: Option<Gap>| {
            let told = gap.map_or(0, |gap| gap.ranges.count());
            assert_eq!(told, lost);
        };
        match outcome.map(Result::unwrap) {
            Some(WaitOutcome::Matched { events, gap, .. }) => {
                assert_eq!(events[0].position().0, hit.unwrap() as u64);
                check(gap);
            }
            Some(WaitOutcome::Ended { reason, gap, .. }) => {
                assert_eq!(hit, None);
                assert_eq!(Some(reason), self.ended.map(|(reason, _)| reason));
                check(gap);
            }
            Some(WaitOutcome::TimedOut { .. }) => panic!("no time-out was given"),
            None => assert!(hit.is_none() && self.ended.is_none()),
        }
    }

    pub(crate) fn subscribe(&mut self, want: Want, from: u64) {
        if self.readers.len() == 4 {
            self.readers.remove(0);
        }
        let options = SubscribeOptions::from(Start::At(Position(from))).matching(filter(want));
        let subscription = self.log.subscribe(options);
        if from > self.kinds.len() as u64 {
            assert!(subscription.is_err());
            return;
        }
        self.readers.push(Reader {
            want,
            subscription: task::spawn(subscription.unwrap()),
            next: from,
            delivered: 0,
            missed: 0,
            began: from,
            idle_at: None,
        });
    }

    pub(crate) fn read(&mut self, n: usize) {
        let Some(reader) = self.readers.get_mut(n) else {
            return;
        };
        loop {
            let item = reader.subscription.enter(|cx, mut s| s.poll_item(cx));
            let skipped = |from: u64, to: u64| {
                let passed = &self.kinds[from as usize..to as usize];
                assert!(
                    !passed.iter().any(|kind| wants(reader.want, *kind)),
                    "an event is missing without a gap"
                );
            };
            match item {
                Poll::Ready(Some(item)) => match item.unwrap() {
                    StreamItem::Event(event) => {
                        let position = event.position().0;
                        skipped(reader.next, position);
                        assert!(wants(reader.want, self.kinds[position as usize]));
                        reader.next = position + 1;
                        reader.delivered += 1;
                    }
                    StreamItem::Gap(gap) => {
                        let [(first, last)] = *gap.ranges.as_slice() else {
                            panic!("a subscription misses one range at a time");
                        };
                        skipped(reader.next, first);
                        assert!(last < self.oldest as u64, "it could have been read");
                        reader.next = last + 1;
                        reader.missed += gap.ranges.count();
                    }
                    StreamItem::CaughtUp(_) => {}
                    StreamItem::Ended { reason, .. } => {
                        assert_eq!(Some(reason), self.ended.map(|(reason, _)| reason));
                    }
                },
                Poll::Ready(None) => {
                    assert!(self.ended.is_some());
                    break;
                }
                Poll::Pending => {
                    assert!(self.ended.is_none());
                    break;
                }
            }
        }
        let latest = self.kinds.len() as u64;
        let passed = &self.kinds[reader.next as usize..];
        assert!(!passed.iter().any(|kind| wants(reader.want, *kind)));
        reader.next = latest;
        reader.idle_at = Some((latest, self.ended.is_some()));
        if reader.want.is_none() {
            assert_eq!(reader.delivered + reader.missed, latest - reader.began);
        }
    }
}
