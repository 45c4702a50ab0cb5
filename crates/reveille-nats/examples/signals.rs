//! A signal that one process makes and another completes.
//!
//! With a `nats-server` on this machine, in two terminals:
//!
//! ```text
//! cargo run -p reveille-nats --example signals
//! cargo run -p reveille-nats --example signals -- HANDLE 42
//! ```

#![expect(clippy::print_stdout, reason = "the handle is for the other terminal")]

use std::error::Error;

use reveille_core::{SignalHandle, SignalRequest, SignalSystem};
use reveille_nats::{SignalNode, SignalNodeOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let signals = SignalSystem::<u32>::builder();
    let options = SignalNodeOptions::default();
    let node = SignalNode::join("nats://127.0.0.1:4222", signals, options).await?;

    let mut arguments = std::env::args().skip(1);
    if let (Some(handle), Some(value)) = (arguments.next(), arguments.next()) {
        let handle: SignalHandle = handle.parse()?;
        let request = SignalRequest::Trigger(value.parse()?);
        // The owner's answer: done, or why not.
        node.system().request(handle, request).await?;
    } else {
        // Nobody here holds the right to complete it, so whoever has the handle can.
        let handle = node.system().create()?.into_handle();
        println!("signal {handle} waits for a value");
        match node.system().awaiter(handle)?.await {
            Ok(value) => println!("triggered with {value}"),
            Err(poison) => println!("{poison}"),
        }
    }
    node.leave().await;
    Ok(())
}
