//! Lists and infos.

use reveille_queue::{ListOptions, SessionOptions, Sessions};
use reveille_types::{EndReason, Tenant, wire::SessionState};

use crate::support::{append, create, key, sessions};

fn pages(sessions: &Sessions, mut options: ListOptions, between: impl Fn()) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    loop {
        let page = sessions.list(&Tenant::default_tenant(), &options);
        pages.push(page.sessions.into_iter().map(|info| info.session).collect());
        match page.next_page {
            Some(next) => options.page = Some(next),
            None => return pages,
        }
        between();
    }
}

#[tokio::test]
async fn d001_31_pages_are_stable_while_sessions_come() {
    let sessions = sessions();
    for n in 0..25 {
        create(&sessions, &format!("s{n:02}"), SessionOptions::default());
    }
    let came = std::cell::Cell::new(0);
    let listed = pages(&sessions, ListOptions::first(10), || {
        // Before everything that is listed from now on.
        came.set(came.get() + 1);
        create(
            &sessions,
            &format!("a{}", came.get()),
            SessionOptions::default(),
        );
    });
    assert_eq!(listed.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    let all: Vec<String> = listed.into_iter().flatten().collect();
    assert!(all.is_sorted() && all[0] == "s00" && all[24] == "s24");
}

#[tokio::test]
async fn d001_31_list_can_be_of_one_state_and_namespace() {
    let sessions = sessions();
    for n in 0..4 {
        let log = create(&sessions, &format!("s{n}"), SessionOptions::default());
        if n % 2 == 0 {
            log.close(None).await.unwrap();
        }
    }
    create(&sessions, "run/r", SessionOptions::default());
    let mut ended = ListOptions::first(1);
    ended.state = Some(SessionState::Ended);
    assert_eq!(pages(&sessions, ended, || ()), [["s0"], ["s2"]]);
    let mut runs = ListOptions::first(9);
    runs.namespace = Some(key("run/r").namespace);
    assert_eq!(pages(&sessions, runs, || ()), [["run/r"]]);
    let other = Tenant::parse("b").unwrap();
    assert!(
        sessions
            .list(&other, &ListOptions::first(9))
            .sessions
            .is_empty()
    );
}

#[tokio::test]
async fn d001_31_info_tells_what_there_is() {
    let options = SessionOptions::default().max_events(3);
    let log = create(&sessions(), "s", options);
    append(&log, &["a"; 5]);
    log.cancel(Some("enough"), None).await.unwrap();
    log.close(Some("done")).await.unwrap();
    let info = log.info();
    assert_eq!((info.oldest, info.latest), (log.oldest(), log.latest()));
    assert_eq!((info.retained, info.dropped, info.max_events), (3, 3, 3));
    assert_eq!(
        (info.state, info.reason),
        (SessionState::Ended, Some(EndReason::Closed))
    );
    assert_eq!(info.message.as_deref(), Some("done"));
    assert_eq!(info.cancel.unwrap().reason.as_deref(), Some("enough"));
    assert!(info.ended_at.is_some() && info.expires_at > info.ended_at);
}
