//! Where servers listen that tests start.

use std::net::{Ipv4Addr, TcpListener};

/// A port of loopback that was free just now. Somebody else may take it before the server does.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    free.local_addr().unwrap().port()
}
