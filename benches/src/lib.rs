//! What the benchmarks share: how they measure, and what they measure.
//!
//! Each program in `src/bin` prints lines of four fields with tabs between them: the row, the
//! unit, the contender and its value. `cargo xtask bench` makes tables of them. The programs named
//! `*_time` have the plain allocator; those named `*_alloc` have one that counts.
//!
//! - [`brokers`] servers of their own for the backends that several processes share
//! - [`harness`] samples, medians, and polling by hand
//! - [`one_shot`] Reveille's signals and what else completes once, behind one trait
//! - [`sessions`] Reveille's sessions on the default backend
//! - [`naive`] the design of two maps behind two locks, as a peer of the sessions
//! - [`figures`] samples of contenders that are measured one after the other
//! - [`server`] servers as processes, Reveille's and others

pub mod brokers;
pub mod figures;
pub mod harness;
pub mod naive;
pub mod one_shot;
pub mod server;
pub mod sessions;
