//! Tokens that are read to the letter, and public keys that are fetched.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use reveille_e2e::tokens::{
    SECRET, believing, changed, claims, hs256, issuer, shared, signed, status,
};
use reveille_gateway::{AuthConfig, JwtAlgorithm, StaticAuthorizer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn with_id(id: &str, algorithm: Algorithm) -> Header {
    let mut header = Header::new(algorithm);
    header.kid = Some(id.to_owned());
    header
}

#[tokio::test]
async fn s12_a_header_changes_nothing_and_a_token_is_as_long_as_it_may_be() {
    let server = believing(vec![shared()]).await;
    let encoded =
        |value: &Value| data_encoding::BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = |header: Value, claims: &Value| {
        let message = format!("{}.{}", encoded(&header), encoded(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
        format!("{message}.{}", signature.unwrap())
    };
    let plain = json!({"alg": "HS256", "typ": "JWT"});
    assert_eq!(status(&server, &token(plain.clone(), &claims())).await, 200);
    for name in ["crit", "b64", "jwk", "jku", "x5u", "x5c"] {
        let mut header = plain.clone();
        header[name] = json!([]);
        let found = status(&server, &token(header, &claims())).await;
        assert_eq!(found, 401, "{name}");
    }
    // A claim that nobody reads makes it as long as it is to be; base64 has no 8193.
    let long = async |bytes: usize| {
        let short = token(plain.clone(), &changed("x", json!(""))).len();
        let padding = (bytes - short) / 4 * 3;
        let text = token(plain.clone(), &changed("x", json!("x".repeat(padding))));
        (text.len(), status(&server, &text).await.as_u16())
    };
    let (bytes, found) = long(8_190).await;
    assert!(bytes <= 8_192 && found == 200, "{bytes}: {found}");
    let (bytes, found) = long(8_200).await;
    assert!(bytes > 8_192 && found == 401, "{bytes}: {found}");
    for bad in [changed("jti", json!(7)), changed("jti", json!(["t"]))] {
        assert_eq!(status(&server, &hs256(&bad)).await, 401, "{bad}");
    }
}

/// A server with public keys that counts how often it is asked; `None` is an answer that breaks off.
async fn published(keys: Arc<Mutex<Option<String>>>) -> (String, Arc<AtomicUsize>) {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", socket.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = socket.accept().await {
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            count.fetch_add(1, Ordering::SeqCst);
            let keys = keys.lock().unwrap().clone().unwrap_or_default();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", keys.len());
            let _ = connection
                .write_all(format!("{head}{keys}").as_bytes())
                .await;
        }
    });
    (url, asked)
}

#[tokio::test]
async fn s13_keys_are_fetched_from_the_url_of_the_configuration_once_for_all_who_ask() {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    jwk.common.key_id = Some("k".into());
    // A key that does not say what it is for has the algorithm of the issuer.
    jwk.common.key_algorithm = None;
    let set = serde_json::to_string(&JwkSet { keys: vec![jwk] }).unwrap();
    let (url, asked) = published(Arc::new(Mutex::new(Some(set)))).await;
    let mut config = issuer(JwtAlgorithm::ES256);
    config.jwks_url = Some(url);
    // The same id at another issuer is another key.
    let (other_url, other_asked) = published(Arc::new(Mutex::new(None))).await;
    let mut other = config.clone();
    other.issuer = "https://other.example".into();
    other.jwks_url = Some(other_url);
    let server = believing(vec![config, other]).await;

    let good = signed(&with_id("k", Algorithm::ES256), &claims(), &key);
    let (first, second) = tokio::join!(status(&server, &good), status(&server, &good));
    assert_eq!((first.as_u16(), second.as_u16()), (200, 200));
    for n in 0..20 {
        let header = with_id(&format!("unknown-{n}"), Algorithm::ES256);
        assert_eq!(
            status(&server, &signed(&header, &claims(), &key)).await,
            401
        );
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let claims = changed("iss", json!("https://other.example"));
    let foreign = signed(&with_id("k", Algorithm::ES256), &claims, &key);
    // Nobody can tell: this is not the fault of the token.
    assert_eq!(status(&server, &foreign).await, 503);
    assert_eq!(status(&server, &foreign).await, 503);
    assert_eq!(other_asked.load(Ordering::SeqCst), 1);
}

#[test]
fn s13_an_issuer_has_its_keys_in_one_place_that_others_cannot_write() {
    let refused = |url: &str, algorithm| {
        let mut config = issuer(algorithm);
        config.jwks_url = Some(url.into());
        let auth = AuthConfig {
            issuers: vec![config],
            ..AuthConfig::default()
        };
        StaticAuthorizer::new(auth).unwrap_err().to_string()
    };
    let plain = refused("http://issuer.example/keys", JwtAlgorithm::ES256);
    assert!(plain.contains("https"), "{plain}");
    let shared = refused("https://issuer.example/keys", JwtAlgorithm::HS256);
    assert!(shared.contains("secret"), "{shared}");
}
