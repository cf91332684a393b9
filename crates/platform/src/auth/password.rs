//! Passwords: what is accepted, and how they are kept.

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use base64::Engine as _;
use tokio::sync::{OnceCell, Semaphore};

use crate::problem::Problem;

/// Hashes and checks passwords, two at a time: each takes 19 MiB and tens of milliseconds, which must not become a way to exhaust
/// the server.
#[derive(Debug)]
pub struct Passwords {
    turns: Semaphore,
    /// Checked when there is no such user, so that the time of the answer does not tell.
    nobody: OnceCell<String>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Semaphore::new(2), nobody: OnceCell::new() }
    }
}

/// Whether a password is good enough; says what is missing.
pub fn check(password: &str, username: &str) -> Result<(), Problem> {
    let length = password.chars().count();
    if !(10..=200).contains(&length) {
        return Err(Problem::invalid_in("password", "10 to 200 characters are needed", "长度须为 10 到 200 个字符"));
    }
    let lower = password.to_lowercase();
    if lower.contains(&username.to_lowercase()) && username.chars().count() > 3 {
        return Err(Problem::invalid_in("password", "it must not contain the user name", "不能包含用户名"));
    }
    let mut characters: Vec<char> = lower.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    if characters.len() < 5 {
        return Err(Problem::invalid_in(
            "password",
            "at least 5 different characters are needed",
            "至少包含 5 个不同的字符",
        ));
    }
    Ok(())
}

fn hash_now(password: &str) -> Result<String, Problem> {
    let mut bytes = [0_u8; 16];
    rand::RngCore::fill_bytes(&mut rand::rng(), &mut bytes);
    let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes);
    let salt = SaltString::from_b64(&text).map_err(|error| Problem::internal(&error))?;
    Argon2::default()
        .hash_password(password.as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| Problem::internal(&error))
}

impl Passwords {
    /// The hash of a password, to be stored.
    pub async fn hash(&self, password: &str) -> Result<String, Problem> {
        let _turn = self.turns.acquire().await.map_err(|error| Problem::internal(&error))?;
        let password = password.to_owned();
        tokio::task::spawn_blocking(move || hash_now(&password)).await.map_err(|error| Problem::internal(&error))?
    }

    /// Whether a password fits a stored hash; without a hash it takes as long and is false.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, Problem> {
        let known = hash.is_some();
        let hash = match hash {
            Some(hash) => hash.to_owned(),
            None => self.nobody.get_or_try_init(|| self.hash("nobody has this password")).await?.clone(),
        };
        let _turn = self.turns.acquire().await.map_err(|error| Problem::internal(&error))?;
        let password = password.to_owned();
        let fits = tokio::task::spawn_blocking(move || {
            PasswordHash::new(&hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        })
        .await
        .map_err(|error| Problem::internal(&error))?;
        Ok(fits && known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_only_it() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse battery").await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(passwords.verify("correct horse battery", Some(&hash)).await.unwrap());
        assert!(!passwords.verify("correct horse", Some(&hash)).await.unwrap());
        assert!(!passwords.verify("nobody has this password", None).await.unwrap());
    }

    #[test]
    fn weak_passwords_are_refused() {
        for weak in ["short", "aaaaaaaaaaaaaa", "xx-alice1234-xx", &"x1y2z".repeat(60)] {
            assert!(check(weak, "alice1234").is_err(), "{weak}");
        }
        check("一个足够长的安全口令啊", "alice").unwrap();
    }
}
