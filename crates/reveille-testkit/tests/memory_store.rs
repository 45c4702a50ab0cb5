//! The store of the tutorial keeps the contract.

use std::sync::Arc;

use reveille_backend::Backend;
use reveille_testkit::MemoryStore;

async fn memory_store() -> Arc<dyn Backend> {
    Arc::new(MemoryStore::new())
}

reveille_testkit::backend_conformance!(memory_store_keeps_the_contract, memory_store);
