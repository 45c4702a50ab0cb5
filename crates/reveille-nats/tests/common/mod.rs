//! A server of the test's own.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod server;
