//! The page at `/`: plain files, as they are in the tree, that need no build step and no other host.
//!
//! It holds nothing that must be kept from anybody and asks the gateway with the token that its user
//! pastes, so that it is served without a credential.

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::gateway::no_such_path;
use crate::problem::Refusal;

/// What the page may do: its own scripts and styles, and requests to where it came from.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Where the page is.
pub(crate) const INDEX: &str = "/";
/// Where what it is made of is.
pub(crate) const PART: &str = "/page/{file}";

struct File {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($name:literal: $content_type:literal,)*) => {
        &[$(File {
            name: $name,
            content_type: $content_type,
            text: include_str!(concat!("../page/", $name)),
        },)*]
    };
}

const FILES: &[File] = files![
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "following.js": "text/javascript; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "sessions.js": "text/javascript; charset=utf-8",
    "stream.js": "text/javascript; charset=utf-8",
    "why.js": "text/javascript; charset=utf-8",
];

pub(crate) async fn index() -> Result<Response, Refusal> {
    file("index.html")
}

pub(crate) async fn part(Path(name): Path<String>) -> Result<Response, Refusal> {
    file(&name)
}

fn file(name: &str) -> Result<Response, Refusal> {
    let found = FILES.iter().find(|file| file.name == name);
    let file = found.ok_or_else(no_such_path)?;
    let headers = [
        (header::CONTENT_TYPE, file.content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // Another version of the gateway brings another page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, file.text).into_response())
}
