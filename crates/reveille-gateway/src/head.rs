//! What is asked of the head of every request, whoever sent it: its size, and a body that is not
//! compressed.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};

use crate::config::GatewayConfig;
use crate::problem::Refusal;

/// What stands between a header's name and its value, and after it, in HTTP/1.
const AROUND: usize = 4;

/// Refuses a head that is too large, and a body in an encoding that would have to be undone: what is
/// small on the wire could be anything in memory.
pub(crate) fn check(config: &GatewayConfig, request: &Request) -> Result<(), Refusal> {
    let url = request
        .uri()
        .path_and_query()
        .map_or(0, |url| url.as_str().len());
    if url > config.url_bytes {
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, "url_too_long")
            .sizes(config.url_bytes as u64, url as u64));
    }
    let headers = request.headers();
    let size = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + AROUND);
    let size: usize = size.sum();
    if size > config.header_bytes {
        let code = "headers_too_large";
        return Err(
            Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, code)
                .sizes(config.header_bytes as u64, size as u64),
        );
    }
    match is_plain(headers) {
        true => Ok(()),
        false => Err(
            Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding")
                .field("content-encoding")
                .detail("bodies are read as they are, without decompression"),
        ),
    }
}

fn is_plain(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    values.all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"))
}
