//! One bus over all sessions of a tenant: filters, bounded subscribers, handlers, history.
//!
//! A [`Bus`] publishes into sessions and reads them all in one order, that of the sequence numbers. A
//! subscriber is a cursor with a lag bound: one that keeps up reads the retained events themselves;
//! one that lags beyond its capacity loses what its policy gives up, and is told exactly what. A handler is a task of its own
//! over such a subscription, so that neither its pace nor its panics reach anybody else. History is a
//! query over what is retained, not a copy.
//!
//! [`EventBus`] is the seam: what layers above need of a bus, object-safe. The bus knows no storage, no
//! HTTP, and never calls anybody's code under a lock.
//!
//! ```
//! use reveille_bus::{Bus, BusItem, BusStart, EventBus, SubscribeOptions};
//! use reveille_memory::MemoryBackend;
//! use reveille_queue::{Sessions, TailLimits};
//! use reveille_types::{EventDraft, Filter, SessionKey, Tenant};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tenant = Tenant::default_tenant();
//! let sessions = Sessions::builder(MemoryBackend::new())
//!     .tail(TailLimits::default())
//!     .build();
//! let bus = Bus::open(sessions, tenant.clone()).await?;
//!
//! let failures = SubscribeOptions::matching(Filter::matching("*.failed")?).from(BusStart::Earliest);
//! let mut failures = bus.subscribe(failures)?;
//! let key = SessionKey::in_tenant(tenant, "nightly")?;
//! bus.publish(key, vec![EventDraft::parse("build.failed")?]).await?;
//!
//! while let Some(item) = failures.next().await {
//!     if let BusItem::Event(frame) = item? {
//!         assert_eq!(frame.event.kind().as_str(), "build.failed");
//!         break;
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod archiving;
mod bus;
mod causes;
mod emit;
mod error;
mod frame;
mod handlers;
mod lag;
mod options;
mod overflow;
mod page;
mod privacy;
mod progress;
mod publisher;
mod registry;
mod replay;
mod subscription;
mod wakes;

pub use archiving::Archiving;
pub use bus::{Bus, EventBus, Published};
pub use emit::Emitted;
pub use error::BusError;
pub use frame::{BusFrame, BusItem, BusSummary};
pub use handlers::{Handler, HandlerError};
pub use options::{BusOptions, BusStart, HandlerOptions, HistoryQuery, SubscribeOptions};
pub use overflow::{Folded, LagBound, Loss, Offer, OverflowMachine, Rank, Turn, Verdict};
pub use page::{BusPage, PageQuery};
pub use privacy::{ByPrivacy, PayloadPolicy, Shown, Subscriber};
pub use registry::{BusStats, SubscriptionId, SubscriptionStats};
pub use subscription::BusSubscription;
pub use wakes::{Wake, WakeCondition, WakeOutcome};
