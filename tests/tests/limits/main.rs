//! Each limit below itself, at itself and above itself: what is documented is answered, and another
//! tenant notices nothing.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod addresses;
mod known;
mod requests;
mod tenants;
