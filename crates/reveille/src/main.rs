//! The `reveille` program.

use std::process::ExitCode;

mod serve;

#[tokio::main]
async fn main() -> ExitCode {
    match serve::Serve::default().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            serve::note(&format!("reveille: {error}"));
            error.exit_code()
        }
    }
}
