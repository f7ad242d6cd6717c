use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::json;

use super::*;
use crate::admission::auth::KeySet;

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// An issuer with one key of each of two kinds.
struct Issuer {
    edwards: Ed25519KeyPair,
    curve: EcdsaKeyPair,
}

impl Issuer {
    fn new(seed: u8) -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self {
            edwards: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(),
            curve: EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap(),
        }
    }

    fn jwks(&self) -> Value {
        let point = self.curve.public_key().as_ref();
        json!({ "keys": [
            {
                "kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "alg": "EdDSA",
                "x": encode(self.edwards.public_key()),
            },
            {
                "kty": "EC", "crv": "P-256", "kid": "ec", "key_ops": ["verify"],
                "x": encode(&point[1..33]), "y": encode(&point[33..]),
            },
            { "kty": "RSA", "use": "enc", "kid": "enc", "n": "AQAB", "e": "AQAB" },
            { "kty": "future" },
        ]})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!(
            "{}.{}",
            encode(header.to_string()),
            encode(claims.to_string())
        );
        let signature = if header["kid"] == "ec" {
            let random = SystemRandom::new();
            let signature = self.curve.sign(&random, signed.as_bytes()).unwrap();
            encode(signature)
        } else {
            encode(self.edwards.sign(signed.as_bytes()))
        };
        format!("{signed}.{signature}")
    }
}

fn config() -> JwtConfig {
    JwtConfig {
        issuer: Some("https://issuer".to_owned()),
        audience: Some("despina".to_owned()),
        roles_claim: Some("roles".to_owned()),
        ..JwtConfig::default()
    }
}

fn verifier(issuer: &Issuer) -> TokenVerifier {
    let keys = KeySet::from_json(issuer.jwks().to_string().as_bytes()).unwrap();
    TokenVerifier::new(&config(), keys).unwrap()
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "kid": "ed", "typ": "JWT" })
}

fn claims() -> Value {
    json!({
        "iss": "https://issuer", "aud": "despina", "sub": "alice",
        "exp": NOW + 60, "nbf": NOW - 60, "iat": NOW - 60, "roles": ["reader", 7],
    })
}

/// `base` with some of its fields changed, or taken out by `null`.
fn with(mut base: Value, changes: Value) -> Value {
    let fields = base.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    base
}

#[test]
fn a_token_stands_for_its_subject_with_the_roles_it_names() {
    let issuer = Issuer::new(1);
    let verify = |header: Value, claims: Value| {
        verifier(&issuer)
            .verify(&issuer.sign(&header, &claims), at(NOW))
            .unwrap()
    };
    let alice = verify(header(), claims());
    assert_eq!(
        (&*alice.name, alice.roles),
        ("token:alice", vec!["reader".to_owned()])
    );
    let ec = json!({ "alg": "ES256", "kid": "ec" });
    assert_eq!(verify(ec, claims()).name, "token:alice");
    // Only one key fits, so it needs no name.
    assert_eq!(
        verify(with(header(), json!({ "kid": null })), claims()).name,
        "token:alice"
    );
    let several = json!({ "aud": ["other", "despina"], "roles": "a b" });
    assert_eq!(verify(header(), with(claims(), several)).roles, ["a", "b"]);
    let none = json!({ "roles": null, "nbf": null, "exp": 1_800_000_000.5 });
    assert_eq!(verify(header(), with(claims(), none)).roles.len(), 0);
}

#[test]
fn tokens_that_are_not_what_they_must_be_are_refused() {
    use TokenError as E;
    let issuer = Issuer::new(1);
    let long = "x".repeat(SUBJECT_BYTE_SIZE + 1);
    for (head, body, want) in [
        (json!({ "alg": "none" }), json!({}), E::Algorithm),
        (json!({ "alg": "HS256" }), json!({}), E::Algorithm),
        (json!({ "alg": "eddsa" }), json!({}), E::Algorithm),
        (json!({ "alg": "RS384" }), json!({}), E::Algorithm),
        (json!({ "kid": "other" }), json!({}), E::UnknownKey),
        (json!({ "kid": "enc" }), json!({}), E::UnknownKey),
        // A key of another kind than the algorithm.
        (json!({ "alg": "ES256" }), json!({}), E::UnknownKey),
        (json!({ "crit": ["b64"] }), json!({}), E::Malformed),
        (json!({ "alg": null }), json!({}), E::Malformed),
        (json!({ "alg": 7 }), json!({}), E::Malformed),
        (json!({}), json!({ "exp": NOW - 30 }), E::Expired),
        (json!({}), json!({ "exp": -1 }), E::Expired),
        (json!({}), json!({ "exp": null }), E::Claims),
        (
            json!({}),
            json!({ "exp": (NOW + 60).to_string() }),
            E::Claims,
        ),
        (json!({}), json!({ "nbf": NOW + 31 }), E::NotYetValid),
        (json!({}), json!({ "nbf": "0" }), E::Claims),
        (json!({}), json!({ "iss": "https://other" }), E::Issuer),
        (json!({}), json!({ "iss": null }), E::Claims),
        (json!({}), json!({ "aud": "other" }), E::Audience),
        (json!({}), json!({ "aud": [] }), E::Audience),
        (json!({}), json!({ "aud": null }), E::Claims),
        (json!({}), json!({ "sub": null }), E::Claims),
        (json!({}), json!({ "sub": "" }), E::Claims),
        (json!({}), json!({ "sub": "a\nb" }), E::Claims),
        (json!({}), json!({ "sub": long }), E::Claims),
    ] {
        let (head, body) = (with(header(), head), with(claims(), body));
        let result = verifier(&issuer).verify(&issuer.sign(&head, &body), at(NOW));
        assert_eq!(result, Err(want), "{head} {body}");
    }
}

