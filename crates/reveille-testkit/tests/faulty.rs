//! A faulty backend is sound where nothing is planned, and fails as planned where something is.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;
use std::time::Instant;

use reveille_backend::types::{Epoch, Position, SessionKey, Tenant};
use reveille_backend::{
    AppendError, AppendOptions, Backend, BackendError, Incarnation, LogHandle, OpenOptions,
};
use reveille_memory::MemoryBackend;
use reveille_testkit::{Fault, Faulty, Gate, MemoryStore, Operation};

async fn store() -> Arc<dyn Backend> {
    Arc::new(Faulty::new(MemoryStore::new()))
}

async fn memory() -> Arc<dyn Backend> {
    Arc::new(Faulty::new(MemoryBackend::new()))
}

reveille_testkit::backend_conformance!(store_without_a_fault_keeps_the_contract, store);
reveille_testkit::backend_conformance!(memory_without_a_fault_keeps_the_contract, memory);

async fn open(backend: &impl Backend) -> LogHandle {
    let key = SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap();
    let options = OpenOptions::new(Incarnation::CurrentOrNew, Epoch::from_parts(1, 1));
    backend.open(&key, options).await.unwrap().log
}

#[tokio::test]
async fn an_immediate_append_is_refused_or_loses_its_answer_but_is_never_delayed() {
    let backend = Faulty::new(MemoryBackend::new());
    let LogHandle::Immediate(mut log) = open(&backend).await else {
        panic!("the shape of the sound backend");
    };
    let mut append = |fault| {
        backend.faults().plan(Operation::Append, fault);
        log.try_append(&[], &AppendOptions::at(Instant::now()))
    };
    assert!(matches!(append(Fault::Pass), Ok(slots) if slots.is_empty()));
    assert!(matches!(
        append(Fault::Refuse),
        Err(AppendError::Backend(BackendError::Unavailable { .. }))
    ));
    for fault in [Fault::LoseAnswer, Fault::Tear(1)] {
        assert!(matches!(append(fault), Err(AppendError::OutcomeUnknown)));
    }
    assert!(matches!(
        append(Fault::Delay(Gate::new())),
        Err(AppendError::Backend(BackendError::NotSupported { .. }))
    ));
}

#[tokio::test]
async fn faults_happen_in_the_order_they_were_planned_and_to_their_operation_alone() {
    let backend = Faulty::new(MemoryStore::new());
    let faults = backend.faults().clone();
    for fault in [Fault::Pass, Fault::Refuse] {
        faults.plan(Operation::Health, fault);
    }
    faults.plan(Operation::Info, Fault::Refuse);
    assert!(backend.health().await.is_ok());
    let LogHandle::Stored(log) = open(&backend).await else {
        panic!("the shape of the sound backend");
    };
    assert!(backend.health().await.is_err());
    assert!(backend.health().await.is_ok());
    assert_eq!(faults.outstanding(), 1);
    assert!(log.info().await.is_err());
    assert_eq!(log.info().await.unwrap().latest, Position::START);
}

#[tokio::test]
async fn what_is_delayed_happens_though_the_caller_is_gone() {
    let backend = Faulty::new(MemoryStore::new());
    let key = SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap();
    open(&backend).await;
    let gate = Gate::new();
    backend
        .faults()
        .plan(Operation::Remove, Fault::Delay(gate.clone()));
    tokio::select! {
        biased;
        _ = backend.remove(&key) => panic!("the gate is closed"),
        () = gate.reached() => {}
    }
    let list = reveille_backend::ListOptions::first(1);
    assert_eq!(
        backend
            .list(&key.tenant, list.clone())
            .await
            .unwrap()
            .keys
            .len(),
        1
    );
    gate.open();
    while !backend
        .list(&key.tenant, list.clone())
        .await
        .unwrap()
        .keys
        .is_empty()
    {
        tokio::task::yield_now().await;
    }
}
