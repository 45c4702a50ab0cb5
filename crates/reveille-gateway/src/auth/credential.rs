//! What a request shows of who sent it: one kind of credential, in one of three places.

use axum::http::{HeaderMap, StatusCode, header};

use super::secret::Secret;
use crate::problem::Refusal;

/// The cookie that may hold a token.
const COOKIE: &str = "__Secure-reveille_token";
/// The parameter that may hold a ticket.
const TICKET: &str = "ticket";
/// Parameters in which people put tokens, where logs and histories keep them.
const TOKEN_PARAMETERS: [&str; 7] = [
    "access_token",
    "token",
    "api_key",
    "apikey",
    "authorization",
    "bearer",
    "jwt",
];

/// What a request shows.
#[derive(Debug)]
pub(super) enum Credential {
    None,
    /// A header that holds no token.
    Unreadable,
    Token(Secret),
    /// A token that the browser sends by itself, whichever page asks.
    Cookie(Secret),
    Ticket(Secret),
}

impl Credential {
    /// The one credential of a request.
    pub(super) fn of(headers: &HeaderMap, query: Option<&str>) -> Result<Self, Refusal> {
        let mut found = Vec::new();
        for value in headers.get_all(header::AUTHORIZATION) {
            found.push(bearer(value.to_str().unwrap_or_default()));
        }
        for value in headers.get_all(header::COOKIE) {
            let cookies = value.to_str().unwrap_or_default().split(';');
            let named = cookies.filter_map(|cookie| cookie.trim().split_once('='));
            found.extend(
                named
                    .filter(|(name, _)| *name == COOKIE)
                    .map(|(_, token)| Self::Cookie(Secret::new(token))),
            );
        }
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if TOKEN_PARAMETERS
                .iter()
                .any(|n| n.eq_ignore_ascii_case(&name))
            {
                return Err(Refusal::bad_request(
                    "token_in_query",
                    "a token in a URL would be kept in logs: send it in the header authorization",
                )
                .field(name));
            }
            if name == TICKET {
                found.push(Self::Ticket(Secret::new(value)));
            }
        }
        match (found.pop(), found.is_empty()) {
            (None, _) => Ok(Self::None),
            (Some(only), true) => Ok(only),
            (Some(_), false) => Err(Refusal::new(StatusCode::BAD_REQUEST, "several_credentials")
                .detail("a request has one credential")),
        }
    }
}

fn bearer(value: &str) -> Credential {
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Credential::Token(Secret::new(token.trim()))
        }
        _ => Credential::Unreadable,
    }
}

/// The query without the ticket, which nobody after this needs to see.
pub(super) fn without_ticket(query: &str) -> String {
    let rest = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != TICKET);
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(rest)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &str)], query: &str) -> Result<Credential, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Credential::of(&map, Some(query))
    }

    #[test]
    fn a_request_has_one_credential_in_one_place() {
        let header = ("authorization", "bearer abc");
        let cookie = ("cookie", "a=b; __Secure-reveille_token=abc");
        assert!(matches!(of(&[], "limit=1"), Ok(Credential::None)));
        assert!(matches!(of(&[header], ""), Ok(Credential::Token(t)) if t.expose() == "abc"));
        assert!(matches!(of(&[cookie], ""), Ok(Credential::Cookie(t)) if t.expose() == "abc"));
        assert!(matches!(of(&[], "ticket=abc"), Ok(Credential::Ticket(t)) if t.expose() == "abc"));
        for (headers, query) in [
            (&[header, cookie][..], ""),
            (&[header, header], ""),
            (&[cookie, cookie], ""),
            (&[header], "ticket=abc"),
            (&[], "ticket=a&ticket=b"),
            (&[], "access_token=abc"),
            (&[], "Token=abc"),
        ] {
            assert!(of(headers, query).is_err(), "{headers:?} {query}");
        }
        let basic = of(&[("authorization", "Basic YTpi")], "");
        assert!(matches!(basic, Ok(Credential::Unreadable)));
    }

    #[test]
    fn a_ticket_is_taken_out_of_the_query() {
        assert_eq!(without_ticket("a=1&ticket=x&b=%20"), "a=1&b=+");
    }
}
