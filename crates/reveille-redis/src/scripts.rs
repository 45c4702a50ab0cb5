//! The scripts: each operation on a log is one, so that it happens in one step or not at all.

use std::sync::LazyLock;

use redis::Script;

macro_rules! script {
    ($(#[$doc:meta])* $name:ident, $file:literal) => {
        $(#[$doc])*
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("scripts/log.lua"), include_str!($file)))
        });
    };
}

script! {
    /// Gives batches their places, or says why not.
    APPEND, "scripts/append.lua"
}
script! {
    /// Finds or makes a log.
    OPEN, "scripts/open.lua"
}
script! {
    /// Reads events of one incarnation.
    READ, "scripts/read.lua"
}
script! {
    /// What is known of one incarnation.
    INFO, "scripts/info.lua"
}
script! {
    /// Ends a log.
    SEAL, "scripts/seal.lua"
}
script! {
    /// The epoch of a tenant's order, which begins with it.
    BEGIN, "scripts/begin.lua"
}
script! {
    /// Reads events of all logs of a tenant.
    ORDER, "scripts/order.lua"
}
script! {
    /// Drops events from the front.
    TRIM, "scripts/trim.lua"
}
script! {
    /// Deletes a log, whatever its incarnation, or if it is this one.
    REMOVE, "scripts/remove.lua"
}
