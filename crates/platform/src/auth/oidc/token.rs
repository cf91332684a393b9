//! Id tokens: JSON Web Tokens (RFC 7519) signed with RS256 or ES256.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

/// How far clocks may differ, seconds.
const LEEWAY: i64 = 60;

/// The keys that a provider publishes (RFC 7517).
#[derive(Debug, Deserialize)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug, Deserialize)]
struct Key {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    r#use: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
}

/// What a token must say.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// Seconds since 1970.
    pub(super) now: i64,
}

fn bytes(text: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD.decode(text).map_err(|error| format!("the id token is not base64: {error}"))
}

/// The claims of a token whose signature and claims are as they must be.
pub(super) fn verify(token: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<Value, String> {
    if token.len() > 64 * 1024 {
        return Err("the id token is too long".to_owned());
    }
    let (signed, signature) = token.rsplit_once('.').ok_or("the id token has no signature")?;
    let (header, claims) = signed.split_once('.').ok_or("the id token has no claims")?;
    let header: Header =
        serde_json::from_slice(&bytes(header)?).map_err(|error| format!("header of the id token: {error}"))?;
    let signature = bytes(signature)?;
    let kind = match header.alg.as_str() {
        "RS256" => "RSA",
        "ES256" => "EC",
        other => return Err(format!("the id token is signed with {other}; RS256 and ES256 are accepted")),
    };
    let fitting = keys.keys.iter().take(64).filter(|key| {
        key.kty == kind
            && key.r#use.as_deref().is_none_or(|purpose| purpose == "sig")
            && key.alg.as_deref().is_none_or(|alg| alg == header.alg)
            && (header.kid.is_none() || key.kid == header.kid)
    });
    if !fitting.into_iter().any(|key| signed_by(key, &header.alg, signed.as_bytes(), &signature)) {
        return Err("the id token is not signed by a key that the provider publishes".to_owned());
    }
    let claims: Value =
        serde_json::from_slice(&bytes(claims)?).map_err(|error| format!("claims of the id token: {error}"))?;
    check(&claims, expected)?;
    Ok(claims)
}

fn signed_by(key: &Key, alg: &str, message: &[u8], signature: &[u8]) -> bool {
    let part = |value: &Option<String>| value.as_deref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    if alg == "RS256" {
        let (Some(n), Some(e)) = (part(&key.n), part(&key.e)) else { return false };
        RsaPublicKeyComponents { n: &n, e: &e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
    } else {
        let (Some(x), Some(y)) = (part(&key.x), part(&key.y)) else { return false };
        if key.crv.as_deref() != Some("P-256") || x.len() != 32 || y.len() != 32 {
            return false;
        }
        let point = [&[4_u8], x.as_slice(), y.as_slice()].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
    }
}

fn check(claims: &Value, expected: &Expected<'_>) -> Result<(), String> {
    if claims["iss"].as_str() != Some(expected.issuer) {
        return Err("the id token is from another issuer".to_owned());
    }
    let audience = &claims["aud"];
    let for_us = match audience {
        Value::String(one) => one == expected.client_id,
        Value::Array(all) => {
            all.iter().any(|one| one.as_str() == Some(expected.client_id))
                && (all.len() == 1 || claims["azp"].as_str() == Some(expected.client_id))
        }
        _ => false,
    };
    if !for_us {
        return Err("the id token is for another client".to_owned());
    }
    let expires = claims["exp"].as_i64().ok_or("the id token does not say when it ends")?;
    if expires + LEEWAY < expected.now {
        return Err("the id token has expired; compare the clocks of this server and of the provider".to_owned());
    }
    if claims["iat"].as_i64().is_some_and(|issued| issued - LEEWAY > expected.now)
        || claims["nbf"].as_i64().is_some_and(|begins| begins - LEEWAY > expected.now)
    {
        return Err("the id token is from the future; compare the clocks of this server and of the provider".to_owned());
    }
    if claims["nonce"].as_str() != Some(expected.nonce) {
        return Err("the id token belongs to another login".to_owned());
    }
    Ok(())
}
