//! The gateway's own futures.

use std::net::{SocketAddr, TcpListener};

use reveille_gateway::{
    Gateway, GatewayConfig, ListenOptions, bind, bind_admin, serve, serve_admin,
};
use reveille_memory::MemoryBackend;
use reveille_queue::{Sessions, TailLimits};
use reveille_testkit::dropped_at_each_poll;
use tokio::sync::Notify;

/// A port that was free a moment ago.
fn free_port() -> SocketAddr {
    // An address of its own, so that no other test takes the port meanwhile.
    let any = SocketAddr::from(([127, 0, 0, 77], 0));
    TcpListener::bind(any).unwrap().local_addr().unwrap()
}

fn gateway() -> Gateway {
    let sessions = Sessions::builder(MemoryBackend::new())
        .tail(TailLimits::default())
        .build();
    Gateway::new(sessions, GatewayConfig::default())
}

async fn is_free(address: SocketAddr) -> bool {
    bind(address, &gateway(), ListenOptions::default())
        .await
        .is_ok()
}

cases! {
    port_is_bound_or_free drops "gateway/src/server.rs bind" {
        dropped_at_each_poll(
            async || free_port(),
            async |address| is_free(*address).await,
            async |_, _| (),
            async |address, _| assert!(is_free(*address).await),
        )
        .await;
    }

    port_for_operators_is_bound_or_free drops "gateway/src/server.rs bind_admin" {
        dropped_at_each_poll(
            async || free_port(),
            async |address| bind_admin(*address).await.is_ok(),
            async |_, _| (),
            async |address, _| assert!(bind_admin(*address).await.is_ok()),
        )
        .await;
    }

    server_that_is_dropped_frees_its_port drops "gateway/src/server.rs serve" {
        dropped_at_each_poll(
            async || (free_port(), Notify::new()),
            async |(address, stop)| {
                let gateway = gateway();
                let options = ListenOptions::default();
                let listener = bind(*address, &gateway, options).await.unwrap();
                serve(listener, gateway, stop.notified()).await;
            },
            async |(_, stop), _| stop.notify_one(),
            async |(address, _), _| assert!(is_free(*address).await),
        )
        .await;
    }

    server_for_operators_that_is_dropped_frees_its_port
        drops "gateway/src/server.rs serve_admin" {
        dropped_at_each_poll(
            async || (free_port(), Notify::new()),
            async |(address, stop)| {
                let listener = bind_admin(*address).await.unwrap();
                // It serves until it is dropped.
                tokio::select! {
                    () = serve_admin(listener, gateway()) => {}
                    () = stop.notified() => {}
                }
            },
            async |(_, stop), _| stop.notify_one(),
            async |(address, _), _| assert!(is_free(*address).await),
        )
        .await;
    }
}
