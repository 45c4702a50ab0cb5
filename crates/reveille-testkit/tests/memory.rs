//! The default backend keeps the contract.

use std::sync::Arc;

use reveille_backend::Backend;
use reveille_memory::MemoryBackend;

async fn memory() -> Arc<dyn Backend> {
    Arc::new(MemoryBackend::new())
}

reveille_testkit::backend_conformance!(memory_keeps_the_contract, memory);

fn restarted() -> impl AsyncFn() -> Arc<dyn Backend> {
    async || memory().await
}

reveille_testkit::restart_conformance!(memory_is_gone_after_a_restart, restarted);
