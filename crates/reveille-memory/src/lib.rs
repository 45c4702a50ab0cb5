//! The default backend: session logs in memory, gone with the process.
//!
//! [`MemoryBackend`] is [immediate](reveille_backend::ImmediateLog): it gives events their places
//! inside the session's own critical section and stores nothing, because the session's window is the
//! log. What it keeps is the order of each tenant (one counter) and the idempotency keys of the last
//! ten minutes. Each open makes a new incarnation, so that a cursor from before is recognised.
//!
//! [`MemoryArchive`] keeps what a bus has shown, within its bounds.
//!
//! Both never wait, never read a clock and need no runtime.

mod archive;
mod backend;
mod idempotency;

pub use archive::MemoryArchive;
pub use backend::MemoryBackend;
pub use idempotency::{KEYS_PER_TENANT, WINDOW};
