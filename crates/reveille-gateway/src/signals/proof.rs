//! The right to complete a signal: a secret, kept as a digest, and what proves it to a gateway that is
//! to carry out an order without ever seeing it.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How many random bytes a secret has.
const SECRET_BYTES: usize = 20;

/// What is kept of a secret. It is random and long, so a plain digest cannot be turned back.
#[derive(Debug, Clone, Copy)]
pub(super) struct SecretDigest([u8; 32]);

/// A new secret.
pub(super) fn secret() -> Result<String, getrandom::Error> {
    let mut random = [0; SECRET_BYTES];
    getrandom::fill(&mut random)?;
    Ok(HEXLOWER.encode(&random))
}

impl SecretDigest {
    pub(super) fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }

    pub(super) fn is_of(&self, secret: &str) -> bool {
        self.0.ct_eq(&Self::of(secret).0).into()
    }

    /// Proves to whoever has the same digest that the order comes from somebody with the secret. Whoever
    /// reads it along the way can repeat this order and make no other.
    pub(super) fn prove(&self, order: &str) -> String {
        HEXLOWER.encode(&self.mac(order).finalize().into_bytes())
    }

    pub(super) fn is_proven(&self, order: &str, proof: &str) -> bool {
        let proof = HEXLOWER.decode(proof.as_bytes());
        proof.is_ok_and(|proof| self.mac(order).verify_slice(&proof).is_ok())
    }

    fn mac(&self, order: &str) -> Hmac<Sha256> {
        // A key of any length will do.
        let mac = Hmac::<Sha256>::new_from_slice(&self.0);
        let mut mac = mac.expect("a key of 32 bytes is a key");
        mac.update(order.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_of_one_order_and_one_secret() {
        let (right, wrong) = (secret().unwrap(), secret().unwrap());
        let kept = SecretDigest::of(&right);
        assert!(kept.is_of(&right) && !kept.is_of(&wrong));
        let proof = SecretDigest::of(&right).prove("trigger 1");
        assert!(kept.is_proven("trigger 1", &proof));
        for (order, proof) in [
            ("trigger 2", &*proof),
            ("trigger 1", &SecretDigest::of(&wrong).prove("trigger 1")),
            ("trigger 1", &proof[..62]),
            ("trigger 1", ""),
            ("trigger 1", "zz"),
        ] {
            assert!(!kept.is_proven(order, proof), "{order} {proof}");
        }
        assert!(!proof.contains(&HEXLOWER.encode(&kept.0)));
        assert!(!proof.contains(&right));
    }
}
