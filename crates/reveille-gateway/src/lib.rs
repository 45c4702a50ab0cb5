//! The HTTP server as a library: any language publishes, waits, streams, resumes and cancels.
//!
//! [`Gateway`] is the sessions and signals of a process seen through HTTP; [`Gateway::router`] is an
//! axum router that can be mounted anywhere, and [`serve`] an accept loop with the time-outs that a
//! server needs, which ends all streams in an orderly way. The wire contract is in the repository's
//! `docs/wire.md`.
//!
//! Cursors are opaque text here: this crate moves them and never makes one up. Storage, waiting and
//! consumption are the queue's business. Who may do what is said by an [`Authorizer`]; without one a
//! gateway serves loopback addresses only and turns away requests whose `Host` or `Origin` is another.

mod config;
mod direct;
mod gateway;
mod routes;
mod server;

mod admission;
mod auth;
mod browser;
mod forwarded;
mod guard;
mod head;
mod metrics;
mod observe;
mod replay;
mod resource;
mod soft_errors;

mod address;
mod body;
mod json_shape;
mod page;
mod params;
mod problem;

mod bus_events;
mod connections;
mod consume;
mod groups;
mod limits;
mod manage;
mod modes;
mod notify;
mod openapi;
mod publish;
mod read;
mod signals;
mod status;
mod task_paths;
mod wait;
mod waiting;

mod due;
mod fan_out;
mod feed;
mod frames;
mod store_watch;
mod stream;

pub use auth::{
    Action, ApiKeyConfig, AuthConfig, AuthConfigError, AuthError, Authorizer, Grant, Identity,
    IssuerConfig, JwtAlgorithm, NewApiKey, RevokedConfig, Secret, StaticAuthorizer, new_api_key,
};
pub use browser::is_origin;
pub use config::{GatewayConfig, Rate, SignalLimits, StreamLimits, TrafficLimits};
pub use gateway::Gateway;
pub use routes::Route;
pub use server::{
    Certificate, ListenOptions, Listener, ServeError, TlsConfig, bind, bind_admin, serve,
    serve_admin,
};
pub use signals::SignalValue;
