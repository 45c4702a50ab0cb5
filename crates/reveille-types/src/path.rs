//! Where sessions are, as scopes: one session, or everything at and below a place.

use crate::invalid::Invalid;
use crate::session::{Namespace, SessionId, SessionKey};

/// At the end of a path: and everything below.
const BELOW: &str = "/**";

/// The paths in the form in which [`any_scope`] gives them.
pub(crate) fn canonical(paths: &[String]) -> Result<Vec<String>, Invalid> {
    paths.iter().map(|path| canonical_path(path)).collect()
}

fn canonical_path(path: &str) -> Result<String, Invalid> {
    const FIELD: &str = "path";
    let (place, below) = match path.strip_suffix(BELOW) {
        Some(place) => (place, BELOW),
        None => (path, ""),
    };
    if place.is_empty() {
        return Err(Invalid::form(FIELD, "names no namespace"));
    }
    if place.contains('*') {
        return Err(Invalid::form(
            FIELD,
            "has a wildcard that is not /** at its end",
        ));
    }
    let at_fault = |_| Invalid::form(FIELD, format!("has a part {place:?} that no session has"));
    let (namespace, id) = match place.split_once('/') {
        Some((namespace, id)) => (namespace, Some(id)),
        None if below.is_empty() => (Namespace::DEFAULT, Some(place)),
        None => (place, None),
    };
    Namespace::parse(namespace).map_err(at_fault)?;
    Ok(match id {
        Some(id) => {
            SessionId::parse(id).map_err(at_fault)?;
            format!("{namespace}/{id}{below}")
        }
        None => format!("{namespace}{below}"),
    })
}

/// Calls `each` with every canonical path that the session is at or below, until one answers `true`;
/// whether one did.
pub(crate) fn any_scope(session: &SessionKey, mut each: impl FnMut(&str) -> bool) -> bool {
    let own = format!("{}/{}", session.namespace, session.id);
    if each(&own) {
        return true;
    }
    let ends = own.match_indices('/').map(|(at, _)| at);
    let mut scope = String::with_capacity(own.len() + BELOW.len());
    for end in ends.chain([own.len()]) {
        scope.clear();
        scope.push_str(&own[..end]);
        scope.push_str(BELOW);
        if each(&scope) {
            return true;
        }
    }
    false
}
