//! The tests' own server starts, keeps its files over a kill, and is gone when dropped.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::net::TcpStream;

use common::server::Server;

#[tokio::test]
async fn a_killed_server_comes_back_on_its_port() {
    let mut server = Server::start();
    server.kill();
    server.start_again();
    let client = async_nats::connect(server.url()).await.unwrap();
    let info = client.server_info();
    assert!(info.jetstream, "JetStream is on");
    let port = server.port();
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
