//! What the crate takes from tokio, in one place: timers, tasks, and their synchronisation.
//!
//! In a model there is no runtime. There a time-out may fire as soon as there is nothing to be had,
//! tasks never run, and nobody is told of a reminder.

#[cfg(not(loom))]
mod provided {
    use std::time::Instant;

    pub(crate) use tokio::sync::{Mutex, Notify, RwLock};
    pub(crate) use tokio::task::AbortHandle;
    pub(crate) use tokio::time::{sleep, timeout};

    /// Runs a task.
    pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        tokio::spawn(task).abort_handle()
    }

    /// Runs a task, and waits for it; none if the runtime ends. The task goes on when the wait is dropped,
    /// and drops what it answers.
    pub(crate) async fn run<T: Send + 'static>(
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        tokio::spawn(task).await.ok()
    }

    /// As [`spawn`], unless there is no runtime (any more).
    pub(crate) fn spawn_if_running(task: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(task);
        }
    }

    /// The time of tokio's timers.
    pub(crate) fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

#[cfg(loom)]
mod provided {
    use std::future::{pending, poll_fn};
    use std::pin::pin;
    use std::task::Poll;
    use std::time::{Duration, Instant};

    #[derive(Debug, Default)]
    pub(crate) struct Notify;

    impl Notify {
        pub(crate) fn notify_one(&self) {}

        pub(crate) fn notify_waiters(&self) {}

        pub(crate) async fn notified(&self) {
            pending::<()>().await;
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(T);

    impl<T> Mutex<T> {
        pub(crate) async fn lock(&self) -> &T {
            &self.0
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(T);

    impl<T> RwLock<T> {
        pub(crate) async fn read(&self) -> &T {
            &self.0
        }

        pub(crate) async fn write(&self) -> &T {
            &self.0
        }
    }

    #[derive(Debug)]
    pub(crate) struct AbortHandle;

    impl AbortHandle {
        pub(crate) fn abort(&self) {}
    }

    pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        drop(task);
        AbortHandle
    }

    pub(crate) async fn run<T>(task: impl Future<Output = T>) -> Option<T> {
        Some(task.await)
    }

    pub(crate) fn spawn_if_running(task: impl Future<Output = ()> + Send + 'static) {
        drop(task);
    }

    pub(crate) fn now() -> Instant {
        Instant::now()
    }

    pub(crate) async fn sleep(_: Duration) {
        pending::<()>().await;
    }

    /// Gives up when the other threads have had a chance.
    pub(crate) async fn timeout<F: Future>(_: Duration, future: F) -> Result<F::Output, ()> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => {
                loom::thread::yield_now();
                Poll::Ready(Err(()))
            }
        })
        .await
    }
}

pub(crate) use provided::*;
