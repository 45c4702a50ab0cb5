//! The gateway's own futures.

use std::net::SocketAddr;

use reveille_gateway::{Gateway, GatewayConfig, bind, serve};
use reveille_memory::MemoryBackend;
use reveille_queue::{Sessions, TailLimits};
use reveille_testkit::dropped_at_each_poll;
use tokio::sync::Notify;

fn any_port() -> SocketAddr {
    // An address of its own, so that no other test takes a port that was free a moment ago.
    SocketAddr::from(([127, 0, 0, 77], 0))
}

cases! {
    port_is_bound_or_free drops "gateway/src/server.rs bind" {
        dropped_at_each_poll(
            async || {
                // A port that was free a moment ago.
                let listener = bind(any_port()).await.unwrap();
                listener.local_addr().unwrap()
            },
            async |address| bind(*address).await.is_ok(),
            async |_, _| (),
            async |address, _| assert!(bind(*address).await.is_ok()),
        )
        .await;
    }

    server_that_is_dropped_frees_its_port drops "gateway/src/server.rs serve" {
        dropped_at_each_poll(
            async || (bind(any_port()).await.unwrap().local_addr().unwrap(), Notify::new()),
            async |(address, stop)| {
                let sessions = Sessions::builder(MemoryBackend::new())
                    .tail(TailLimits::default())
                    .build();
                let gateway = Gateway::new(sessions, GatewayConfig::default());
                let listener = bind(*address).await.unwrap();
                serve(listener, gateway, stop.notified()).await;
            },
            async |(_, stop), _| stop.notify_one(),
            async |(address, _), _| assert!(bind(*address).await.is_ok()),
        )
        .await;
    }
}
