//! The backend keeps the contract, whatever the server keeps.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use common::server::Server;
use reveille_backend::Backend;
use reveille_nats::{NatsBackend, Storage};

thread_local! {
    /// The server of the test that runs on this thread, which outlives all its handles.
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

async fn fresh() -> Arc<dyn Backend> {
    let server = Server::start();
    let backend = common::backend(&server.url()).await;
    SERVER.replace(Some(server));
    Arc::new(backend)
}

reveille_testkit::backend_conformance!(nats_keeps_the_contract, fresh);

/// A server that is killed and started again each time the store is opened.
fn restarted(storage: Storage) -> impl AsyncFn() -> Arc<dyn Backend> {
    let server: Mutex<Option<Server>> = Mutex::new(None);
    async move || {
        let url = {
            let mut server = server.lock().unwrap();
            if let Some(server) = &mut *server {
                server.kill();
                server.start_again();
            }
            server.get_or_insert_with(Server::start).url()
        };
        let mut options = common::options();
        options.storage = storage;
        let connecting = NatsBackend::connect(&url, options);
        Arc::new(connecting.await.unwrap()) as Arc<dyn Backend>
    }
}

fn restarted_with_files() -> impl AsyncFn() -> Arc<dyn Backend> {
    restarted(Storage::File)
}

reveille_testkit::restart_conformance!(nats_with_files_survives_a_kill, restarted_with_files);

fn restarted_in_memory() -> impl AsyncFn() -> Arc<dyn Backend> {
    restarted(Storage::Memory)
}

reveille_testkit::restart_conformance!(nats_in_memory_forgets, restarted_in_memory);
