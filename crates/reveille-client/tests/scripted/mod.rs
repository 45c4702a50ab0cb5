//! A server that does exactly what a test says, one request at a time: it breaks off in the middle,
//! falls silent, or answers like a proxy.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unreachable_pub, reason = "shared by test files")]

use std::time::Duration;

use reveille_client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long a test waits for what must happen before it fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A place in the log of one incarnation of the server.
pub fn cursor(position: u64) -> String {
    format!("01jx3k9q7m4t8w2p.{position:020}")
}

/// A place in the log of the next incarnation.
pub fn later_cursor(position: u64) -> String {
    format!("01jx3k9q7m4t8w3q.{position:020}")
}

pub fn event(kind: &str, cursor: &str) -> String {
    format!(r#"{{"specversion":"1.0","type":"{kind}","reveillecursor":"{cursor}"}}"#)
}

pub fn open(cursor: &str, heartbeat_ms: u64) -> String {
    format!(
        r#"{{"reveille.open":{{"connection":"c","session":"s","cursor":"{cursor}","oldest":"{cursor}","latest":"{cursor}","resumed":true,"state":"open","heartbeat_ms":{heartbeat_ms},"expires_at":null}}}}"#
    )
}

pub fn gap(resumes_at: &str) -> String {
    format!(
        r#"{{"reveille.gap":{{"reason":"unknown_cursor","ranges":[],"missed":null,"requested":null,"resumes_at":"{resumes_at}","repair":null}}}}"#
    )
}

pub fn problem(status: u16, code: &str, retry_after_ms: Option<u64>) -> String {
    let retry_after_ms = retry_after_ms.map_or("null".to_owned(), |ms| ms.to_string());
    format!(
        r#"{{"type":"urn:reveille:problem:{code}","title":"T","status":{status},"code":"{code}","retry_after_ms":{retry_after_ms}}}"#
    )
}

/// Waits for `future`, and fails the test when it takes too long.
pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it happens in time")
}

/// A client of a server that is not there: a free port could become that of another test.
pub fn nobody() -> Client {
    Client::new("http://127.0.0.1:1").unwrap()
}

pub struct Scripted {
    listener: TcpListener,
    pub client: Client,
}

impl Scripted {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self {
            listener,
            client: Client::new(&url).unwrap(),
        }
    }

    /// The next request, on a connection of its own.
    pub async fn request(&self) -> Exchange {
        let (mut stream, _) = soon(self.listener.accept()).await.unwrap();
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                if body.len() >= length {
                    let (head, body) = (head.to_owned(), body.to_owned());
                    return Exchange { stream, head, body };
                }
            }
            let count = soon(stream.read(&mut piece)).await.unwrap();
            assert!(count > 0, "the request is whole");
            bytes.extend_from_slice(&piece[..count]);
        }
    }

    /// Answers the next request.
    pub async fn answers(&self, status: u16, headers: &[&str], body: &str) -> Exchange {
        let mut exchange = self.request().await;
        exchange.answer(status, headers, body).await;
        exchange
    }

    /// Answers the next request with a stream of these lines, which stays open.
    pub async fn streams(&self, lines: &[&str]) -> Exchange {
        let mut exchange = self.request().await;
        exchange
            .send("HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n")
            .await;
        for line in lines {
            exchange.send(&format!("{line}\n")).await;
        }
        exchange
    }
}

/// A request, and the connection to answer it on. Dropping it ends the connection.
pub struct Exchange {
    stream: TcpStream,
    head: String,
    pub body: String,
}

impl Exchange {
    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let target = self.head.split(' ').nth(1)?;
        let (_, query) = target.split_once('?')?;
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub async fn answer(&mut self, status: u16, headers: &[&str], body: &str) {
        let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
        if status != 204 {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        self.send(&format!("{head}\r\n{body}")).await;
    }

    pub async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }
}
