//! Notifying in protobuf: what an agent of another process has to say.

use reveille_types::data::AgentMessage;
use reveille_types::wire::{NotifiedEvent, NotifyRequest};

use crate::client::{ANSWER, Client, send};
use crate::error::ClientError;
use crate::publish::{IDEMPOTENCY_KEY, repeated};

impl Client {
    /// Tells a session, by its name, what an agent has to say: the notification of event queues, in
    /// protobuf, to the server's `POST /events`. Repeats itself like
    /// [`publish`](crate::Session::publish), and is stored once.
    ///
    /// # Errors
    /// [`ClientError`], whatever it is that the server did not take: a notification that fails is never
    /// lost in silence. After one that [is temporary](ClientError::is_temporary) it may be stored or not.
    ///
    /// # Cancel safety
    /// A dropped future has notified or has not.
    pub async fn notify(&self, session: &str, message: AgentMessage) -> Result<(), ClientError> {
        let request = NotifyRequest {
            session: session.to_owned(),
            event: NotifiedEvent::AgentMessage(message),
        };
        let body = request.encode();
        let key = uuid::Uuid::now_v7().to_string();
        repeated(async || {
            let request = self
                .post("events")?
                .timeout(ANSWER)
                .header("content-type", "application/x-protobuf")
                .header(IDEMPOTENCY_KEY, &key)
                .body(body.clone());
            send(request).await.map(drop)
        })
        .await
    }
}
