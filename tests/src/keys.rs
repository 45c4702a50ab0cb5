//! API keys that the tests have made up.

use std::sync::Arc;

use reveille_gateway::{
    ApiKeyConfig, AuthConfig, GatewayConfig, Grant, Secret, StaticAuthorizer, new_api_key,
};

use crate::Server;

/// Makes a key of a tenant with these grants known.
///
/// # Panics
/// When `id` or `tenant` is none.
pub fn add_key(auth: &mut AuthConfig, id: &str, tenant: &str, grants: Vec<Grant>) -> Secret {
    let new = new_api_key(id).expect("the test names a good id");
    auth.keys.push(ApiKeyConfig {
        id: id.into(),
        sha256: new.sha256,
        tenant: tenant.parse().expect("the test names a tenant"),
        subject: None,
        grants,
        expires_at: None,
    });
    new.key
}

/// A server to which one key is known, and the key.
///
/// # Panics
/// As [`add_key`], and when no port is free.
///
/// # Cancel safety
/// A dropped future has started nothing.
pub async fn with_key(config: GatewayConfig, tenant: &str, grants: Vec<Grant>) -> (Server, Secret) {
    let mut auth = AuthConfig::default();
    let key = add_key(&mut auth, "known", tenant, grants);
    let authorizer = StaticAuthorizer::new(auth).expect("keys alone are in order");
    (Server::for_known(config, Arc::new(authorizer)).await, key)
}
