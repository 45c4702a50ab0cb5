//! Every public future may be dropped at any point: it leaves no waiter, and what it changes is changed
//! wholly or not at all. A public async function that has no case here fails [`listed`].

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

/// One test for each case, and the list of what the cases are about: the file below `crates`, and the
/// function, or the future or stream.
macro_rules! cases {
    ($($name:ident drops $($what:literal),+ $body:block)+) => {
        /// What the cases of this module are about.
        pub(crate) const DROPPED: &[&str] = &[$($($what),+),+];

        $(
            #[test]
            fn $name() {
                reveille_testkit::on_each_runtime(async || $body);
            }
        )+
    };
}

mod bus;
mod bus_tasks;
mod client;
mod core;
mod gateway;
mod listed;
mod queue;
mod signals;
mod stored;
mod stored_groups;
mod yielding;
