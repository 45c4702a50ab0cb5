//! The default backend keeps the contract.

use std::sync::Arc;

use reveille_backend::Backend;
use reveille_memory::MemoryBackend;

async fn memory() -> Arc<dyn Backend> {
    Arc::new(MemoryBackend::new())
}

reveille_testkit::backend_conformance!(memory_keeps_the_contract, memory);
