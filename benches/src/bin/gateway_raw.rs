//! The least that a server of events can be, for `gateway_time` to measure beside: it posts to whoever
//! reads the same channel, one write for each of them.
//!
//! It keeps nothing, knows nobody, and drops a reader that does not take a whole frame at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n:\n\n";
const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";

/// The readers of each channel.
type Channels = Rc<RefCell<HashMap<String, Vec<Rc<TcpStream>>>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("listening on {}", listener.local_addr()?);
    let channels = Channels::default();
    let serving = async {
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            tokio::task::spawn_local(serve(socket, Rc::clone(&channels)));
        }
    };
    LocalSet::new().run_until(serving).await
}

/// Answers the requests of a connection; an error is its end.
async fn serve(mut socket: TcpStream, channels: Channels) -> io::Result<()> {
    let mut text = Vec::new();
    loop {
        let Some(end) = text.windows(4).position(|w| w == b"\r\n\r\n") else {
            if socket.read_buf(&mut text).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
        let (method, rest) = head.split_once(' ').unwrap_or_default();
        let channel = rest.split(' ').next().unwrap_or_default().to_owned();
        if method == "get" {
            drop(text);
            return stream(socket, channel, channels).await;
        }
        let length = head.lines().find_map(|l| l.strip_prefix("content-length:"));
        let length: usize = length.and_then(|l| l.trim().parse().ok()).unwrap_or(0);
        let (begin, end) = (end + 4, end + 4 + length);
        while text.len() < end {
            if socket.read_buf(&mut text).await? == 0 {
                return Ok(());
            }
        }
        let mut frame = b"id: 0\ndata: ".to_vec();
        frame.extend_from_slice(&text[begin..end]);
        frame.extend_from_slice(b"\n\n");
        if let Some(readers) = channels.borrow_mut().get_mut(&channel) {
            readers.retain(|reader| matches!(reader.try_write(&frame), Ok(n) if n == frame.len()));
        }
        text.drain(..end);
        socket.write_all(CREATED).await?;
    }
}

/// Keeps a reader among those of its channel until it leaves.
async fn stream(mut socket: TcpStream, channel: String, channels: Channels) -> io::Result<()> {
    socket.write_all(STREAM).await?;
    let socket = Rc::new(socket);
    let enter = |readers: &mut Vec<Rc<TcpStream>>| readers.push(Rc::clone(&socket));
    enter(channels.borrow_mut().entry(channel.clone()).or_default());
    loop {
        socket.readable().await?;
        let mut ignored = [0; 64];
        match socket.try_read(&mut ignored) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(read) if read > 0 => {}
            _ => break,
        }
    }
    if let Some(readers) = channels.borrow_mut().get_mut(&channel) {
        readers.retain(|reader| !Rc::ptr_eq(reader, &socket));
    }
    Ok(())
}
