//! The backend keeps the contract, whatever the server keeps and whoever has made it.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use common::{Keeps, Make, Server};
use reveille_backend::Backend;
use reveille_redis::RedisBackend;

thread_local! {
    /// The server of the test that runs on this thread, which outlives all its handles.
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

async fn fresh_of(make: Make) -> Arc<dyn Backend> {
    let server = Server::of(make, Keeps::EverySecond);
    let backend = server.backend().await;
    SERVER.replace(Some(server));
    Arc::new(backend)
}

async fn fresh() -> Arc<dyn Backend> {
    fresh_of(Make::Redis).await
}

reveille_testkit::backend_conformance!(redis_keeps_the_contract, fresh);

async fn fresh_valkey() -> Arc<dyn Backend> {
    fresh_of(Make::Valkey).await
}

reveille_testkit::backend_conformance!(valkey_keeps_the_contract, fresh_valkey);

/// A server that is killed and started again each time the store is opened.
fn restarted(make: Make, keeps: Keeps) -> impl AsyncFn() -> Arc<dyn Backend> {
    let server: Mutex<Option<Server>> = Mutex::new(None);
    async move || {
        let url = {
            let mut server = server.lock().unwrap();
            if let Some(server) = &mut *server {
                server.kill();
                server.start_again();
            }
            server.get_or_insert_with(|| Server::of(make, keeps)).url()
        };
        let connecting = RedisBackend::connect(&url, common::options());
        Arc::new(connecting.await.unwrap()) as Arc<dyn Backend>
    }
}

fn restarted_syncing() -> impl AsyncFn() -> Arc<dyn Backend> {
    restarted(Make::Redis, Keeps::Always)
}

reveille_testkit::restart_conformance!(redis_that_syncs_survives_a_kill, restarted_syncing);

fn restarted_valkey() -> impl AsyncFn() -> Arc<dyn Backend> {
    restarted(Make::Valkey, Keeps::Always)
}

reveille_testkit::restart_conformance!(valkey_that_syncs_survives_a_kill, restarted_valkey);

fn restarted_volatile() -> impl AsyncFn() -> Arc<dyn Backend> {
    restarted(Make::Redis, Keeps::Nothing)
}

reveille_testkit::restart_conformance!(redis_without_a_file_forgets, restarted_volatile);
