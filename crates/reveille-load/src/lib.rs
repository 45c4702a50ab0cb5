//! Load for servers of events: many readers of server-sent events, publishers on connections that stay
//! open, and a report of what came through.
//!
//! A [`Target`] says how a server is spoken to: a gateway, or any other server that streams what is
//! posted to it, so that they can be compared. A [`Plan`] says how many read and publish.
//! [`Load::connect`] opens the streams and [`Load::run`] publishes at a [`Pace`] for a while; its
//! [`Report`] has rates, latencies from the publisher's stamp to the reader's parser, and what is
//! missing or came twice.
//!
//! One thread and one poll serve all connections, so that the load costs little beside what it
//! measures. It speaks plain HTTP/1.1, knows nothing of how any server works inside, and stands on no
//! other crate of Reveille.

mod error;
mod plan;

mod alarm;
mod body;
mod frames;
mod publisher;
mod reader;
mod seen;
mod stamp;

mod connecting;
mod counts;
mod load;
mod report;

pub use error::LoadError;
pub use load::Load;
pub use plan::{Pace, Plan, Target, raise_file_limit};
pub use report::{Latency, Report};
