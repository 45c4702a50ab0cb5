//! The scripts: each operation on a log is one, so that it happens in one step or not at all.

use std::sync::LazyLock;

use redis::Script;

/// A script, and whether what it does has to outlive the next starts of the server.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) script: LazyLock<Script>,
    pub(crate) writes: bool,
}

macro_rules! script {
    ($(#[$doc:meta])* $name:ident, writes: $writes:literal, $file:literal) => {
        $(#[$doc])*
        pub(crate) static $name: Operation = Operation {
            script: LazyLock::new(|| {
                Script::new(concat!(include_str!("scripts/log.lua"), include_str!($file)))
            }),
            writes: $writes,
        };
    };
}

script! {
    /// Gives batches their places, or says why not.
    APPEND, writes: true, "scripts/append.lua"
}
script! {
    /// Finds or makes a log.
    OPEN, writes: true, "scripts/open.lua"
}
script! {
    /// Reads events of one incarnation.
    READ, writes: false, "scripts/read.lua"
}
script! {
    /// What is known of one incarnation.
    INFO, writes: false, "scripts/info.lua"
}
script! {
    /// Ends a log.
    SEAL, writes: true, "scripts/seal.lua"
}
script! {
    /// The epoch of a tenant's order, which begins with it.
    BEGIN, writes: true, "scripts/begin.lua"
}
script! {
    /// Reads events of all logs of a tenant.
    ORDER, writes: false, "scripts/order.lua"
}
script! {
    /// Drops events from the front.
    TRIM, writes: true, "scripts/trim.lua"
}
script! {
    /// Deletes a log, whatever its incarnation, or if it is this one.
    REMOVE, writes: true, "scripts/remove.lua"
}