#[test]
fn clocks_may_differ_by_the_leeway() {
    let issuer = Issuer::new(1);
    let token = issuer.sign(&header(), &claims());
    let verify = |now| verifier(&issuer).verify(&token, at(now));
    assert!(verify(NOW + 60 + 29).is_ok());
    assert_eq!(verify(NOW + 60 + 30), Err(TokenError::Expired));
    assert!(verify(NOW - 60 - 30).is_ok());
    assert_eq!(verify(NOW - 60 - 31), Err(TokenError::NotYetValid));
}

#[test]
fn only_the_issuers_own_signature_holds() {
    let (issuer, stranger) = (Issuer::new(1), Issuer::new(2));
    let verify = |token: &str| verifier(&issuer).verify(token, at(NOW));
    assert_eq!(
        verify(&stranger.sign(&header(), &claims())),
        Err(TokenError::Signature)
    );
    let token = issuer.sign(&header(), &claims());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    assert_eq!(verify(&format!("{signed}.")), Err(TokenError::Signature));
    let other = issuer.sign(&header(), &with(claims(), json!({ "sub": "bob" })));
    let (other, _) = other.rsplit_once('.').unwrap();
    assert_eq!(
        verify(&format!("{other}.{signature}")),
        Err(TokenError::Signature)
    );
    for malformed in [
        "",
        ".",
        "..",
        "...",
        signed,
        &format!("{token}."),
        &format!("{signed}.!{signature}"),
        &format!("{signed}.{signature}=="),
        &token.replace('.', " ."),
    ] {
        let error = verify(malformed).unwrap_err();
        let is_form = matches!(error, TokenError::Malformed | TokenError::Signature);
        assert!(is_form, "{malformed}: {error}");
    }
}

#[test]
fn an_array_is_no_header_and_no_claims() {
    let issuer = Issuer::new(1);
    let signed = format!("{}.{}", encode(r#"["EdDSA","ed",null]"#), encode("{}"));
    let token = format!(
        "{signed}.{}",
        encode(issuer.edwards.sign(signed.as_bytes()))
    );
    let result = verifier(&issuer).verify(&token, at(NOW));
    assert_eq!(result, Err(TokenError::Malformed));
}

#[test]
fn sets_of_keys_are_whole_and_hold_no_secret() {
    let set = |keys: Value| {
        let text = json!({ "keys": keys }).to_string();
        KeySet::from_json(text.as_bytes()).map(|_| ())
    };
    for (keys, part) in [
        (json!([]), "no RSA"),
        (json!([{ "kty": "oct", "k": "AAAA" }]), "keys[0]: a secret"),
        (
            json!([{ "kty": "OKP", "crv": "Ed25519" }]),
            "`x` is missing",
        ),
        (
            json!([{ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }]),
            "`x` has 3 bytes instead of 32",
        ),
        (
            json!([{ "kty": "RSA", "n": "!", "e": "AQAB" }]),
            "`n` is not base64url",
        ),
        (json!([{ "kty": "EC", "crv": "P-521" }]), "no RSA"),
        (
            json!([{ "kty": "RSA", "alg": "HS256" , "n": "AQAB", "e": "AQAB" }]),
            "no RSA",
        ),
        (
            json!(vec![json!({ "kty": "x" }); 257]),
            "257 keys exceed the limit of 256",
        ),
    ] {
        let error = set(keys).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    assert!(KeySet::from_json(b"{").is_err());
}

#[test]
fn a_verifier_needs_to_know_from_whom_and_for_whom() {
    let issuer = Issuer::new(1);
    for (config, part) in [
        (
            JwtConfig {
                issuer: None,
                ..config()
            },
            "auth.jwt.issuer",
        ),
        (
            JwtConfig {
                audience: Some(String::new()),
                ..config()
            },
            "auth.jwt.audience",
        ),
    ] {
        let keys = KeySet::from_json(issuer.jwks().to_string().as_bytes()).unwrap();
        let error = TokenVerifier::new(&config, keys).unwrap_err();
        assert!(error.starts_with(part), "{error}");
    }
}
