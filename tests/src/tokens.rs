//! Tokens of an issuer that the tests have made up.

use std::sync::Arc;

use jsonwebtoken::{EncodingKey, Header, encode};
use reqwest::{Client, StatusCode};
use reveille_gateway::{
    AuthConfig, GatewayConfig, IssuerConfig, JwtAlgorithm, Rate, Secret, StaticAuthorizer,
};
use serde_json::{Value, json};

use crate::Server;

/// The issuer.
pub const ISSUER: &str = "https://issuer.example";
/// Its secret, where it shares one.
pub const SECRET: &str = "a shared secret of at least 32 bytes";

/// Seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The claims of a token that is good for the tenant `acme`.
#[must_use]
pub fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": "reveille",
        "sub": "somebody",
        "iat": now(),
        "exp": now() + 600,
        "authorization_details": [
            {"type": "reveille", "actions": ["publish", "subscribe", "wait", "take", "unheard-of"]},
        ],
    })
}

/// The same, but for one claim; without it, if it is null.
///
/// # Panics
/// Never.
#[must_use]
pub fn changed(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => {
            claims
                .as_object_mut()
                .expect("claims are an object")
                .remove(name);
        }
        value => claims[name] = value,
    }
    claims
}

/// The issuer, without its keys.
///
/// # Panics
/// Never.
#[must_use]
pub fn issuer(algorithm: JwtAlgorithm) -> IssuerConfig {
    let text = json!({
        "issuer": ISSUER,
        "audience": ["reveille"],
        "algorithm": "HS256",
        "tenants": ["acme"],
    });
    let mut issuer: IssuerConfig = serde_json::from_value(text).expect("it is an issuer");
    issuer.algorithm = algorithm;
    issuer
}

/// The issuer with a shared secret.
#[must_use]
pub fn shared() -> IssuerConfig {
    let mut issuer = issuer(JwtAlgorithm::HS256);
    issuer.secret = Some(Secret::new(SECRET));
    issuer
}

/// A token with these claims, signed with the shared secret.
#[must_use]
pub fn hs256(claims: &Value) -> String {
    signed(
        &Header::default(),
        claims,
        &EncodingKey::from_secret(SECRET.as_bytes()),
    )
}

/// A signed token.
///
/// # Panics
/// When the key is none of the algorithm.
#[must_use]
pub fn signed(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    encode(header, claims, key).expect("the key is one of its algorithm")
}

/// A server that believes these issuers, and bears any number of wrong tokens.
///
/// # Panics
/// When an issuer is not in order, or no port is free.
///
/// # Cancel safety
/// A dropped future has started nothing.
pub async fn believing(issuers: Vec<IssuerConfig>) -> Server {
    let mut config = GatewayConfig::default();
    config.auto_create = Some(true);
    config.traffic.failures = Rate::per_second(1_000_000, 1_000_000);
    let auth = AuthConfig {
        issuers,
        ..AuthConfig::default()
    };
    let authorizer = StaticAuthorizer::new(auth).expect("the test's issuers are in order");
    Server::for_known(config, Arc::new(authorizer)).await
}

/// What a server answers to who comes with this token.
///
/// # Panics
/// When it does not answer.
///
/// # Cancel safety
/// Asks nothing more when dropped.
pub async fn status(server: &Server, token: &str) -> StatusCode {
    let asked = Client::new()
        .get(server.at("/v1/limits"))
        .bearer_auth(token);
    asked.send().await.expect("the server answers").status()
}
