//! A place to put events at.

use std::sync::Arc;

use reveille_types::{Epoch, Place, Position, Seq};

pub fn first() -> Place {
    Place {
        session: Arc::new("acme/session/s1".parse().unwrap()),
        epoch: Epoch::from_parts(1_700_000_000_000, 1),
        position: Position(0),
        seq: Seq(1),
    }
}
