//! Credentials: where their keys come from, how they are taken back, and what they do not tell.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod foreign;
mod remote_keys;
mod revoked;
