//! JSON web tokens on the running server.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use crate::{
    common::{Server, wait_until},
    rig::{Files, INFER, ask, repository},
};

const POLICY: &str = "
roles:
  user: { allow: [{ verbs: [infer] }] }
";

/// Who signs tokens.
pub struct Issuer(Ed25519KeyPair);

impl Issuer {
    pub fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("key"))
    }

    pub fn jwks(&self) -> String {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.0.public_key());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "1", "x": x }] }).to_string()
    }

    pub fn token(&self, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock");
        let mut header = json!({ "alg": "EdDSA", "kid": "1" });
        let mut claims = json!({
            "iss": "https://issuer", "aud": "despina", "sub": "alice", "roles": ["user"],
            "exp": now.as_secs() + 600,
        });
        change(&mut header, &mut claims);
        let encode = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

#[test]
fn tokens_of_the_issuer_are_accepted_and_new_keys_of_his_followed() {
    let (files, repository, issuer) = (Files::new(), repository(), Issuer::new(1));
    let jwks = files.write("jwks.json", &issuer.jwks());
    let policy = files.write("policy.yaml", POLICY);
    let config = files.write(
        "server.yaml",
        &format!(
            "auth:\n  policy: {policy}\n  header: x-token\n  jwt:\n    jwks: {jwks}\n    \
             issuer: https://issuer\n    audience: despina\n    roles_claim: roles\n"
        ),
    );
    let server = Server::start_plain(repository.path(), &["--config", &config]);
    let infer = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        ask(server.http, "/v2/models/open/infer", &headers, INFER)
    };
    let good = issuer.token(|_, _| {});
    assert_eq!(infer(&good).status, 200);
    let headers = [("X-Token", good.as_str())];
    let answer = ask(server.http, "/v2/models/open/infer", &headers, INFER);
    assert_eq!(answer.status, 200);
    let none = format!("{}.", good.rsplit_once('.').expect("signature").0);
    for (token, status, part) in [
        (
            issuer.token(|_, claims| claims["exp"] = 1.into()),
            401,
            "has expired",
        ),
        (
            issuer.token(|_, claims| claims["aud"] = "x".into()),
            401,
            "another audience",
        ),
        (
            issuer.token(|header, _| header["alg"] = "none".into()),
            401,
            "algorithm",
        ),
        (
            issuer.token(|header, _| header["kid"] = "2".into()),
            401,
            "key that is not known",
        ),
        (
            Issuer::new(2).token(|_, _| {}),
            401,
            "signature does not hold",
        ),
        (none, 401, "signature does not hold"),
        (
            issuer.token(|_, claims| claims["roles"] = "x".into()),
            403,
            "'token:alice'",
        ),
    ] {
        let answer = infer(&token);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(part), "{}", answer.text());
    }
    let next = Issuer::new(3);
    assert_eq!(infer(&next.token(|_, _| {})).status, 401);
    files.write("jwks.json", &next.jwks());
    wait_until("the issuer's new key is known", || {
        infer(&next.token(|_, _| {})).status == 200
    });
    assert_eq!(infer(&good).status, 401);
    server.stop();
}
