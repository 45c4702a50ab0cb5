//! Whose address a request counts for: that of its connection, or what a trusted proxy says it is.
//!
//! A header counts only where the connection comes from a proxy that is configured, and of the addresses
//! in it the last that is no such proxy: whoever stands before it can write what it likes.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

use crate::gateway::Gateway;
use crate::server::Peer;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Puts the address of the client in the place of the proxy's.
pub(crate) fn resolve(gateway: &Gateway, request: &mut Request) {
    let trusted = &gateway.config().trusted_proxies;
    if trusted.is_empty() {
        return;
    }
    if let Some(Peer(peer)) = request.extensions().get::<Peer>().copied() {
        let client = Peer(client(peer, request.headers(), trusted));
        request.extensions_mut().insert(client);
    }
}

/// Whether the address is that of a proxy which is believed.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|net| net.contains(&address))
}

/// What the limits of an address are counted by: who has one address of version 6 has the 2^64 of its
/// network.
pub(crate) fn counted_by(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

/// Who is behind the connection. Where the two headers disagree a proxy has let one of them through that
/// its client made up, and neither counts.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let standard = list(headers, &header::FORWARDED).map(|list| last(list, element, trusted));
    let common = list(headers, &X_FORWARDED_FOR).map(|list| last(list, address, trusted));
    let said = match (standard, common) {
        (Some(one), Some(other)) if one != other => None,
        (one, other) => one.or(other).flatten(),
    };
    said.unwrap_or(peer)
}

/// The elements of a header that is a list, from the last to the first; nothing without the header.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<impl Iterator<Item = &'a str>> {
    // What is no text is no address either, but it stands there.
    let text = |value: &'a HeaderValue| value.to_str().unwrap_or_default();
    let mut values = headers.get_all(name).iter().map(text).rev().peekable();
    values.peek()?;
    Some(values.flat_map(|value| value.rsplit(',')))
}

/// The last address that is no trusted proxy; nothing if what stands there is no address.
fn last<'a>(
    elements: impl Iterator<Item = &'a str>,
    read: fn(&str) -> Option<IpAddr>,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    for element in elements {
        let address = read(element.trim())?.to_canonical();
        if !is_trusted(address, trusted) {
            return Some(address);
        }
    }
    None
}

/// The address in an element of `Forwarded` (RFC 7239).
fn element(text: &str) -> Option<IpAddr> {
    let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    let (_, value) = named.next()?;
    address(value.trim().trim_matches('"'))
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.unwrap_or(text).parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who it is, behind a connection from `peer` with these headers.
    fn behind(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let trusted = [
            "10.0.0.0/8".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ];
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        client(peer.parse().unwrap(), &map, &trusted).to_string()
    }

    #[test]
    fn s02_only_a_trusted_proxy_is_believed() {
        let said = [("x-forwarded-for", "192.0.2.1")];
        assert_eq!(behind("203.0.113.9", &said), "203.0.113.9");
        assert_eq!(behind("10.1.2.3", &said), "192.0.2.1");
        assert_eq!(behind("::ffff:10.1.2.3", &said), "192.0.2.1");
        assert_eq!(behind("10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn s02_of_several_addresses_the_last_that_is_no_proxy_counts() {
        for (name, value, expected) in [
            (
                "x-forwarded-for",
                "198.51.100.7, 192.0.2.1, 10.9.9.9",
                "192.0.2.1",
            ),
            ("x-forwarded-for", "192.0.2.1:4711", "192.0.2.1"),
            ("x-forwarded-for", "[2a00:1::1]:4711", "2a00:1::1"),
            ("x-forwarded-for", "2a00:1::1", "2a00:1::1"),
            (
                "forwarded",
                "for=198.51.100.7, For=\"[2a00:1::1]:4711\";proto=https",
                "2a00:1::1",
            ),
            (
                "forwarded",
                "proto=https;for=192.0.2.1;by=10.0.0.1",
                "192.0.2.1",
            ),
            // Nothing that could be counted by.
            ("x-forwarded-for", "10.9.9.9", "10.1.2.3"),
            ("x-forwarded-for", "192.0.2.1, nonsense", "10.1.2.3"),
            ("forwarded", "for=192.0.2.1, for=unknown", "10.1.2.3"),
            ("forwarded", "for=_hidden", "10.1.2.3"),
            ("forwarded", "proto=https", "10.1.2.3"),
        ] {
            assert_eq!(behind("10.1.2.3", &[(name, value)]), expected, "{value}");
        }
        let twice = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-for", "192.0.2.2"),
        ];
        assert_eq!(behind("10.1.2.3", &twice), "192.0.2.2");
    }

    #[test]
    fn s02_headers_that_disagree_do_not_count() {
        let made_up = ("forwarded", "for=198.51.100.7");
        let real = ("x-forwarded-for", "192.0.2.1");
        assert_eq!(behind("10.1.2.3", &[made_up, real]), "10.1.2.3");
        let same = ("forwarded", "for=192.0.2.1");
        assert_eq!(behind("10.1.2.3", &[same, real]), "192.0.2.1");
    }

    #[test]
    fn a_network_of_version_6_counts_as_one_address() {
        let by = |text: &str| counted_by(text.parse().unwrap()).to_string();
        assert_eq!(by("2a00:1:2:3::1"), by("2a00:1:2:3:ffff::2"));
        assert_ne!(by("2a00:1:2:3::1"), by("2a00:1:2:4::1"));
        assert_eq!(by("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
